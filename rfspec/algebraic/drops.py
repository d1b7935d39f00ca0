r"""Train-loss drops of the bulks of a spectrum in multi-precision arithmetic.

With E(z) = Tr Vᵀ(U - z)⁻¹V/d, V = bF(c_ξ + c_xαΣD/β) + (what it does not know of x), and γ' the
weight decay on U,

    E(z) = b²ψ_p ∫ dρ_Σ (c_ξ + c_xαλD/β)² q/(1 + ψ_pTq) + c_x² (Tr Σ/d) (1 - D),
    drop = (1/π) ∫ dλ Im E(λ) (λ + 2γ')/(λ + γ')²

between the edges of a bulk; over all bulks what training to the end takes off the train loss.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp

from ..models.model import RandomFeatureModel
from . import curves, regression, twin

FIRST, MANY, MOST = 32, 300, 10_000  # midpoints of a bulk
# shares to which two rules have to agree; the second where the sum of all drops is not met
AGREED = (1e-6, 1e-10)
SUM = 1e-14  # relative error of that sum


class _Explained:
    """E at one z after another."""

    def __init__(self, model: RandomFeatureModel, digits: int, activation: Any):
        self.of = regression.regression(model, digits, activation)
        self.solver = twin.Solver(self.of.equations, digits)

    def at(self, z: mp.mpf) -> mp.mpc:
        """E(z), Im z ≥ 0."""
        return regression.Nodes(self.of, self.solver, [mp.mpc(z)], twice=False).sample[0]


def between(
    model: RandomFeatureModel,
    bulks: list[tuple[mp.mpf, mp.mpf]],
    digits: int,
    activation: Any = None,
) -> list[mp.mpf]:
    """The drop of each bulk, given the edges of all bulks in ζ = z - s².

    Of a bulk that is about to split what the others leave of all of it.
    """
    task = _Explained(model, digits, activation)
    total = task.of.untrained - curves.losses_of(task.of, mp.inf, digits).train
    for agreed in AGREED:
        found = [_drop(task, ends, MANY, agreed) for ends in bulks]
        if None in found or abs(mp.fsum(found) - total) <= SUM * abs(total):
            break
    open_ = [i for i, drop in enumerate(found) if drop is None]
    for i in open_[1:]:
        found[i] = _drop(task, bulks[i], MOST, agreed)
    if open_:
        found[open_[0]] = total - mp.fsum(d for d in found if d is not None)
    return found


def _drop(task: _Explained, ends: tuple[mp.mpf, mp.mpf], most: int, agreed: float) -> mp.mpf | None:
    """One bulk by the midpoint rule in θ, ζ = a(b/a)^{sin²(θ/2)}, thrice as many nodes at a time;
    None beyond `most`.

    The error falls geometrically: where the last two sums agree to a share x, the last is good to
    x³, unless they agree by chance, as sums of what oscillates may.
    """
    nodes, before = FIRST, None
    while nodes <= most:
        total = (
            mp.fsum(_term(task, ends, (j + mp.mpf(1) / 2) * mp.pi / nodes) for j in range(nodes))
            / nodes
        )
        if before is not None and abs(total - before) <= agreed * abs(total):
            return total
        before, nodes = total, 3 * nodes
    return None


def _term(task: _Explained, ends: tuple[mp.mpf, mp.mpf], theta: mp.mpf) -> mp.mpf:
    """The integrand in θ."""
    (a, b), share, decay = ends, mp.sin(theta / 2) ** 2, task.of.decay
    zeta = b * share if a == 0 else a * (b / a) ** share
    width = (b if a == 0 else zeta * mp.log(b / a)) * mp.sin(theta) / 2
    value = task.of.equations.c.s2 + zeta
    return mp.im(task.at(value)) * width * (value + 2 * decay) / (value + decay) ** 2
