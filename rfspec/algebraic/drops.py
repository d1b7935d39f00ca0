r"""Train-loss drops of the bulks of a spectrum in multi-precision arithmetic.

With E(z) = Tr Vᵀ(U - z)⁻¹V/d, V = bF(c_ξ + c_xαΣD/β) + (what it does not know of x), and γ' the weight decay on U,

    E(z) = b²ψ_p ∫ dρ_Σ (c_ξ + c_xαλD/β)² q/(1 + ψ_pTq) + c_x² (Tr Σ/d) (1 - D),
    drop = (1/π) ∫ dλ Im E(λ) (λ + 2γ')/(λ + γ')²

between the edges of a bulk; over all bulks E(-γ') + γ'E'(-γ').
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import mpmath as mp

from ..model import RandomFeatureModel
from ..targets import combination
from . import twin

FIRST, MANY, MOST = 32, 300, 10_000  # midpoints of a bulk
AGREED, SETTLED = 1e-6, 1e-25


class _Task(NamedTuple):
    """Equations, c_ξ, c_x, c_xα/β and γ'."""

    eq: Any
    noise: Any
    signal: Any
    slope: Any
    decay: Any

    def explained(self, q: Any, delta: Any) -> Any:
        """E at a solution."""
        eq, D, known, variance = self.eq, 1 / (1 + delta), [], []
        for x, w in zip(eq.values, eq.weights, strict=True):
            e = 1 + eq.psi_p * (eq.c.b2 + eq.c.kappa2 * x * D) * q
            known.append(w * q / e * (self.noise + self.slope * x * D) ** 2)
            variance.append(w * x * self.signal**2)
        return eq.c.b2 * eq.psi_p * mp.fsum(known) + mp.fsum(variance) * (1 - D)


def between(model: RandomFeatureModel, numbers: Any, bulks: list[tuple[Any, Any]], digits: int) -> list[Any]:
    """The drop of each bulk, given the numbers of the equations and the edges of all bulks in ζ = z - s².

    Of a bulk that is about to split what the others leave of all of it.
    """
    y = combination(model.target, model.process)
    noise, signal = mp.mpf(float(y.noise)), mp.mpf(0 if y.signal is None else float(y.signal))
    slope = signal * mp.mpf(float(model.process.alpha)) / mp.mpf(float(model.process.beta))
    task = _Task(twin.from_numbers(numbers), noise, signal, slope, mp.mpf(float(model.weight_decay / y.weight)))
    found = [_drop(task, ends, digits, MANY) for ends in bulks]
    open_ = [i for i, drop in enumerate(found) if drop is None]
    for i in open_[1:]:
        found[i] = _drop(task, bulks[i], digits, MOST)
    if open_:
        found[open_[0]] = _total(task, digits) - mp.fsum(d for d in found if d is not None)
    return found


def _total(task: _Task, digits: int) -> Any:
    """E(-γ') + γ'E'(-γ')."""

    def explained(z: Any) -> Any:
        point = twin.solve_equations(task.eq, z, digits)
        return mp.re(task.explained(point.q, point.delta))

    slope = mp.diff(explained, -task.decay) if task.decay else 0
    return explained(-task.decay) + task.decay * slope


def _drop(task: _Task, ends: tuple[Any, Any], digits: int, most: int) -> Any:
    """One bulk by the midpoint rule in θ, ζ = a(b/a)^{sin²(θ/2)}, thrice as many nodes at a time; None beyond `most`.

    The error falls geometrically: where the last two sums agree to a share x, the last is good to x³.
    """
    a, b = ends
    point = twin.solve_equations(task.eq, task.eq.c.s2 + (b / 2 if a == 0 else mp.sqrt(a * b)), digits)
    nodes, before = FIRST, None
    while nodes <= most:
        half = nodes // 2
        ways = range(half, nodes), range(half - 1, -1, -1)
        total = mp.fsum(_sum(task, ends, way, nodes, (point.q, point.delta)) for way in ways) / nodes
        if before is not None and abs(total - before) <= AGREED * abs(total):
            return total
        before, nodes = total, 3 * nodes
    return None


def _sum(task: _Task, ends: tuple[Any, Any], order: Iterable[int], nodes: int, start: tuple[Any, Any]) -> Any:
    """The integrand at successive midpoints, from the solution at each to the next."""
    (a, b), u, terms, eq = ends, start, [], task.eq
    for j in order:
        theta = (j + mp.mpf(1) / 2) * mp.pi / nodes
        share = mp.sin(theta / 2) ** 2
        zeta = b * share if a == 0 else a * (b / a) ** share
        width = (b if a == 0 else zeta * mp.log(b / a)) * mp.sin(theta) / 2
        u, value = _followed(eq, u, eq.c.s2 + zeta), eq.c.s2 + zeta
        decayed = (value + 2 * task.decay) / (value + task.decay) ** 2
        terms.append(mp.im(task.explained(*u)) * width * decayed)
    return mp.fsum(terms)


def _followed(eq: Any, u: tuple[Any, Any], z: Any) -> tuple[Any, Any]:
    """The solution at z inside of a bulk from one nearby, or where that leads elsewhere from far above."""
    q, delta = u
    for _ in range(20):
        q, delta, step = eq.newton(q, delta, z)
        if step < SETTLED and min(mp.im(q), mp.im(delta)) > 0:
            return q, delta
    point = twin.solve_equations(eq, z, 30)
    return point.q, point.delta
