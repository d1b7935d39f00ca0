r"""Train-loss drops of the bulks of a spectrum in multi-precision arithmetic.

With γ' the weight decay on U and E(z) = Tr Vᵀ(U - z)⁻¹V/d,

    E(z) = b²ψ_p ∫ dρ_Σ (c_ξ + c_xαλD/β)² q/(1 + ψ_pTq) + c_x² (Tr Σ/d) (1 - D),
    drop = (1/π) ∫ dλ Im E(λ) (λ + 2γ')/(λ + γ')²

between the edges of a bulk. The drops of all bulks add up to what training to the end takes off
the train loss. (E(z) is written here for all draws of the noise.)
"""

from __future__ import annotations

from typing import Any

import mpmath as mp

from ..models.model import RandomFeatureModel
from . import curves, regression, twin

# numbers of midpoints of a bulk: the first, the most at first, and the most for a near split
FIRST, MANY, MOST = 32, 300, 10_000
# relative difference that two rules may have; the second holds where the drops miss their sum
AGREED = (1e-6, 1e-10)
SUM = 1e-14  # relative error that the sum of the drops may have


class _Explained:
    """E(z) at one z after another."""

    def __init__(self, model: RandomFeatureModel, digits: int, activation: Any):
        self.problem = regression.regression(model, digits, activation)
        self.solver = twin.Solver(self.problem.equations, digits)

    def at(self, z: mp.mpf) -> mp.mpc:
        return regression.Nodes(self.problem, self.solver, [mp.mpc(z)], twice=False).sample[0]


def between(
    model: RandomFeatureModel,
    bulks: list[tuple[mp.mpf, mp.mpf]],
    digits: int,
    activation: Any = None,
) -> list[mp.mpf]:
    """The drop of each bulk, given the edges of all bulks in ζ = z - s².

    The drop of one bulk that is about to split is what the others leave of the sum of all.
    """
    task = _Explained(model, digits, activation)
    total = task.problem.untrained - curves.losses_of(task.problem, mp.inf, digits).train
    for agreed in AGREED:
        drops = [_drop(task, ends, MANY, agreed) for ends in bulks]
        if None in drops or abs(mp.fsum(drops) - total) <= SUM * abs(total):
            break
    open_ = [i for i, drop in enumerate(drops) if drop is None]
    for i in open_[1:]:
        drops[i] = _drop(task, bulks[i], MOST, agreed)
    if open_:
        drops[open_[0]] = total - mp.fsum(d for d in drops if d is not None)
    return drops


def _drop(task: _Explained, ends: tuple[mp.mpf, mp.mpf], most: int, agreed: float) -> mp.mpf | None:
    # The midpoint rule in θ, ζ = a(b/a)^{sin²(θ/2)}, with three times as many nodes each time; None
    # beyond `most`. The error falls geometrically. Where two sums agree to x, the last is good to
    # x³, unless they agree by chance, as sums of oscillating terms may.
    nodes, before = FIRST, None
    while nodes <= most:
        total = (
            mp.fsum(
                _integrand(task, ends, (j + mp.mpf(1) / 2) * mp.pi / nodes) for j in range(nodes)
            )
            / nodes
        )
        if before is not None and abs(total - before) <= agreed * abs(total):
            return total
        before, nodes = total, 3 * nodes
    return None


def _integrand(task: _Explained, ends: tuple[mp.mpf, mp.mpf], theta: mp.mpf) -> mp.mpf:
    (a, b), x, decay = ends, mp.sin(theta / 2) ** 2, task.problem.decay
    zeta = b * x if a == 0 else a * (b / a) ** x
    width = (b if a == 0 else zeta * mp.log(b / a)) * mp.sin(theta) / 2
    value = task.problem.equations.c.s2 + zeta
    return mp.im(task.at(value)) * width * (value + 2 * decay) / (value + decay) ** 2
