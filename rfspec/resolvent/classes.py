r"""The fixed-point equations of U for data of several classes, with all draws of the noise.

Class c has the share π_c of the samples, the covariance Σ_c and its own constants. The columns of a
class are a kind of their own, with D_c = 1/(1+δ_c). Let b̄² = Σ_c π_cb_c² and s̄² = Σ_c π_cs_c². Then

    1/q = s̄² - z + Σ_c π_cv_c²D_c + ∫ T/(1 + ψ_pTq),   T = b̄² + Σ_c π_cκ_c²λ_cD_c               (33)
    δ_c = (ψ_p/ψ_n) [ v_c²q + κ_c² ∫ λ_cq/(1 + ψ_pTq) ]                                         (34)

where ∫ is over the nodes, the common eigenvectors. With Σ_c = Σ_k ρ_ckS_k all δ_c are sums of q and
r_k = ∫ S_kq/(1 + ψ_pTq), with weights of at least 0. The unknowns are u = (q, r_1, ...): as many as
there are shapes, however many classes. Two-point functions are likewise the solution of a linear
system in x and the K_k = Tr FS_kFᵀ[M]/p, equations (12) to (14) summed over the classes.

The train loss of class c is that of U_c and V_c, the means over its own samples. Its columns are in
(U - z)⁻¹, and removing one at a time gives with N_c = E[gyᵀ], X_c = Tr N_cᵀ(U - z)⁻¹V̄/d

    Tr V_cᵀ(U - z)⁻¹V/d ≃ Tr b_cFᵀ(U - z)⁻¹V̄ c_ξ/d + D_cX_c + (1 - D_c)y_c,
    VᵀG_1U_cG_2V ≃ VᵀG_1[s_c² + b_c²FFᵀ + D_cD_c'C_c]G_2V + D_c(1-D_c')X_c + D_c'(1-D_c)X_c'
                   + (1-D_c)(1-D_c')y_c                                                         (35)

without a prime at z_1 and with one at z_2. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..models.classes import Classes
from ..models.gaussian_equivalent import GaussianEquivalent, constants_at
from ..models.model import RandomFeatureModel
from ..models.targets import combination
from ..numerics.holomorphic import Unknowns, reciprocal, solve_small
from ..numerics.session import enter
from ..numerics.types import Matrix, Number, Numbers, Real, Vector
from .averages import Averages
from .class_counting import CountedByClass
from .columns import Point, Source
from .interface import Equations


class Dressed(NamedTuple):
    """The responses to sources: x = -Tr [M]/p, φ_c, and the features of M' on the nodes."""

    x: Numbers
    weights: Numbers
    features: Numbers


