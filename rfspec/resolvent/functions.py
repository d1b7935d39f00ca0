r"""The functions of x that features at finite d are made of, and what of them is noise and data.

In the eigenbasis of Σ, with A_a = α²λ_a + β² and ρ_a = α²λ_a/A_a, the product m of k directions is
a function of degree k. Of its variance R_m = Π ρ_a is fixed by x, and S_m has one factor of the
noise, ρ_a → 1 - ρ_a. Features have of it

    u_m = û_m Σ_l h̄_l² F_lk,   û_m = Π A'_a / H_k(A'),   A'_a = Ā_a/(1 + 2t_kĀ_a),
    data_m = û_m Σ_l h̄_l² F_lk R_mζⁱ,
    noise_m = û_m Σ_l h̄_l² F_lk (S_mζⁱ + iζ^{i-1}ζ'R_m)                                        (30)

with l = k, k + 2, ... and i = (l - k)/2: a power l of the overlap of two rows has a share F_lk in
the function of degree k. Rows are not equally long, which tilts Ā = A/Tr A by
t_k = -√((k+1)(k+2)) h_{k+2}/h_k, and ζ is the part of |w|² that data fix. Long rows have more of a
function that follows their length, and long samples, too: W_jm and P_cm are what class j of rows
and class c of samples have of m, relative to the mean. Beyond arXiv 2505.17638.
"""

from __future__ import annotations

from functools import partial
from math import factorial, prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..models.lengths import Lengths, effective_rank, many_lengths, two_lengths
from ..numerics.compiling import jit
from ..numerics.types import Matrix, Real, Vector, Wholes
from .products import Grid, Products, symmetric_powers


class Functions(NamedTuple):
    """Functions by nodes, degree 1 first, [m]; all but weights times d.

    `weights`: numbers of functions, over d. `data`, `noise`, `rest`: variance that x fixes, that
    has one factor of the noise, and the rest. `coupled`: k - xt_k times `data`, what couples the
    noise columns of a sample to that of its mean. `row`, `column`: how W and P follow the length,
    T_m - k and Y_m - k. `order`: k.
    """

    weights: Vector
    data: Vector
    noise: Vector
    rest: Vector
    coupled: Vector
    row: Vector
    column: Vector
    order: Wholes


class Linear(NamedTuple):
    """Of degree 1, [a]: d·û h̄_1²ρ, d·û h̄_1²β²/A, and κ = α²λ/β²."""

    signal: Vector
    explained: Vector
    kappa: Vector


class Tails(NamedTuple):
    """Degrees that are in no block, by class of rows: as in ``Functions``, [J].

    `columns`: what each class of samples has of them, relative to the mean, [C].
    """

    data: Vector
    noise: Vector
    rest: Vector
    coupled: Vector
    columns: Vector


class Data(NamedTuple):
    """Σ by eigenvalues and weights, d, α² and β²."""

    values: Vector
    weights: Vector
    d: Real
    alpha2: Real
    beta2: Real

    @property
    def A(self) -> Vector:
        return self.alpha2 * self.values + self.beta2

    @property
    def trace(self) -> Real:
        return jnp.sum(self.weights * self.values)

    @property
    def gamma2(self) -> Real:
        return self.alpha2 * self.trace + self.beta2

    @property
    def lengths(self) -> tuple[Lengths, Lengths]:
        """Of rows, and of samples."""
        of = lambda v: two_lengths(effective_rank(v, self.weights, self.d))
        return of(self.A), of(self.values)

    @property
    def squares(self) -> Vector:
        """γ² of the mean, of two classes of rows and of two classes of samples, [5]."""
        rows, samples = self.lengths
        of_samples = self.alpha2 * self.trace * samples.squares + self.beta2
        return jnp.concatenate([self.gamma2[None], self.gamma2 * rows.squares, of_samples])

    @property
    def many_squares(self) -> Vector:
        """γ² of many classes of rows."""
        rank = effective_rank(self.A, self.weights, self.d)
        return self.gamma2 * many_lengths(rank).squares


