r"""How far a prediction from data is to be believed, in numbers and in words.

The theory takes data for Gaussian. Data of effective rank r = (Tr Σ)²/Tr Σ² have about r^k/k!
functions of Hermite degree k. Where n and p are larger, that degree is learnt. In the limit d → ∞
all of σ beyond its linear part is noise that no sample tells apart, and late losses end lower than
predicted. At the data's own d the theory follows these degrees, and what is left is what in them
is not Gaussian.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import numpy as np

from ..files.tables import in_brief
from ..models.from_data import centring
from ..models.lengths import warning_of_few_dimensions
from ..models.model import RandomFeatureModel
from ..numerics.types import Given, Matrix
from .data_moments import ORDERS, moments, shares_of
from .foretold import FORETOLD

# a degree that holds less of the features' variance changes no loss by a per cent
SLIGHT, SMALL = 1e-3, 0.02
# from this share of its functions on a degree begins to be learnt
BEGINS = 0.1
# excess kurtosis that leaves the losses as they are, and one that changes even early ones
NEARLY_GAUSSIAN, HEAVY = 0.1, 5.0
# relative differences below this are called right, and rough above it
RIGHT, ROUGH = 0.02, 0.1


class Degree(NamedTuple):
    """A Hermite degree of the activation, which the limit d → ∞ takes for noise.

    Attributes
    ----------
    order : int
        k.
    functions : float
        r^k/k!, how many functions of the data have this degree.
    share : float
        What of the features' variance they are.
    learnt : float
        min(n, p)/functions: above 1 the data determine them.
    """

    order: int
    functions: float
    share: float
    learnt: float

    def __repr__(self) -> str:
        return in_brief(self)


class Difference(NamedTuple):
    """A predicted number less the measured one.

    Attributes
    ----------
    value, value_error : float
        The mean over the draws, and its standard error.
    relative : float
        In units of the measured number.
    """

    value: float
    value_error: float
    relative: float

    def __repr__(self) -> str:
        return in_brief(self)

    @property
    def standard_errors(self) -> float:
        """How many standard errors the difference is away from 0."""
        return self.value / self.value_error


class Check(NamedTuple):
    """How far a prediction was from what a held-out part of the data measures.

    Attributes
    ----------
    repeats : int
        Splits, and draws of the features.
    later, later_error : float
        Measured best time over the predicted one, its geometric mean over the draws; the standard
        error of its logarithm. NaN where one of them is 0 or ∞.
    inside : float
        Share of the draws whose measured best time lies in the predicted window.
    price, price_error : float
        By how much the test loss at the predicted best time exceeds the measured minimum.
    early, best, late : Difference
        Test losses where half of what is to be learnt is learnt, at the predicted best time, and at
        the last training time.
    train : Difference
        Train losses at the last training time.
    """

    repeats: int
    later: float
    later_error: float
    inside: float
    price: float
    price_error: float
    early: Difference
    best: Difference
    late: Difference
    train: Difference

    def __repr__(self) -> str:
        return in_brief(self)


class Verdict(NamedTuple):
    """How far a prediction from data is to be believed.

    Attributes
    ----------
    n, p, d : int
        Samples, features and dimensions.
    effective_rank, effective_rank_error : float
        r = (Tr Σ)²/Tr Σ² with the sampling noise of n rows taken out; its standard error.
    degrees : tuple of Degree
        Degrees 2 and 3 of the activation.
    kurtosis, kurtosis_error : float
        Mean excess kurtosis of random projections of the data, 3 E|x|⁴/((Tr Σ)² + 2 Tr Σ²) - 3,
        which the norms alone determine and which is 0 for Gaussian data; its standard error.
    constant_columns : int
        Columns of the data that do not vary.
    check : Check or None
        What was measured; None where nothing was.
    followed : int
        Highest Hermite degree that the prediction follows; 1 in the limit d → ∞.
    """

    n: int
    p: int
    d: int
    effective_rank: float
    effective_rank_error: float
    degrees: tuple[Degree, ...]
    kurtosis: float
    kurtosis_error: float
    constant_columns: int
    check: Check | None = None
    followed: int = 1

    def __repr__(self) -> str:
        return self.text

    @property
    def late(self) -> str:
        """Whether late losses are "right", "roughly right" or "off", by what is known of the data
        alone.
        """
        foreseen = lambda d: d.order <= self.followed and self.nearly_gaussian
        unforeseen = [d for d in self._seen if not foreseen(d)]
        if self.heavy or self.narrow or any(d.share > SMALL and d.learnt > 1 for d in unforeseen):
            return "off"
        return "roughly right" if unforeseen or not self.nearly_gaussian else "right"

    @property
    def narrow(self) -> bool:
        """Whether degrees are followed in so few dimensions, from so few samples, that even the
        theory at finite d is not to be relied on.
        """
        few = warning_of_few_dimensions(self.p / (self.n * self.d), self.effective_rank)
        return self.followed > 1 and few is not None and bool(self._seen)

    @property
    def _seen(self) -> list[Degree]:
        return [d for d in self.degrees if d.share > SLIGHT and d.learnt > BEGINS]

    @property
    def heavy(self) -> bool:
        """Whether the norms vary so much that even early losses are not those of Gaussian data."""
        return self.kurtosis > HEAVY

    @property
    def nearly_gaussian(self) -> bool:
        """Whether the kurtosis is that of Gaussian data, within its error or nearly."""
        return bool(
            abs(self.kurtosis) <= max(NEARLY_GAUSSIAN, 2 * np.nan_to_num(self.kurtosis_error))
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each number, and what follows for early losses, best time and late
        losses.
        """
        return (
            self._of_rank(),
            *(self._of_degree(degree) for degree in self.degrees),
            self._of_kurtosis(),
            self._of_columns(),
            *(self._without_check() if self.check is None else self._of_check(self.check)),
        )

    @property
    def text(self) -> str:
        """The sentences as lines under a heading."""
        return "\n".join(["how far to believe it", *(f"- {s}" for s in self.sentences)])

    def _of_rank(self) -> str:
        known = _with_error(self.effective_rank, self.effective_rank_error)
        return (
            f"effective rank r = {known} of {self.d} columns, from n = {self.n} samples; "
            f"p = {self.p} features"
        )

    def _of_degree(self, degree: Degree) -> str:
        formula = {2: "r²/2", 3: "r³/6"}[degree.order]
        text = f"degree {degree.order} of the activation, {formula} = {degree.functions:.3g}"
        if degree.share <= SLIGHT:
            return f"{text} functions: none of the features' variance to speak of"
        text += f" functions, {degree.share:.1%} of the features' variance: "
        followed = degree.order <= self.followed
        if degree.learnt <= BEGINS:
            right = "it is as good as noise"
            right = right if followed else "the theory is right to take it for noise"
            return text + f"n or p is far below that, and {right}"
        foreseen = "as the theory follows for Gaussian data" if followed else "unforeseen"
        if degree.learnt <= 1:
            return text + f"n or p is not far below that, and it begins to be learnt, {foreseen}"
        foreseen += "" if followed else " by the theory"
        return text + f"n and p exceed that, and it is learnt too, {foreseen}"

    def _of_kurtosis(self) -> str:
        known = _with_error(self.kurtosis, self.kurtosis_error)
        text = f"excess kurtosis of random projections {known}: "
        if self.nearly_gaussian:
            return text + "the norms vary as those of Gaussian data do"
        more = "more" if self.kurtosis > 0 else "less"
        return text + f"the norms vary {more} than those of Gaussian data, which the theory ignores"

    def _of_columns(self) -> str:
        count = self.constant_columns
        if not count:
            return "no column is constant"
        return (
            f"{count} of {self.d} columns {'is' if count == 1 else 'are'} constant: they count in "
            "d, psi_p and psi_n, and hold nothing to learn but the noise; drop them if the network "
            "does not see them"
        )

    def _without_check(self) -> tuple[str, ...]:
        early, best, late = FORETOLD[self._kind]
        return (
            f"early losses, while train and test loss agree: {early}",
            f"best time: {best}; where the loss is flat, anywhere in its window",
            f"late losses: {late}",
            "not checked: structure that no fourth moment shows is seen by a held-out part alone",
        )

    @property
    def _kind(self) -> str:
        # a key of FORETOLD
        if self.heavy:
            return "heavy"
        if self.narrow:
            return "narrow"
        return f"{self.late}, {'followed' if self.followed > 1 else 'limit'}"

    def _of_check(self, check: Check) -> tuple[str, ...]:
        draws = f"{check.repeats} split{'s' if check.repeats > 1 else ''} and draws of the features"
        return (
            f"checked on {draws}; differences are predicted less measured",
            f"early losses: {_in_words(check.early)}",
            f"test loss at the predicted best time: {_in_words(check.best)}",
            f"best time: {_time_in_words(check)}",
            "stopped at the predicted time the test loss is above its minimum by "
            f"{_with_error(check.price, check.price_error)}",
            f"late test loss: {_in_words(check.late)}",
            f"late train loss: {_in_words(check.train)}",
        )


