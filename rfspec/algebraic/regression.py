"""What training explains of a target, in multi-precision arithmetic, and the contour for losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath as mp

from ..models.model import RandomFeatureModel
from .numbers import target_numbers
from .system import Equations, State, equations
from .twin import Solver

RATE = 3.89  # factor by which each node reduces the error of the contour


class Regression(NamedTuple):
    """The numbers of a model's regression; ``rfspec.algebraic.curves`` has the symbols."""

    equations: Equations
    # the two coefficients of P_0, which does not fluctuate
    fixed: tuple[mp.mpf, mp.mpf]
    # (a_i0, a_i1) and v_i of each kind of columns
    cross: list[tuple[mp.mpf, mp.mpf]]
    variance: list[mp.mpf]
    # the two coefficients of P̃
    fresh: tuple[mp.mpf, mp.mpf]
    # y_0
    untrained: mp.mpf
    # ω², and what weight decay adds to U
    pace: mp.mpf
    decay: mp.mpf

    @property
    def scale(self) -> mp.mpf:
        return self.equations.c.b2 * self.equations.psi_p

    @property
    def size(self) -> mp.mpf:
        """About the mean eigenvalue of U."""
        c = self.equations.c
        return c.s2 + c.v2 + c.b2 + c.kappa2 * max(self.equations.values)

    @property
    def population(self) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
        """Ũ = (v² + s²)I + b²FFᵀ + κ²FΣFᵀ."""
        c = self.equations.c
        return c.v2 + c.s2, c.b2, c.kappa2

    def explained(self, many: list[mp.mpf], D: list[Any], traces: list[Any]) -> tuple[Any, Any]:
        """Tr Vᵀ(U - z)⁻¹V/d and Tr Ṽᵀ(U - z)⁻¹V/d from D_i and ∫ λᵏqE, (15) and (16).

        All may be numbers or triangular matrices.
        """
        one = 1 + 0 * D[0]
        P = [self.fixed[k] * one for k in range(2)]
        sample = 0 * one
        for n, d, cross, variance in zip(many, D, self.cross, self.variance, strict=True):
            P = [p + d * (n * a) for p, a in zip(P, cross, strict=True)]
            sample = sample + (one - d) * (n * variance)
        right = [sum((traces[j + k] * P[k] for k in range(2)), 0 * one) for j in range(2)]
        sample = sample + (P[0] * right[0] + P[1] * right[1]) * self.scale
        return sample, (right[0] * self.fresh[0] + right[1] * self.fresh[1]) * self.scale


def regression(model: RandomFeatureModel, digits: int, activation: Any = None) -> Regression:
    """The numbers of a model's regression, with constants to `digits`."""
    eq = equations(model, digits, activation)
    y = target_numbers(model)
    m, n = eq.draws, eq.psi_n
    data = y.signal**2 * mp.fdot(eq.weights, eq.values)
    slope = y.signal * y.slope  # of Σ in the covariance of y with a column, over b
    fresh = (y.noise, slope)
    common = (data + y.noise**2, y.pace, mp.mpf(float(model.weight_decay)) / y.pace)
    if m == mp.inf:
        return Regression(
            eq, (y.noise, mp.mpf(0)), [(mp.mpf(0), slope / n)], [data / n], fresh, *common
        )
    size = m * n
    cross = [(y.noise / size, m * slope / size), (y.noise / size, mp.mpf(0))]
    variance = [(m * data + y.noise**2) / size, y.noise**2 / size]
    kinds = 2 if m > 1 else 1
    return Regression(eq, (mp.mpf(0), mp.mpf(0)), cross[:kinds], variance[:kinds], fresh, *common)


class Nodes:
    """One- and two-point functions at points z that stand for themselves and their conjugates."""

    def __init__(self, problem: Regression, solver: Solver, z: list[mp.mpc], *, twice: bool = True):
        system = solver.exact
        many = [kind.many for kind in system.columns]
        states = [solver.at(x) for x in z]
        explained = [
            problem.explained(
                many, [1 / (1 + d) for d in s.u[1:]], [s.u[0] * mean for mean in s.means]
            )
            for s in states
        ]
        self.sample, self.population = ([pair[k] for pair in explained] for k in range(2))
        # of a pair j ≤ k, Tr Vᵀ(U - z_j)⁻¹Ũ(U - z_k)⁻¹V/d, with z_k and with its conjugate
        self.fresh: dict[tuple[int, int], tuple[Any, Any]] = {}
        if not twice:
            return

        def both(one: State, two: State, z1: mp.mpc, z2: mp.mpc) -> mp.mpc:
            response, direction = system.response_to(problem.population, one, two, z1, z2)
            return -problem.explained(many, response.D, response.traces)[0].along(direction)

        for j, one in enumerate(states):
            for k in range(j, len(z)):
                two = states[k]
                conjugate = State(*([mp.conj(v) for v in part] for part in two))
                self.fresh[j, k] = (
                    both(one, two, z[j], z[k]),
                    both(one, conjugate, z[j], mp.conj(z[k])),
                )

    def once(self, weights: list[mp.mpc], function: list[mp.mpc]) -> mp.mpf:
        """Σ w_jf_j over the points and their conjugates."""
        return 2 * mp.re(mp.fdot(weights, function))

    def twice(self, left: list[mp.mpc], right: list[mp.mpc]) -> mp.mpf:
        """Σ l_jr_k Tr VᵀG_jŨG_kV/d over pairs of points and conjugates; the trace is symmetric."""
        total = mp.mpf(0)
        for (j, k), (same, other) in self.fresh.items():
            total += mp.re(left[j] * (right[k] * same + mp.conj(right[k]) * other))
            if j != k:
                total += mp.re(left[k] * (right[j] * same + mp.conj(right[j] * other)))
        return 2 * total


def contour(count: int) -> tuple[list[mp.mpc], list[mp.mpc]]:
    """Points s, Im s < 0, and weights w of (1/2πi)∫ e^s f(s)/s ds ≃ Σ [w f(s) + c.c.].

    The contour goes around the negative axis.
    """
    a, b, c, d = (mp.mpf(x) for x in ("0.5017", "0.6407", "-0.6122", "0.2645"))
    points, weights = [], []
    for k in range(count // 2):
        theta = -(2 * k + 1) * mp.pi / count
        cot = mp.cot(b * theta)
        s = count * mp.mpc(a * theta * cot + c, d * theta)
        slope = mp.mpc(a * cot - a * b * theta * (1 + cot**2), d)  # over count
        points.append(s)
        weights.append(mp.exp(s) * slope / (mp.mpc(0, 1) * s))
    return points, weights