class Features(NamedTuple):
    """The coefficients of (31): functions of degree 1, of higher degrees, and tails.

    With q_j, D_c, D' and o, and J classes of rows and C of samples, q_m is q·`by_q` and T_m is
    (D, 2oD'D, D')·`slopes` + `rest`. 1/q_j has `on_rows` of T_m/(1 + ψ_pT_mq_m), `tails_on_rows` of
    (D, D') and `fixed`; δ, δ' and o have `on_others` of y_m and `tails_on_others` of q. `whole` is
    all variance of the functions, and `tails` that of the tails.
    """

    weights: Vector
    by_q: Matrix
    slopes: Matrix
    rest: Vector
    whole: Vector
    on_rows: Matrix
    on_others: Matrix
    tails_on_rows: Matrix
    tails_on_others: Matrix
    fixed: Vector
    tails: Vector
    linear: Linear
    # shares of the classes of rows; those of samples times P_c in degree 1, and its mean over x
    rows: Vector
    samples: Matrix
    of_signal: Vector
    # the mean of α²λ/β²
    kappa: Real


class Readout(NamedTuple):
    """What 1/q of many classes of rows is made of, as in ``Features``."""

    shares: Vector
    on_rows: Matrix
    tails_on_rows: Matrix
    fixed: Vector


@partial(jit, static_argnames=("orders", "grid"))
def features_of(
    data: Data,
    h: Matrix,
    of_rows: tuple[Vector, Vector],
    *,
    orders: tuple[int, ...],
    grid: Grid,
) -> Features:
    """The functions of degree 1 and of these orders, and tails.

    `h`: Hermite coefficients at ``Data.squares``. `of_rows`: v² and s² of each class of rows.
    """
    whole = _Whole.of(data, h, orders)
    first, f = _first_and_all(whole, grid)
    return _coefficients(whole, f, _linear(whole, first), _tails(whole, whole.of_rows, of_rows))


@partial(jit, static_argnames=("orders", "grid"))
def readout_of(
    data: Data,
    h: Matrix,
    of_rows: tuple[Vector, Vector],
    h_of_many: Matrix,
    *,
    orders: tuple[int, ...],
    grid: Grid,
) -> Readout:
    """The same for many classes of rows, with Hermite coefficients `h_of_many`.

    Their v² and s² differ from the sums over these coefficients as those of the two classes do.
    """
    whole = _Whole.of(data, h, orders)
    _, f = _first_and_all(whole, grid)
    many = many_lengths(whole.rank)
    squares = h_of_many**2
    place = jnp.log(many.squares / whole.rows.squares[0])
    place = jnp.clip(place / jnp.log(whole.rows.squares[1] / whole.rows.squares[0]), 0.0, 1.0)
    constants = []
    for exact, few, sums in zip(
        of_rows, _sums(whole, whole.of_rows), _sums(whole, squares), strict=True
    ):
        ratio = exact / jnp.where(few > 0, few, 1.0)
        constants.append(sums * (ratio[0] + place * (ratio[1] - ratio[0])))
    tails = _tails(whole, squares, (constants[0], constants[1]))
    rows = _relative(many, squares[:, f.order], f.row)
    return Readout(many.shares, f.weights[None] * rows, _of_tails_on_rows(whole, tails), tails.rest)


def _shares_of_x(whole: _Whole) -> Vector:
    # of the eigenvalues in Tr Σ
    of_each = whole.data.weights * whole.data.values
    return of_each / jnp.sum(of_each)


def _sums(whole: _Whole, squares: Matrix) -> tuple[Vector, Vector]:
    # v² and s² by the coefficients there are
    fixed = whole.x ** np.arange(whole.mean.size)
    return squares[:, 2:] @ fixed[2:], squares[:, 2:] @ (1.0 - fixed[2:])


def _first_and_all(whole: _Whole, grid: Grid) -> tuple[Products, Functions]:
    first = _first(whole)
    powers = symmetric_powers(first, max(whole.orders), grid)
    each = [_functions(whole, k, first if k == 1 else powers[k - 1]) for k in whole.orders]
    columns: list[Any] = list(zip(*each, strict=True))
    joined = [*map(jnp.concatenate, columns[:-1]), np.concatenate(columns[-1])]
    return first, Functions._make(joined)


def _of_tails_on_rows(whole: _Whole, tails: Tails) -> Matrix:
    by_class = whole.samples.shares * tails.columns
    return jnp.stack([*jnp.outer(by_class, tails.data), tails.noise], axis=1)