def verdict_on(X: Matrix, model: RandomFeatureModel) -> Verdict:
    """What the data alone say of how far the prediction of the model is to be believed."""
    n, d = X.shape
    r, r_error, kurtosis, kurtosis_error = moments(centring(X, 1.0)(X))
    p = round(float(model.psi_p) * d)
    degrees = tuple(
        Degree(k, r**k / factorial(k), share, min(n, p) * factorial(k) / r**k)
        for k, share in zip(ORDERS, shares_of(model), strict=True)
    )
    constant = int(np.sum(np.all(X[:1] == X, axis=0)))
    followed = 1 if model.d is None else model.degree
    known = (n, p, d, r, r_error, degrees, kurtosis, kurtosis_error, constant)
    return Verdict(*known, followed=followed)


def difference(predicted: Given, measured: Given) -> Difference:
    """Of numbers that are one for each draw."""
    each = np.asarray(predicted, float) - np.asarray(measured, float)
    value, error = mean_and_error(each)
    return Difference(value, error, value / float(np.mean(measured)))


def mean_and_error(each: Given) -> tuple[float, float]:
    """The mean over draws and its standard error, NaN for a single draw."""
    each = np.asarray(each, float)
    few = len(each) < 2 or not np.all(np.isfinite(each))
    return float(np.mean(each)), np.nan if few else float(each.std(ddof=1) / np.sqrt(len(each)))


def _with_error(value: float, error: float) -> str:
    return f"{value:.3g}" if np.isnan(error) else f"{value:.3g} ± {error:.1g}"


def _in_words(off: Difference) -> str:
    size = abs(off.relative)
    word = "right" if size <= RIGHT else "roughly right" if size <= ROUGH else "off"
    text = f"{word}, difference {_with_error(off.value, off.value_error)} ({off.relative:+.1%}"
    if np.isfinite(off.value_error) and off.value_error > 0:
        text += f", {abs(off.standard_errors):.1f} standard errors"
    return text + ")"


def _time_in_words(check: Check) -> str:
    inside = f"{check.inside:.0%} of the measured ones lie in the predicted window"
    if np.isnan(check.later):
        return f"0 or without end for one of both; {inside}"
    word = "right" if check.inside == 1 else "on the safe side" if check.later > 1 else "too late"
    later = _with_error(check.later, check.later * check.later_error)
    return f"{word}, measured at {later} times the predicted one; {inside}"