class ClassEquations(CountedByClass):
    """The equations in u = (q, r_1, ...) for data of classes; see ``Equations``.

    Attributes
    ----------
    values : array, shape (shapes, nodes)
        Eigenvalues of the shapes S_k.
    shares, scales : array, shapes (classes,) and (classes, shapes)
        π_c and ρ_ck.
    linear : array, shape (classes,)
        b_c, with its sign. `ge` holds arrays of this shape, too.
    counted : array, shape (classes,), optional
        Weights of the classes in the losses; the shares where there are none.
    finer : ClassEquations, optional
        The same with a finer quadrature over the classes.
    """

    linear: Vector
    counted: Vector | None
    finer: ClassEquations | None

    # The fixed point.

    def balance(self, u: Unknowns, averages: Averages, zeta: Number) -> Unknowns:
        q, ((D,), by_T, _, by_shapes) = u[0], averages
        of_columns = jnp.sum(self.shares * self.ge.v2 * D)
        one = q * (of_columns - zeta + by_T) - 1.0  # (33) times q
        return one, *(q * average - r for average, r in zip(by_shapes, u[1:], strict=True))

    # with an average over each shape in place of that over λ
    def _averages(self, u: Unknowns) -> Averages:
        (D,) = self._D(u)
        T = self._T((D,), self.values)
        weighed = self.weights * reciprocal(1.0 + self.psi_p * T * u[0])
        by_T, *by_shapes = (jnp.sum(f * weighed) for f in (T, *self.values))
        return (D,), by_T, jnp.sum(weighed), by_shapes

    def start(self, zeta: Number) -> Unknowns:
        q = -1.0 / zeta
        return q, *(q * jnp.sum(self.weights * shape) for shape in self.values)

    # Traces.

    def point(self, u: Unknowns) -> Point:
        deltas = self._deltas(u)
        D = reciprocal(1.0 + deltas)
        T = self._T((D,), self.values)
        g = reciprocal(1.0 + self.psi_p * T * u[0])
        mean, weighed = self._mean_values, self.weights * u[0] * g
        m0, m1, m2 = (jnp.sum(mean**k * weighed) for k in range(3))
        return Point(u[0], (D,), (deltas * D,), T, g, (m0, m1, m2), None)

    def transforms(self, u: Unknowns) -> tuple[Number, Number]:
        # r with the mean covariance of all classes
        s, r, _ = self.point(u).moments  # (8)
        return r, s

    @property
    def _of_classes(self) -> Matrix:
        return self.scales @ self.values

    @property
    def _mean_values(self) -> Vector:
        return (self.shares @ self.scales) @ self.values

    def _on_nodes(self, source: Source) -> Vector:
        # the polynomial of a source in the mean covariance; a coefficient may depend on the node
        mean = self._mean_values
        return sum((a * mean**k for k, a in source.features.items()), jnp.zeros_like(mean))

    def _dressed(self, one: Point, two: Point, iota: Numbers, features: Numbers) -> Dressed:
        # of sources ιI + FaFᵀ with ι and a on the nodes, [source] and [source, node]
        S, R, psi_p, Q = self.values, self.scales, self.psi_p, one.q * two.q
        g = self.weights * one.g * two.g
        weights = psi_p / self.psi_n * self.shares * one.D[0] * two.D[0]
        v2, by_shape = self.ge.v2, self.ge.kappa2[:, None] * R
        # sums over the classes of products of C_c and C_c
        identity, mixed = jnp.sum(weights * v2**2), (weights * v2) @ by_shape
        both = (weights[:, None] * by_shape).T @ by_shape
        I1, I2 = S @ g, (S * g[None]) @ S.T
        J = jnp.sum(one.T * two.T * g)
        # (12), and (13) in (14), for M' = M + Σ_c φ_cC_c
        of_x = psi_p * J * Q - 1.0 + Q * (identity + mixed @ I1), *(I1 + psi_p * Q * (I2 @ mixed))
        along, coupled = both @ I1, I2 @ both
        columns = [of_x]
        for k in range(len(S)):
            unit = np.eye(len(S))[k]
            columns.append((-Q * (mixed[k] + along[k]), *(unit - psi_p * Q * coupled[:, k])))
        a_g = features * g[None]
        right = Q * (iota + jnp.sum(a_g, axis=-1)), *(psi_p * Q * (a_g @ S.T)).T
        x, *K = solve_small(columns, right)
        phi = weights[None] * (jnp.stack(K, axis=-1) @ by_shape.T - x[:, None] * v2[None])  # (13)
        return Dressed(x, phi, features + (phi @ by_shape) @ S)

    def two_point(
        self, one: Point, two: Point, sources: Sequence[Source]
    ) -> tuple[Number, Number, Number]:
        iota = jnp.stack([jnp.asarray(source.identity, float) for source in sources])
        features = jnp.stack([self._on_nodes(source) for source in sources])
        return tuple(self._through(jnp.ones(()), one, two, self._dressed(one, two, iota, features)))

    def _through(self, a: Numbers, one: Point, two: Point, response: Dressed) -> Numbers:
        # Tr FaFᵀ[M]/p for a on the nodes, (14)
        g = a * self.weights * one.g * two.g
        size = self.psi_p * one.q * two.q
        return size * (response.features @ g) - response.x * jnp.sum(g)

    # What training needs.

    # E[gyᵀ] of each class over F, on the nodes, [class, node]; None where y holds no x.
    @property
    def _cross(self) -> Matrix | None:
        return None if self.slope is None else self.slope * self.linear[:, None] * self._of_classes

    @property
    def _variances(self) -> Vector:
        # y_c
        return self._signal(1.0) * (self._of_classes @ self.weights)

    # V̄ = FP on the nodes.
    def _P(self, point: Point) -> Numbers:
        fixed = self.target.noise * jnp.sum(self.shares * self.linear)
        cross = self._cross
        if cross is None:
            return jnp.full_like(point.T, fixed)
        return fixed + (self.shares * point.D[0]) @ cross

    def _along(self, a: Numbers, point: Point) -> Numbers:
        # Tr FaᵀFᵀ(U - z)⁻¹V̄/d for a on the nodes
        return self.psi_p * point.q * (a @ (self.weights * point.g * self._P(point)))

    def explained(self, point: Point) -> tuple[Number, Number]:
        cross, counted = self._cross, self._counted
        fixed = jnp.full_like(self.weights, self.target.noise * jnp.sum(counted * self.linear))
        noise = self._along(fixed, point)
        if cross is None:
            return noise, noise
        X = self._along(cross, point)
        of_columns = point.D[0] * X + point.fluctuating[0] * self._variances
        return noise + jnp.sum(counted * of_columns), noise + jnp.sum(counted * X)  # (35)

    def target_two_point(self, one: Point, two: Point, sources: Sequence[Source]) -> list[Number]:
        return [
            self._of_target(one, two, source.identity, self._on_nodes(source)) for source in sources
        ]

    def _of_target(self, one: Point, two: Point, iota: Number, features: Numbers) -> Number:
        iota = jnp.asarray(iota)[None]
        response = self._dressed(one, two, iota, features[None])
        total = self.psi_p * self._through(self._P(one) * self._P(two), one, two, response)[0]
        cross = self._cross
        if cross is None:
            return total
        explained = self._along(cross, one) + self._along(cross, two)
        return total + jnp.sum(response.weights[0] * (self._variances - explained))  # (16)

    def sample_two_point(self, one: Point, two: Point) -> Number:
        """Tr Vᵀ(U - z1)⁻¹U_c(U - z2)⁻¹V/d for the `counted` mean of the classes' own U_c, (35)."""
        D, counted, ge = one.D[0] * two.D[0], self._counted, self.ge
        iota = jnp.sum(counted * (ge.s2 + D * ge.v2))
        features = jnp.sum(counted * ge.b2) + (counted * D * ge.kappa2) @ self._of_classes
        total = self._of_target(one, two, iota, features)
        cross = self._cross
        if cross is None:
            return total
        left, right = one.fluctuating[0], two.fluctuating[0]
        of_columns = one.D[0] * right * self._along(cross, one)
        of_columns += two.D[0] * left * self._along(cross, two)
        return total + jnp.sum(counted * (of_columns + left * right * self._variances))

    @property
    def judged_apart(self) -> bool:
        return self.counted is not None

    @property
    def _counted(self) -> Vector:
        return self.shares if self.counted is None else self.counted

    @property
    def population(self) -> Source:
        ge, counted = self.ge, self._counted
        features = jnp.sum(counted * ge.b2) + (counted * ge.kappa2) @ self._of_classes
        return Source(jnp.sum(counted * (ge.v2 + ge.s2)), {0: features})

    @property
    def untrained(self) -> Real:
        return jnp.sum(self._counted * self._variances) + self.target.noise**2

    @property
    def on_other_nodes(self) -> Equations | None:
        return self.finer

    @property
    def drop_scale(self) -> Real:
        return jnp.sum(self.shares * self.linear) ** 2 * self.psi_p