def _coefficients(whole: _Whole, f: Functions, linear: Linear, tails: Tails) -> Features:
    rows, samples = whole.rows.shares, whole.samples.shares
    of_rows = _relative(whole.rows, whole.of_rows[:, f.order], f.row)
    of_samples = _relative(whole.samples, _by_samples(whole)[:, f.order], f.column)
    by_class = samples[:, None] * of_samples
    signal = jnp.pad(linear.signal, (0, f.weights.size - linear.signal.size))
    kappa = jnp.sum(whole.data.weights * linear.kappa)
    others = [*(of_samples * f.data[None]), f.noise, f.coupled / kappa]
    of_tails = [*jnp.outer(tails.columns, tails.data), tails.noise, tails.coupled]
    return Features(
        weights=f.weights,
        by_q=rows[:, None] * of_rows,
        slopes=jnp.concatenate([f.data[None] * by_class, -signal[None] * by_class, f.noise[None]]),
        rest=f.rest,
        whole=f.data + f.noise + f.rest,
        on_rows=f.weights[None] * of_rows,
        on_others=f.weights[None] * jnp.stack(others),
        tails_on_rows=_of_tails_on_rows(whole, tails),
        tails_on_others=jnp.stack(of_tails) * rows[None],
        fixed=tails.rest,
        tails=tails.data + tails.noise + tails.rest,
        linear=linear,
        rows=rows,
        samples=by_class[:, : linear.signal.size],
        of_signal=by_class[:, : linear.signal.size] @ _shares_of_x(whole),
        kappa=kappa,
    )


class _Whole(NamedTuple):
    data: Data
    # h_k at Γ, and h_k² of classes of rows and of samples, [order] and [class, order]
    mean: Vector
    of_rows: Matrix
    of_samples: Matrix
    rows: Lengths
    samples: Lengths
    # t_k and x
    tilts: Vector
    x: Real
    orders: tuple[int, ...]

    @classmethod
    def of(cls, data: Data, h: Matrix, orders: tuple[int, ...]) -> _Whole:
        rows, samples = data.lengths
        x = data.alpha2 * data.trace / data.gamma2
        mean = h[0]
        k = np.arange(mean.size - 2)
        present = mean[:-2] != 0
        ratio = mean[2:] / jnp.where(present, mean[:-2], 1.0)
        tilts = jnp.where(present, -np.sqrt((k + 1.0) * (k + 2.0)) * ratio, 0.0)
        tilts = jnp.clip(tilts, 0.0, k)
        return cls(data, mean, h[1:3] ** 2, h[3:] ** 2, rows, samples, tilts, x, (1, *orders))

    @property
    def rank(self) -> Real:
        return effective_rank(self.data.A, self.data.weights, self.data.d)


def _first(whole: _Whole) -> Products:
    # the d directions, in units of the mean of λ and of each A'
    data = whole.data
    log = jnp.log(jnp.maximum(data.values / jnp.max(data.values), 1e-6))
    share = data.A / (data.d * data.gamma2)
    tilts = jnp.stack([whole.tilts[k] for k in whole.orders])
    tilted = share[None] / (1.0 + 2.0 * tilts[:, None] * share[None])
    tilted = tilted / (tilted @ data.weights)[:, None]
    rho = data.alpha2 * data.values / data.A
    value = data.values / data.trace
    of_samples = effective_rank(data.values, data.weights, data.d) * value / data.d
    return Products(
        data.d * data.weights,
        log,
        log,
        value,
        tilted,
        tilted * rho[None],
        tilted * (1.0 - rho)[None],
        whole.rank * share,
        of_samples,
    )


def _functions(whole: _Whole, k: int, power: Products) -> Functions:
    # (30)
    d, place = whole.data.d, whole.orders.index(k)
    total = jnp.sum(power.count * power.whole[place])
    u, c, s = (a[place] * (d / total) for a in (power.whole, power.data, power.noise))
    u, c, s = (jnp.maximum(a, 0.0) for a in (u, c, s))
    mean = whole.rows.shares @ whole.of_rows
    zeta, slope = _fixed(whole)
    shares = [(i, mean[k + 2 * i] * _share(k + 2 * i, k, whole.rank)) for i in _above(whole, k)]
    of_all = sum(f for _, f in shares)
    of_data = sum(f * zeta**i for i, f in shares)
    again = sum(f * i * zeta ** (i - 1) for i, f in shares if i)
    by_data, by_noise = of_data * c, of_data * s + again * slope * c
    present = jnp.where(of_all > 0, power.count / d, 0.0)
    return Functions(
        present,
        by_data,
        by_noise,
        jnp.maximum(of_all * u - by_data - by_noise, 0.0),
        (k - whole.x * whole.tilts[k]) * by_data,
        power.row - k,
        power.column - k,
        np.full(u.size, k),
    )


