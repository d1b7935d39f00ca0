r"""The coefficients of the equations at finite d, from the functions that features are made of.

They are those of (31) of docs/theory.md for two classes of rows and two of samples. Losses need no
more. Spectra show that rows have all lengths; for them there are many classes of rows, which see
what the two classes tell.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..models.lengths import many_lengths
from ..numerics.compiling import jit
from ..numerics.types import Matrix, Real, Vector
from .functions import (
    Data,
    Expansion,
    Functions,
    by_samples,
    directions_and_functions,
    relative,
)
from .products import Grid, Products


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
    h_of_many: Matrix | None,
    *,
    orders: tuple[int, ...],
    grid: Grid,
) -> tuple[Features, Readout | None]:
    """The functions of degree 1 and of these orders, and tails; and the same for many rows.

    `h`, `h_of_many`: Hermite coefficients at ``Data.squares`` and ``Data.many_squares``. `of_rows`:
    v² and s² of each class of rows.
    """
    expansion = Expansion.of(data, h, orders)
    first, f = directions_and_functions(expansion, grid)
    tails = _tails(expansion, expansion.of_rows, of_rows)
    features = _coefficients(expansion, f, _linear(expansion, first), tails)
    return features, None if h_of_many is None else _readout(expansion, f, of_rows, h_of_many**2)


def _readout(
    expansion: Expansion, f: Functions, of_rows: tuple[Vector, Vector], squares: Matrix
) -> Readout:
    many, (low, high) = many_lengths(expansion.rank), expansion.rows.squares
    # v² and s² differ from the sums over these coefficients as those of the two classes do
    place = jnp.clip(jnp.log(many.squares / low) / jnp.log(high / low), 0.0, 1.0)
    constants = []
    for exact, few, sums in zip(
        of_rows, _sums(expansion, expansion.of_rows), _sums(expansion, squares), strict=True
    ):
        ratio = exact / jnp.where(few > 0, few, 1.0)
        constants.append(sums * (ratio[0] + place * (ratio[1] - ratio[0])))
    tails = _tails(expansion, squares, (constants[0], constants[1]))
    rows = relative(many, squares[:, f.order], f.row)
    return Readout(
        many.shares, f.weights[None] * rows, _of_tails_on_rows(expansion, tails), tails.rest
    )


def _shares_of_x(expansion: Expansion) -> Vector:
    # of the eigenvalues in Tr Σ
    of_each = expansion.data.weights * expansion.data.values
    return of_each / jnp.sum(of_each)


def _sums(expansion: Expansion, squares: Matrix) -> tuple[Vector, Vector]:
    # v² and s² by the coefficients there are
    fixed = expansion.x ** np.arange(expansion.mean.size)
    return squares[:, 2:] @ fixed[2:], squares[:, 2:] @ (1.0 - fixed[2:])


def _coefficients(expansion: Expansion, f: Functions, linear: Linear, tails: Tails) -> Features:
    rows, samples = expansion.rows.shares, expansion.samples.shares
    of_rows = relative(expansion.rows, expansion.of_rows[:, f.order], f.row)
    of_samples = relative(expansion.samples, by_samples(expansion)[:, f.order], f.column)
    by_class = samples[:, None] * of_samples
    signal = jnp.pad(linear.signal, (0, f.weights.size - linear.signal.size))
    kappa = jnp.sum(expansion.data.weights * linear.kappa)
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
        tails_on_rows=_of_tails_on_rows(expansion, tails),
        tails_on_others=jnp.stack(of_tails) * rows[None],
        fixed=tails.rest,
        tails=tails.data + tails.noise + tails.rest,
        linear=linear,
        rows=rows,
        samples=by_class[:, : linear.signal.size],
        of_signal=by_class[:, : linear.signal.size] @ _shares_of_x(expansion),
        kappa=kappa,
    )


def _of_tails_on_rows(expansion: Expansion, tails: Tails) -> Matrix:
    by_class = expansion.samples.shares * tails.columns
    return jnp.stack([*jnp.outer(by_class, tails.data), tails.noise], axis=1)


def _linear(expansion: Expansion, first: Products) -> Linear:
    data, mean = expansion.data, expansion.rows.shares @ expansion.of_rows
    own = mean[1] * first.whole[0] / jnp.sum(data.weights * first.whole[0])
    rho = data.alpha2 * data.values / data.A
    kappa = data.alpha2 * data.values / data.beta2
    return Linear(own * rho, own * (1.0 - rho), kappa)


def _tails(expansion: Expansion, squares: Matrix, of_rows: tuple[Vector, Vector]) -> Tails:
    # of classes of rows with these h_k²
    (v2, s2), x, k = of_rows, expansion.x, np.arange(expansion.mean.size)
    blocks = list(expansion.orders[1:])
    in_tail = np.array([i > 1 and i not in blocks for i in k])
    fixed = x**k
    once = k * x ** np.maximum(k - 1, 0) * (1.0 - x)
    taken = squares[:, blocks]
    data = _left(v2, taken @ fixed[np.array(blocks, int)])
    others = _left(v2 + s2, jnp.sum(taken, axis=-1)) - data
    others = jnp.maximum(others, 0.0)
    each = squares * jnp.where(in_tail, once, 0.0)[None]
    noise = jnp.minimum(jnp.sum(each, axis=-1), others)
    of_length = 1.0 - x * jnp.pad(expansion.tilts, (0, 2)) / np.maximum(k, 1)
    coupled = jnp.minimum(each @ of_length, noise)
    of_samples = by_samples(expansion) @ in_tail.astype(float)
    columns = relative(expansion.samples, of_samples[:, None], jnp.zeros(1))[:, 0]
    return Tails(data, noise, others - noise, coupled, columns)


def _left(whole: Vector, part: Vector) -> Vector:
    # nothing, if it is rounding
    left = whole - part
    return jnp.where(left > 1e-13 * whole, left, 0.0)
