r"""One contour for all training times: around a known interval that holds the eigenvalues.

With all eigenvalues λ of U in [a, b] and all times up to c,

    f(U) ≃ Σ_j [ w_j f(z_j) (U - z_j)⁻¹ + c.c. ]

for every f that is analytic and bounded for Re z > -1/c. So are the filters h(z) = (1 - e^{-c'z})/z
of gradient flow to all c' ≤ c, h at the end of training included, for which c = ∞. Unlike the
contours of ``rfspec.training.contour`` this one passes between 0 and a, so that its number of nodes
grows with log(b/a) and not with the number of times. It is the map of Hale, Higham and Trefethen
(SIAM J. Numer. Anal. 46, 2505, 2008), method 1, in w = (z + 1/c)²; N nodes err by e^{-π²N/(2
log(b/a) + 3)}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import ellipj, ellipkm1

from ..numerics.types import Numbers, Real, Reals, Vector

# eigenvalues at which a contour is judged
JUDGED = 400


class Enclosing(NamedTuple):
    """Nodes z_j, Im z_j > 0, from left to right, weights w_j, and the crossing left of [a, b].

    The nodes are images of equidistant points in the upper half plane, the crossing is that of half
    a step before the first.
    """

    nodes: Numbers
    weights: Numbers
    crossing: Real


def enclosing(a: Real, b: Real, c: Real, count: int) -> Enclosing:
    """The contour on `count` nodes for 0 < a < b and times up to c ≤ ∞."""
    shift = 1.0 / c
    low, high = a + shift, b + shift
    ratio = high / low
    # 1 - k², which is small
    left = 4.0 * ratio / (ratio + 1.0) ** 2
    k = (ratio - 1.0) / (ratio + 1.0)
    quarter, other = ellipkm1(left), ellipkm1(k**2)
    x = -quarter + (np.arange(-0.5, count) + 0.5) * 2.0 * quarter / count
    x[1:] -= quarter / count
    sn, slope = _jacobi(x, other / 2.0, left)
    w = high * low * (1.0 / k + sn) / (1.0 / k - sn)
    z = np.sqrt(w)
    # dw = 2 high low/k · (cn dn) dx/(1/k - sn)², dz = dw/2z; clockwise in the upper half plane
    dz = high * low / k * slope / (1.0 / k - sn) ** 2 / z * (2.0 * quarter / count)
    return Enclosing((z - shift)[1:], (dz / (2j * np.pi))[1:], float((z[0] - shift).real))


def _jacobi(x: Vector, y: Real, left: Real) -> tuple[Numbers, Numbers]:
    # sn and sn' = cn dn at x + iy, for the parameter m = 1 - left
    m = 1.0 - left
    s, c, d, _ = ellipj(x, m)
    s1, c1, d1, _ = ellipj(y, left)
    below = c1**2 + m * s**2 * s1**2
    sn = (s * d1 + 1j * c * d * s1 * c1) / below
    cn = (c * c1 - 1j * s * d * s1 * d1) / below
    dn = (d * c1 * d1 - 1j * m * s * c * s1) / below
    return sn, cn * dn


def learnt(c: Vector, z: Numbers) -> Numbers:
    """h(z) = (1 - e^{-cz})/z for each c ≤ ∞, [time, z]; c where z = 0."""
    c, z = np.asarray(c, float)[:, None], np.asarray(z)[None, :]
    finite = np.where(np.isinf(c), 0.0, c)
    return np.where(np.isinf(c), 1.0, -np.expm1(-finite * z)) / z


def misfit(path: Enclosing, a: Real, b: Real, f: Callable[[Numbers], Numbers]) -> Reals:
    """The largest relative error of f(λ) on [a, b] for each row of f(z), [row, z]."""
    values = np.geomspace(a, b, JUDGED)
    of_nodes = 2.0 * ((f(path.nodes) * path.weights) @ (1.0 / (values - path.nodes[:, None]))).real
    return np.max(np.abs(of_nodes / f(values) - 1.0), axis=1)
