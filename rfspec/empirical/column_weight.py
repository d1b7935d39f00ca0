r"""The weight D of a column for given feature weights W, on the nodes of a contour.

Of U only the columns g = E_ξ[φ] are random, of second moment C; H = Ũ - C is fixed. As a resolvent

    U ≃ H + D C,   D = 1/(1 + δ),   δ = (1/n) Tr C (H + D C - z)⁻¹.

D is a root of D(1 + δ(D)) - 1. Left of the spectrum that grows with D and is concave, so that
Newton's method climbs to its one root from below. From there the root is followed along the
contour, where each step costs one inverse.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.types import Matrix, Number, Numbers, Real, Vector, Whole
from ..resolvent.solver import ConvergenceError
from .enclosing import Enclosing

# Newton's steps at a node, at most
STEPS = 12
# nodes, mirrored ones among them, that foretell the next
FORETELLING = 8


class Pencil(NamedTuple):
    """H and C in the eigenbasis of C.

    Attributes
    ----------
    H : array, shape (p, p)
    kappa : array, shape (p,)
        Eigenvalues of C.
    n : int
    """

    H: Matrix
    kappa: Vector
    n: Whole


class AtNode(NamedTuple):
    """Q = (H + DC - z)⁻¹ and what goes with it: δ(D), (1/n)Tr CQCQ, and Newton's step."""

    Q: Numbers
    D: Number
    delta: Number
    twice: Number
    step: Number


@jax.jit
def at_node(pencil: Pencil, D: Number, z: Number) -> AtNode:
    H, kappa, n = pencil
    Q = jnp.linalg.inv(H + jnp.diag(D * kappa - z))
    delta = kappa @ jnp.diagonal(Q) / n
    twice = kappa @ (Q * Q) @ kappa / n
    step = (1.0 - D * (1.0 + delta)) / (1.0 + delta - D * twice)
    return AtNode(Q, D, delta, twice, step)


def left_of_spectrum(pencil: Pencil, z: Real) -> float:
    """D at a real z below the eigenvalues of H."""
    H, kappa, n = pencil
    L = np.linalg.cholesky(np.asarray(H) - z * np.eye(kappa.size))
    half = np.linalg.solve(L, np.diag(np.sqrt(np.asarray(kappa))))
    # of (H - z)⁻¹C, so that δ = (1/n)Σ μ/(1 + Dμ)
    mu = np.linalg.svd(half, compute_uv=False) ** 2
    D = 1.0 / (1.0 + np.sum(mu) / n)
    for _ in range(100):
        share = mu / (1.0 + D * mu)
        delta = np.sum(share) / n
        step = (1.0 - D * (1.0 + delta)) / (1.0 + delta - D * np.sum(share**2) / n)
        D += step
        if abs(step) <= 1e-14 * D:
            break
    return float(D)


def along(pencil: Pencil, path: Enclosing, tolerance: float) -> list[AtNode]:
    """The solution at all nodes, each known to about the tolerance, relative to D."""
    known = [complex(left_of_spectrum(pencil, path.crossing))]
    return [_solved(pencil, known, z, tolerance) for z in path.nodes]


def _solved(pencil: Pencil, known: list[complex], z: complex, tolerance: float) -> AtNode:
    D = _foretold(known)
    for _ in range(STEPS):
        point = at_node(pencil, D, z)
        step = complex(point.step)
        if not np.isfinite(step):
            break
        if abs(step) <= tolerance * abs(D):
            known.append(D + step)
            if complex(point.delta).imag < 0:
                break
            return point
        D += step
    raise ConvergenceError(
        f"the weight of a column did not converge at z = {z:.6g}: move n or a parameter a little"
    )


def _foretold(known: list[complex]) -> complex:
    # nodes are half a step, one and a half, ... from the crossing, and D(z̄) is the conjugate of
    # D(z): the polynomial through the nearest ones on both sides of the crossing
    at = np.concatenate([[0.0], np.arange(len(known) - 1) + 0.5])
    values = np.array(known)
    at = np.concatenate([at, -at[1:]])
    values = np.concatenate([values, values[1:].conj()])
    new = len(known) - 0.5
    nearest = np.argsort(new - at)[:FORETELLING]
    at, values = at[nearest], values[nearest]
    others = at[:, None] - at[None, :] + np.eye(at.size)
    parts = np.where(np.eye(at.size) > 0, 1.0, (new - at[None, :]) / others)
    return complex(np.prod(parts, axis=1) @ values)
