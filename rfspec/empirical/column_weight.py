r"""The weight of a column for given feature weights W, on the nodes of a contour.

Of U only the columns g = E_ξ[φ] are taken as random, of second moment C; H = Ũ - C is fixed. As a
resolvent

    U ≃ H + D C,   D = 1/(1 + δ),   δ = (1/n) Tr C (H + D C - z)⁻¹.

Where C is a mean over S rows, of which n train, that mean has columns too: then

    H + D C ≃ H + x C_S,   D = x/(1 + x(n/S)δ),   x = 1/(1 + (1 - n/S)δ),

so that all rows together, n = S, have x = 1 and U itself. Leaving out one of the S rows gives δ =
tx/(1 - tx) with t = (1/n) Tr C_S (H + x C_S - z)⁻¹, and x is a root of g(x) = x + tx(1 - xn/S) - 1,
for S = ∞ too. Left of the spectrum g grows and is concave, so that Newton's method climbs to its
one root from below. There it is solved at a few points first. From these it is continued along the
contour by a rational function (AAA, Nakatsukasa, Sète and Trefethen, SIAM J. Sci. Comput. 40,
A1494, 2018) through all points that are known, which leaves about two of Newton's steps a node, of
an inverse each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.types import Matrix, Number, Numbers, Real, Vector
from ..resolvent.solver import ConvergenceError
from .enclosing import Enclosing

# Newton's steps at a node, at most
STEPS = 12
# real points besides the crossing where x is known before it is followed
ON_AXIS = 6
# relative accuracy of the function by which x is continued
ROUGHLY = 1e-10


class Pencil(NamedTuple):
    """H and C in the eigenbasis of C.

    Attributes
    ----------
    H : array, shape (p, p)
    kappa : array, shape (p,)
        Eigenvalues of C.
    n, share : float
        Samples, and n/S; 0 for an exact C.
    """

    H: Matrix
    kappa: Vector
    n: Real
    share: Real


class AtNode(NamedTuple):
    """Q = (H + xC - z)⁻¹ and what goes with it: t(x), (1/n)Tr CQCQ, and Newton's step."""

    Q: Numbers
    x: Number
    t: Number
    step: Number

    @property
    def solved(self) -> complex:
        """x after the step."""
        return complex(self.x + self.step)


@jax.jit
def at_node(pencil: Pencil, x: Number, z: Number) -> AtNode:
    H, kappa, n, share = pencil
    Q = jnp.linalg.inv(H + jnp.diag(x * kappa - z))
    t = kappa @ jnp.diagonal(Q) / n
    return AtNode(Q, x, t, _step(x, t, kappa @ (Q * Q) @ kappa / n, share))


def _step(x: Number, t: Number, twice: Number, share: Real) -> Number:
    # of Newton's method in x, where -(1/n)Tr CQCQ is the slope of t
    value = x + t * x * (1.0 - share * x) - 1.0
    return -value / (1.0 + (t - x * twice) * (1.0 - share * x) - share * t * x)


def left_of_spectrum(pencil: Pencil, z: Real) -> float:
    """x at a real z below the eigenvalues of H."""
    H, kappa, n, share = pencil
    L = np.linalg.cholesky(H - z * np.eye(kappa.size))
    half = np.linalg.solve(L, np.diag(np.sqrt(kappa)))
    # of (H - z)⁻¹C, so that t = (1/n)Σ μ/(1 + xμ)
    mu = np.linalg.svd(half, compute_uv=False) ** 2
    x = 1.0 / (1.0 + np.sum(mu) / n)
    for _ in range(100):
        each = mu / (1.0 + x * mu)
        step = _step(x, np.sum(each) / n, np.sum(each**2) / n, share)
        x += step
        if abs(step) <= 1e-14 * x:
            break
    return float(x)


def along(pencil: Pencil, path: Enclosing, tolerance: float) -> list[AtNode]:
    """The solution at all nodes, each known to about the tolerance, relative to x."""
    nearest, farthest = np.abs(path.nodes[[0, -1]] - path.crossing)
    away = np.geomspace(nearest, farthest, ON_AXIS)
    left = [path.crossing, *(path.crossing - away)]
    known = Known([complex(z) for z in left], [complex(left_of_spectrum(pencil, z)) for z in left])
    return [_solved(pencil, known, z, tolerance) for z in path.nodes]


def _solved(pencil: Pencil, known: Known, z: complex, tolerance: float) -> AtNode:
    x = known.continued(z)
    for _ in range(STEPS):
        point = at_node(pencil, x, z)
        step = complex(point.step)
        if not np.isfinite(step):
            break
        if abs(step) <= tolerance * abs(x):
            # (1/n)Tr CQ of a resolvent
            if complex(point.t).imag < 0:
                break
            known.add(z, point.solved)
            return point
        x += step
    raise ConvergenceError(
        f"the weight of a column did not converge at z = {z:.6g}: move n or a parameter a little"
    )


class Known(NamedTuple):
    """Points z where x is known, and its values."""

    z: list[complex]
    x: list[complex]

    def add(self, z: complex, x: complex) -> None:
        # of conjugates too
        self.z.extend([z, z.conjugate()])
        self.x.extend([x, x.conjugate()])

    def continued(self, z: complex) -> complex:
        """The rational function through them, at z: poles are added until it is close to all."""
        points, values = np.array(self.z), np.array(self.x)
        chosen: list[int] = []
        at_points, at_z = np.full(points.size, np.mean(values)), np.mean(values)
        while len(chosen) < points.size // 2:
            off = np.abs(values - at_points)
            off[chosen] = 0.0
            if np.max(off) <= ROUGHLY * np.max(np.abs(values)):
                break
            chosen.append(int(np.argmax(off)))
            at_points, at_z = _barycentric(points, values, chosen, z)
        return complex(at_z)


def _barycentric(
    points: Numbers, values: Numbers, chosen: list[int], z: complex
) -> tuple[Numbers, Number]:
    # through the chosen points, with weights that fit the others best; at all points and at z
    others = np.setdiff1d(np.arange(points.size), chosen)
    inverse = 1.0 / (points[others, None] - points[chosen])
    differences = inverse * (values[others, None] - values[chosen])
    weights = np.linalg.svd(differences, full_matrices=False)[2][-1].conj()
    ratio = lambda rows: rows @ (weights * values[chosen]) / (rows @ weights)
    fitted = values.copy()
    fitted[others] = ratio(inverse)
    return fitted, ratio(1.0 / (z - points[chosen]))