def class_equations(
    model: RandomFeatureModel, ge: GaussianEquivalent, *, for_losses: bool
) -> ClassEquations:
    """The equations of a model whose data have classes.

    The spectrum is that of all classes; only losses can be those of one.
    """
    enter()
    data = model.covariance
    assert isinstance(data, Classes)
    finer = None
    if for_losses and data.finer is not None:
        scales, shares = data.finer
        traces = scales @ (data.values @ data.weights)
        finer = _equations(model, data, constants_at(model, traces), scales, shares, None, None)
    counted = data.counted if for_losses else None
    return _equations(model, data, ge, data.scales, data.shares, counted, finer)


def _equations(
    model: RandomFeatureModel,
    data: Classes,
    ge: GaussianEquivalent,
    scales: Matrix,
    shares: Vector,
    counted: Vector | None,
    finer: ClassEquations | None,
) -> ClassEquations:
    y, process = combination(model.target, model.process), model.process
    return ClassEquations(
        psi_p=model.psi_p,
        psi_n=model.psi_n,
        values=data.values,
        weights=data.weights,
        law=None,
        others=None,
        averaged=None,
        ge=ge,
        target=y,
        slope=None if y.signal is None else y.signal * process.alpha / process.beta,
        decay=model.weight_decay / y.pace,
        shares=shares,
        scales=scales,
        linear=process.beta * ge.mu1,
        counted=counted,
        finer=finer,
    )