def _above(whole: _Whole, k: int) -> list[int]:
    return [(l - k) // 2 for l in whole.orders if l >= k and (l - k) % 2 == 0]  # noqa: E741


def _fixed(whole: _Whole) -> tuple[Real, Real]:
    # ζ and ζ', the parts of |w|² that are fixed by x, and that have one factor of the noise
    data = whole.data
    rho, square = data.alpha2 * data.values / data.A, data.weights * data.A**2
    square = square / jnp.sum(square)
    return jnp.sum(square * rho**2), jnp.sum(square * 2.0 * rho * (1.0 - rho))


def _share(power: int, degree: int, rank: Real) -> Real:
    # F of tᵏ in the Gegenbauer polynomial of degree l, on a sphere of `rank` dimensions
    j, nu = (power - degree) // 2, rank / 2.0 - 1.0
    above = prod([2.0 * nu + i for i in range(1, degree)])
    below = prod([nu + i for i in range(1, power - j + 1)])
    of_numbers = factorial(power) / (2.0 ** (power - 1) * factorial(j) * factorial(degree))
    return of_numbers * (nu + degree) * above / below


def _by_samples(whole: _Whole) -> Matrix:
    # h_k²x^k of each class of samples
    data, squares = whole.data, whole.samples.squares
    signal = data.alpha2 * data.trace * squares
    x = signal / (signal + data.beta2)
    return whole.of_samples * x[:, None] ** np.arange(whole.mean.size)[None]


def _relative(lengths: Lengths, squares: Matrix, power: Vector) -> Matrix:
    # what classes have of functions that follow a power of the length, relative to the mean
    some = lengths.shares @ squares > 0
    squares = jnp.where(some[None], squares, 1.0)
    each = squares * lengths.squares[:, None] ** power[None]
    return each / (lengths.shares @ each)[None]


def _linear(whole: _Whole, first: Products) -> Linear:
    data, mean = whole.data, whole.rows.shares @ whole.of_rows
    own = mean[1] * first.whole[0] / jnp.sum(data.weights * first.whole[0])
    rho = data.alpha2 * data.values / data.A
    kappa = data.alpha2 * data.values / data.beta2
    return Linear(own * rho, own * (1.0 - rho), kappa)


def _tails(whole: _Whole, squares: Matrix, of_rows: tuple[Vector, Vector]) -> Tails:
    # of classes of rows with these h_k²
    (v2, s2), x, k = of_rows, whole.x, np.arange(whole.mean.size)
    blocks = list(whole.orders[1:])
    in_tail = np.array([i > 1 and i not in blocks for i in k])
    fixed = x**k
    once = k * x ** np.maximum(k - 1, 0) * (1.0 - x)
    taken = squares[:, blocks]
    data = _left(v2, taken @ fixed[np.array(blocks, int)])
    others = _left(v2 + s2, jnp.sum(taken, axis=-1)) - data
    others = jnp.maximum(others, 0.0)
    each = squares * jnp.where(in_tail, once, 0.0)[None]
    noise = jnp.minimum(jnp.sum(each, axis=-1), others)
    of_length = 1.0 - x * jnp.pad(whole.tilts, (0, 2)) / np.maximum(k, 1)
    coupled = jnp.minimum(each @ of_length, noise)
    by_samples = _by_samples(whole) @ in_tail.astype(float)
    columns = _relative(whole.samples, by_samples[:, None], jnp.zeros(1))[:, 0]
    return Tails(data, noise, others - noise, coupled, columns)


def _left(whole: Vector, part: Vector) -> Vector:
    # nothing, if it is rounding
    left = whole - part
    return jnp.where(left > 1e-13 * whole, left, 0.0)
