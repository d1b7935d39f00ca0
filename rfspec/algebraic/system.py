"""The equations of the multi-precision twin, with their two-point functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp

from ..models.model import RandomFeatureModel
from .averages import Constants, constants
from .numbers import atoms, ratios
from .triangular import Triangular, solved

Source = tuple[Any, Any, Any]  # ιI + βFFᵀ + γFΣFᵀ


class Columns(NamedTuple):
    """Columns of one kind: n_i = N_i/d of them, with covariance ι_iI + β_iFFᵀ + γ_iFΣFᵀ."""

    many: Any
    iota: Any
    beta: Any
    gamma: Any


class Equations(NamedTuple):
    """The numbers that the spectrum depends on; `draws` is m or ∞."""

    psi_p: mp.mpf
    psi_n: mp.mpf
    c: Constants
    values: list[mp.mpf]
    weights: list[mp.mpf]
    draws: mp.mpf = mp.inf

    def system(self, number: Callable[..., Any] = mp.mpf) -> System:
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
    """A solution at one z: (q, δ_i), E of each eigenvalue, and ∫ λᵏE for k = 0, 1, 2."""

    u: list[Any]
    E: list[Any]
    means: list[Any]


class Response(NamedTuple):
    """The equations at two points, in triangular matrices."""

    # left minus right sides, which vanish at a solution
    residuals: list[Triangular]
    # D_i
    D: list[Triangular]
    # Tr FΣᵏFᵀ(U - z)⁻¹/p for k = 0, 1, 2
    traces: list[Triangular]


class System(NamedTuple):
    """The equations in numbers of one type, with U split into a fixed part and columns."""

    psi_p: Any
    # the eigenvalues of Σ, and their weights times λᵏ for k = 0 to 3
    values: list[Any]
    powers: list[list[Any]]
    # (ι_0, β_0)
    fixed: tuple[Any, Any]
    columns: tuple[Columns, ...]

    def state(self, u: list[Any]) -> State:
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
        """The equations at two points; above the diagonal along each unknown, then the source."""
        size = len(one.u) + 1
        unit = lambda i: tuple(int(i == k) for k in range(size))
        of_source = lambda x: Triangular(0, tuple(x * k for k in unit(size - 1)), 0)
        q, *deltas = (
            Triangular(a, unit(i), b) for i, (a, b) in enumerate(zip(one.u, two.u, strict=True))
        )
        D = [(1 + delta).inverse() for delta in deltas]
        iota = Triangular(self.fixed[0] - z1, (0,) * size, self.fixed[0] - z2)
        iota += of_source(source[0])
        low, high = self.fixed[1] + of_source(source[1]), of_source(source[2])
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
        others = [
            self.psi_p * (q * kind.iota + traces[0] * kind.beta + traces[1] * kind.gamma) - delta
            for kind, delta in zip(self.columns, deltas, strict=True)
        ]
        return Response([first, *others], D, traces)

    def newton(self, u: list[Any], z: Any) -> tuple[list[Any], Any]:
        """The unknowns after one Newton step, and its relative size."""
        state = self.state(u)
        F = self.response(state, state, z, z).residuals
        step = solved([list(row.above[:-1]) for row in F], [row.first for row in F])
        tiny = 1e-30
        return [a - b for a, b in zip(u, step, strict=True)], max(
            abs(b) / (abs(a) + tiny) for a, b in zip(u, step, strict=True)
        )

    def slopes(self, u: list[mp.mpc], z: mp.mpc) -> list[mp.mpc]:
        """du/dz; z is in the first equation alone, as -qz."""
        state = self.state(u)
        F = self.response(state, state, z, z).residuals
        return solved([list(row.above[:-1]) for row in F], [u[0], *(0 * v for v in u[1:])])

    def response_to(
        self, source: Source, one: State, two: State, z1: mp.mpc, z2: mp.mpc
    ) -> tuple[Response, list[Any]]:
        """The response, and the combination of its directions that solves the equations.

        The last direction is the source, with the coefficient 1.
        """
        response = self.response(one, two, z1, z2, source)
        F = response.residuals
        rows = [list(row.above[:-1]) for row in F]
        return response, [*solved(rows, [-row.above[-1] for row in F]), 1]


def _dot(a: list[Any], b: list[Any]) -> Any:
    return (
        sum(x * y for x, y in zip(a, b, strict=True))
        if isinstance(b[0], complex)
        else mp.fdot(a, b)
    )


def equations(
    model: RandomFeatureModel, digits: int, activation: Callable[..., Any] | None = None
) -> Equations:
    """The equations of a model, with constants to `digits`."""
    model.check_plain("the algebraic twin", "d")
    return Equations(
        *ratios(model),
        constants(model, digits, activation),
        *atoms(model.covariance),
        mp.mpf(model.noise_draws),
    )


def from_numbers(c: Any) -> Equations:
    """The equations with all draws of the noise, of numbers that are known already."""
    return Equations(
        c.psi_p, c.psi_n, Constants(None, None, c.kappa2, c.b2, c.v2, c.s2), c.values, c.weights
    )
