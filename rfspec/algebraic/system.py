"""The equations of the multi-precision twin, with their two-point functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp

from ..models.model import RandomFeatureModel
from .numbers import Constants, atoms, constants, ratios
from .triangular import Triangular, solved

Source = tuple[Any, Any, Any]  # ιI + βFFᵀ + γFΣFᵀ


class Columns(NamedTuple):
    """Columns of one kind: n_i = N_i/d and (ι_i, β_i, γ_i)."""

    many: Any
    iota: Any
    beta: Any
    gamma: Any


class Equations(NamedTuple):
    """What the spectrum depends on; `draws` is m or ∞."""

    psi_p: mp.mpf
    psi_n: mp.mpf
    c: Constants
    values: list[mp.mpf]
    weights: list[mp.mpf]
    draws: mp.mpf = mp.inf

    def system(self, number: Callable[..., Any] = mp.mpf) -> System:
        """Fixed part and columns, in numbers of one type."""
        _, _, kappa2, b2, v2, s2 = self.c
        if self.draws == mp.inf:
            fixed = (s2, b2)
            kinds = [Columns(self.psi_n, *(x / self.psi_n for x in (v2, mp.mpf(0), kappa2)))]
        else:
            fixed = (mp.mpf(0), mp.mpf(0))
            m, size = self.draws, self.draws * self.psi_n
            kinds = [Columns(self.psi_n, (m * v2 + s2) / size, b2 / size, m * kappa2 / size)]
            if m > 1:
                kinds.append(Columns((m - 1) * self.psi_n, s2 / size, b2 / size, mp.mpf(0)))
        powers = [
            [w * x**k for x, w in zip(self.values, self.weights, strict=True)] for k in range(4)
        ]
        return System(
            number(self.psi_p),
            [number(x) for x in self.values],
            [[number(x) for x in row] for row in powers],
            (number(fixed[0]), number(fixed[1])),
            tuple(Columns(*map(number, kind)) for kind in kinds),
        )


class State(NamedTuple):
    """At one z: the unknowns (q, δ_i), E of each eigenvalue, and ∫ λᵏE for k = 0, 1, 2."""

    u: list[Any]
    E: list[Any]
    means: list[Any]


class Response(NamedTuple):
    """At two points, as triangular matrices: what vanishes, D_i, and Tr FΣᵏFᵀ(U - z)⁻¹/p for k = 0,
    1, 2.
    """

    off: list[Triangular]
    D: list[Triangular]
    traces: list[Triangular]


class System(NamedTuple):
    """ψ_p, Σ's eigenvalues, their weights times λᵏ (k = 0 to 3), (ι_0, β_0), and the columns."""

    psi_p: Any
    values: list[Any]
    powers: list[list[Any]]
    fixed: tuple[Any, Any]
    columns: tuple[Columns, ...]

    def state(self, u: list[Any]) -> State:
        """What follows from the unknowns."""
        q, *deltas = u
        many = [kind.many / (1 + delta) for kind, delta in zip(self.columns, deltas, strict=True)]
        low = self.fixed[1] + sum(n * kind.beta for n, kind in zip(many, self.columns, strict=True))
        high = sum(n * kind.gamma for n, kind in zip(many, self.columns, strict=True))
        low, high = self.psi_p * low * q, self.psi_p * high * q
        E = [1 / (1 + low + high * x) for x in self.values]
        return State(u, E, [_dot(self.powers[k], E) for k in range(3)])

    def response(
        self, one: State, two: State, z1: Any, z2: Any, source: Source = (0, 0, 0)
    ) -> Response:
        """The equations at two points, above the diagonal along each unknown and, last,
        along the source.
        """
        size = len(one.u) + 1
        unit = lambda i: tuple(int(i == k) for k in range(size))
        known = lambda x: Triangular(0, tuple(x * k for k in unit(size - 1)), 0)
        q, *deltas = (
            Triangular(a, unit(i), b) for i, (a, b) in enumerate(zip(one.u, two.u, strict=True))
        )
        D = [(1 + delta).inverse() for delta in deltas]
        iota = Triangular(self.fixed[0] - z1, (0,) * size, self.fixed[0] - z2) + known(source[0])
        low, high = self.fixed[1] + known(source[1]), known(source[2])
        for kind, d in zip(self.columns, D, strict=True):
            iota += d * (kind.many * kind.iota)
            low += d * (kind.many * kind.beta)
            high += d * (kind.many * kind.gamma)
        both = [a * b for a, b in zip(one.E, two.E, strict=True)]
        moments = [_dot(row, both) for row in self.powers]
        below = list(zip((low * q).above, (high * q).above, strict=True))  # E' = -E (1 + ψ_pTq)' E
        means = [
            Triangular(
                one.means[k],
                tuple(-self.psi_p * (a * moments[k] + b * moments[k + 1]) for a, b in below),
                two.means[k],
            )
            for k in range(3)
        ]
        first = q * (iota + means[0] * low + means[1] * high) - 1
        traces = [q * mean for mean in means]
        rest = [
            self.psi_p * (q * kind.iota + traces[0] * kind.beta + traces[1] * kind.gamma) - delta
            for kind, delta in zip(self.columns, deltas, strict=True)
        ]
        return Response([first, *rest], D, traces)

    def newton(self, u: list[Any], z: Any) -> tuple[list[Any], Any]:
        """One step, and its relative size."""
        here = self.state(u)
        off = self.response(here, here, z, z).off
        moved = solved([list(row.above[:-1]) for row in off], [row.first for row in off])
        tiny = 1e-30
        return [a - b for a, b in zip(u, moved, strict=True)], max(
            abs(b) / (abs(a) + tiny) for a, b in zip(u, moved, strict=True)
        )

    def slopes(self, u: list[mp.mpc], z: mp.mpc) -> list[mp.mpc]:
        """du/dz; z is in the first equation alone, as -qz."""
        here = self.state(u)
        off = self.response(here, here, z, z).off
        return solved([list(row.above[:-1]) for row in off], [u[0], *(0 * v for v in u[1:])])

    def moved(
        self, one: State, two: State, z1: mp.mpc, z2: mp.mpc, source: Source
    ) -> tuple[Response, list[Any]]:
        """The response, and the shares of its directions at which the equations hold with the
        source.
        """
        found = self.response(one, two, z1, z2, source)
        rows = [list(row.above[:-1]) for row in found.off]
        return found, [*solved(rows, [-row.above[-1] for row in found.off]), 1]


def _dot(a: list[Any], b: list[Any]) -> Any:
    return (
        sum(x * y for x, y in zip(a, b, strict=True))
        if isinstance(b[0], complex)
        else mp.fdot(a, b)
    )


def equations(
    model: RandomFeatureModel, digits: int, activation: Callable[..., Any] | None = None
) -> Equations:
    """The equations of a model with constants to `digits`."""
    return Equations(
        *ratios(model),
        constants(model, digits, activation),
        *atoms(model.covariance),
        mp.mpf(model.noise_draws),
    )


def from_numbers(c: Any) -> Equations:
    """The equations of numbers that are known already."""
    return Equations(
        c.psi_p, c.psi_n, Constants(None, None, c.kappa2, c.b2, c.v2, c.s2), c.values, c.weights
    )
