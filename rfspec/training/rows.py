"""What is measured along training, at times that share the nodes of their contours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..numerics.checks import concrete, namespace, on_host
from ..numerics.programs import program
from ..numerics.types import Matrix, Truths, Vector, Wholes
from .contour import COARSE, FEWER, Contour

# rows of training times in one call: one compiled size serves any number of them
AT_ONCE = 4


class Checked(NamedTuple):
    """A contour `fine`, and two that judge it.

    `other` errs by more than `fine` does. `coarse` tells the conditions |∂L/∂p · p| of the numbers
    p in the equations.
    """

    fine: Any
    other: Any
    coarse: Any


def with_checks(contour: Callable[[int], Contour], count: int) -> Checked:
    return Checked(*(contour(n) for n in (count, count - FEWER, COARSE)))


class Measure(NamedTuple):
    """Numbers of equations and contours, and the same at the end of training.

    along(eq, contours) gives arrays [time, ...] from contours with weights [time, node], and
    at_end(eq) gives them without the time. `eq` may be any tree that holds equations.
    """

    along: Callable[[Any, Checked], tuple[Any, ...]]
    at_end: Callable[[Any], tuple[Any, ...]]

    def at_one_time(self, eq: Any, paths: Checked) -> tuple[Any, ...]:
        """The same from contours with weights [node]."""
        one = Checked(*(path.at_one_time for path in paths))
        return tuple(a[0] for a in self.along(eq, one))


class Rows(NamedTuple):
    """Arguments of a contour for many times, [row, time]; the times of a row share their nodes.

    `place`: where each time is among all entries of the rows.
    """

    arguments: tuple[Matrix, ...]
    place: Wholes


def measured_along(
    measure: Measure,
    eq: Any,
    contour: Callable[..., Contour],
    rows: Rows,
    ended: Truths,
    count: int,
) -> tuple[Any, ...]:
    """The measure at each time, and at the end of training where `ended`."""
    on_rows = partial(_measured_on_rows, eq, contour, count=count, along=measure.along)
    if concrete(eq, rows.arguments):
        size = rows.arguments[0].shape[0]
        parts = [np.pad(a, ((0, -size % AT_ONCE), (0, 0)), mode="edge") for a in rows.arguments]
        each = [on_rows(tuple(a[i : i + AT_ONCE] for a in parts)) for i in range(0, size, AT_ONCE)]
        columns = [np.concatenate([on_host(a) for a in c]) for c in zip(*each, strict=True)]
    else:
        columns = _row_by_row(eq, contour, rows.arguments, count=count, along=measure.along)
    at_times = tuple(a.reshape(-1, *a.shape[2:])[rows.place] for a in columns)
    if concrete(ended) and not np.any(ended):
        return at_times
    choose = lambda last, a: namespace(last, a, ended).where(
        ended.reshape(-1, *[1] * (a.ndim - 1)), last, a
    )
    at_end = measure.at_end(eq)
    return tuple(choose(on_host(last), a) for last, a in zip(at_end, at_times, strict=True))


@partial(jax.jit, static_argnames=("contour", "count", "along"))
def _row_by_row(
    eq: Any,
    contour: Callable[..., Contour],
    rows: tuple[Matrix, ...],
    *,
    count: int,
    along: Callable[..., Any],
) -> tuple[Any, ...]:
    of_row = jax.checkpoint(partial(_measured_on_row, eq, contour, count, along))
    return jax.lax.map(of_row, rows)


@partial(program, static_argnames=("contour", "count", "along"))
def _measured_on_rows(
    eq: Any,
    contour: Callable[..., Contour],
    rows: tuple[Matrix, ...],
    *,
    count: int,
    along: Callable[..., Any],
) -> tuple[Any, ...]:
    return jax.vmap(partial(_measured_on_row, eq, contour, count, along))(rows)


def _measured_on_row(
    eq: Any,
    contour: Callable[..., Contour],
    count: int,
    along: Callable[..., Any],
    row: tuple[Vector, ...],
) -> tuple[Any, ...]:
    def path(count: int) -> Contour:
        each = jax.vmap(lambda *a: contour(*a, count))(*row)
        return each._replace(nodes=each.nodes[0], apart=each.apart[0])

    return along(eq, with_checks(path, count))
