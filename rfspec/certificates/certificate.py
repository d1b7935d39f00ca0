"""A certificate of a spectrum, a learning curve or a best training time.

It shows what was returned beside the same numbers from the ground truth, with the true errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from ..algebraic import numbers, regression
from ..models.model import RandomFeatureModel
from ..spectra.spectrum import Spectrum, spectrum
from ..training.early_stopping import EarlyStopping
from ..training.learning_curves import LearningCurve
from .of_losses import rows_of_curve, rows_of_stop
from .of_spectra import rows_with_all_draws, rows_with_finite_draws
from .rows import Row

DIGITS, DIGITS_OF_LOSSES = 40, 20


class Certificate(NamedTuple):
    """True errors beside the claimed ones.

    Attributes
    ----------
    model : RandomFeatureModel
        The model whose result was recomputed.
    rows : tuple of Row
        One for each number. Of a spectrum these are constants, edges, masses, train-loss drops and
        densities; of a curve both losses at each τ; of a best time the losses there and at the end,
        the time itself and the ends of its window.
    complete : bool
        Whether nothing is missing. A spectrum must have every bulk. A best time is compared with 40
        times from 0 to ∞ and the minima between them: none may be better, and none in its window
        worse than the window allows.
    digits : int
        Decimal digits of the truth.
    remark : str
        `complete` in words.
    """

    model: RandomFeatureModel
    rows: tuple[Row, ...]
    complete: bool
    digits: int
    remark: str

    @property
    def honest(self) -> bool:
        """Whether nothing is missing and every claimed error covers the true one."""
        return self.complete and all(row.honest for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row whose true error is largest beside the claimed one."""
        return max(
            self.rows,
            key=lambda r: r.error / r.claimed_error if r.claimed_error else float(r.error > 0),
        )

    def __repr__(self) -> str:
        lines = [f"{self.model!r}, checked to {self.digits} digits"]
        lines.append(f"{'':<22}{'value':>24}{'true error':>12}{'claimed':>10}")
        lines += [
            f"{r.name:<22}{r.value:24.16e}{r.error:12.1e}{r.claimed_error:10.1e}"
            f"{'' if r.honest else '  TOO SMALL'}"
            for r in self.rows
        ]
        lines.append(self.remark)
        return "\n".join(lines)


def certify(
    result: RandomFeatureModel | Spectrum | LearningCurve | EarlyStopping,
    digits: int | None = None,
    *,
    activation: Callable[[Any], Any] | None = None,
) -> Certificate:
    r"""Recompute a result in multi-precision arithmetic, for the true errors of its numbers.

    Of a spectrum, the constants (5) are recomputed by averages in mpmath, the edges as roots of the
    exact discriminant of (27), and the masses as the sums of ranks and weights that the signs of q
    and δ at those edges give. Train-loss drops are integrals between these edges, and densities at
    three points of each bulk come from the twin solver. With finitely many draws of the noise the
    edges are searched next to those found, and masses are counted on both sides of every gap. Of
    curves and best times, the losses (17) are the twin's contour integrals, and the times are where
    these are stationary. None of it shares code with the JAX core.

    Parameters
    ----------
    result : RandomFeatureModel, Spectrum, LearningCurve or EarlyStopping
        For a model, its spectrum is certified. With all draws of the noise the Σ of a spectrum must
        have at most ``rf.algebraic.MAX_ATOMS`` distinct eigenvalues. A curve must be the theory's,
        under gradient flow.
    digits : int, optional
        Decimal digits of the recomputation, 20 to 500; by default 40 for spectra and 20 for losses.
        Losses take a few seconds for each τ, and half a minute for a best time.
    activation : callable, optional
        σ for mpmath numbers, needed where it is a function of the user's.

    Returns
    -------
    Certificate
        ``.rows .honest .complete .worst .remark``. A row holds a value, its truth, and the true and
        the claimed error. Printing the certificate gives a table.

    Raises
    ------
    ValueError
        If digits is out of range, Σ has too many eigenvalues, σ is not known to mpmath, or a curve
        was not computed from a model or was trained in steps.
    ConvergenceError
        If ``rf.spectrum`` itself reports a failure.
    ArithmeticError
        If two edges agree to more digits than the truth has.

    Notes
    -----
    Sections 11 and 13 of docs/theory.md; beyond arXiv 2505.17638.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(64.0, 8.0, t=0.01)
    >>> rf.certify(model).honest
    True
    >>> rf.certify(rf.learning_curve(model, [10.0])).honest
    True
    """
    losses = isinstance(result, LearningCurve | EarlyStopping)
    digits = (
        (DIGITS_OF_LOSSES if losses else DIGITS) if digits is None else numbers.check_digits(digits)
    )
    if digits < 20:
        raise ValueError(f"digits must be at least 20 to check doubles, got {digits}")
    if isinstance(result, LearningCurve | EarlyStopping):
        model = result.model
        if model is None or (isinstance(result, LearningCurve) and result.step is not None):
            raise ValueError("a curve must be the theory's, under gradient flow, to be certified")
        with mp.workdps(digits + numbers.GUARD):
            problem = regression.regression(model, digits + numbers.GUARD, activation)
            if isinstance(result, LearningCurve):
                return Certificate(
                    model,
                    tuple(rows_of_curve(result, problem, digits)),
                    True,
                    digits,
                    "both losses at every time",
                )
            rows, missing = rows_of_stop(result, problem, digits)
        return Certificate(
            model, tuple(rows), not missing, digits, missing or "no time is better than the best"
        )
    model = result.model if isinstance(result, Spectrum) else result
    sp = result if isinstance(result, Spectrum) else spectrum(result)
    rows_of = rows_with_finite_draws if np.isfinite(model.noise_draws) else rows_with_all_draws
    rows, complete = rows_of(sp, digits, activation)
    remark = "every bulk was found" if complete else "THE NUMBER OF BULKS IS WRONG"
    return Certificate(sp.model, tuple(rows), complete, digits, remark)
