"""The answer of a prediction from data: numbers, steps, words."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

import numpy as np

from ..files.tables import aligned, in_brief
from ..models.from_data import FromData
from ..models.model import RandomFeatureModel
from ..numerics.types import Given
from ..training.early_stopping import EarlyStopping
from ..training.scaling import Required
from ..training.timescales import RULES, Timescales
from .steps import Steps, steps_of
from .verdict import Verdict

# training times worth looking at, in units of the best one
AROUND = np.geomspace(1e-2, 1e4, 25)


class Sigma(NamedTuple):
    """Eigenvalues of a covariance in six numbers, in the unit of the data squared.

    Attributes
    ----------
    trace : float
        Tr Σ/d.
    largest, smallest : float
        Largest eigenvalue, and smallest of those above 0.
    rank : int
        How many are above 0.
    condition : float
        largest/smallest, a pure number.
    effective_rank : float
        (Tr Σ)²/Tr Σ², a pure number between 1 and d.
    """

    trace: float
    largest: float
    smallest: float
    rank: int
    condition: float
    effective_rank: float

    def __repr__(self) -> str:
        return in_brief(self)


class Prediction(NamedTuple):
    """Answer of ``predict``.

    Attributes
    ----------
    model : RandomFeatureModel
        With ψ_n = n/d and the covariance of the data, as compressed; with the data's d where
        Hermite degrees are followed.
    n, d : int
        Samples and dimensions.
    sigma : Sigma
        All eigenvalues of the covariance, before compression.
    times : dict of Timescales
        By rule; what a rule does not give is missing, and `reasons` says why.
    stop : EarlyStopping
        Best time, losses and window.
    wider : Required or None
        The ψ_n at which the window is `factor` times wider.
    factor : float
        How many times wider that window is.
    reasons : dict of str
        Why a rule of `times`, or "wider", has no answer; of "d", why it is the limit.
    verdict : Verdict
        How far all of it is to be believed.
    """

    model: RandomFeatureModel
    n: int
    d: int
    sigma: Sigma
    times: dict[str, Timescales]
    stop: EarlyStopping
    wider: Required | None
    factor: float
    reasons: dict[str, str]
    verdict: Verdict

    def __repr__(self) -> str:
        return "\n".join([*self.lines(), self.verdict.text])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    @property
    def theory(self) -> str:
        """Which theory predicts: Hermite degrees at the data's d, or the limit and why."""
        if self.model.d is not None:
            return f"d = {self.model.d}, Hermite degrees 1 to {self.model.degree}"
        reason = self.reasons.get("d", "")
        return "the limit d -> inf" + (f", since {reason}" if reason else "")

    @property
    def more(self) -> int | None:
        """Samples that the wider window needs beyond the n there are; below 0 where fewer do."""
        if self.wider is None:
            return None
        return int(np.ceil(self.wider.value * self.d - 1e-6)) - self.n

    @property
    def tau(self) -> np.ndarray:
        """Training times worth looking at: six decades about the best one, or about the paper's
        τ_gen where there is none.
        """
        center = float(self.stop.tau)
        return AROUND * (center if 0 < center < np.inf else float(self.times["paper"].tau_gen))

    def steps(
        self,
        learning_rate: Given,
        optimizer: str = "gd",
        *,
        momentum: Given = 0.9,
        batch_size: int | None = None,
        convention: str = "theory",
    ) -> Steps:
        r"""The best time and its window in steps and epochs of an optimizer.

        k = τd²(1 - μ)/η steps, since τ = kη/d² and momentum lengthens each step by 1/(1 - μ).

        Parameters
        ----------
        learning_rate : float
            η > 0, step size on A, kept constant and small enough to be stable.
        optimizer : {"gd", "momentum", "nesterov", "sgd"}
            Gradient descent, heavy ball, Nesterov's method, or gradient descent on batches.
        momentum : float
            μ in [0, 1), of "momentum" and "nesterov".
        batch_size : int, optional
            Samples B in a step, from 1 to n; an epoch is n/B steps. By default all n.
        convention : {"theory", "script"}
            As for ``rf.clock``: whose η it is.

        Returns
        -------
        Steps
            ``.best .lower .upper .per_epoch .epochs .text``; the numbers are not rounded.

        Raises
        ------
        ValueError
            If an argument is out of range, η is not stable (the message names the limit), or the
            optimizer is Adam, which has no clock.

        Notes
        -----
        The times are those of gradient flow, from which steps deviate where few of them are taken.
        The noise of batches is not counted.

        Examples
        --------
        >>> import numpy as np, rfspec as rf
        >>> X = np.random.default_rng(0).normal(size=(80, 10)) * np.linspace(0.5, 1.5, 10)
        >>> found = rf.predict(X, psi_p=16.0, t=0.05, nodes=4, d=None)
        >>> print(found.steps(10.0, batch_size=20).text)
        stop after 820 steps = 205 epochs (between 361 and 2,812)
        """
        by_edges = self.times.get("spectrum")
        sp = None if by_edges is None else by_edges.spectrum
        how = (learning_rate, optimizer, momentum, batch_size, convention)
        return steps_of(self.stop, self.d, self.n, sp, *how)

    def lines(self) -> Iterator[str]:
        """The prediction without its verdict, line by line."""
        yield repr(self.model)
        yield f"theory               {self.theory}"
        yield from self._lines_of_data()
        yield from self._lines_of_times()
        yield from lines_of_stop(self.stop)
        wide = f"window {self.factor:g} times wider"
        if self.wider is None or self.more is None:
            yield f"{wide} none: {self.reasons['wider']}"
        else:
            more = self.more
            count = f"{more} more samples" if more > 0 else f"{-more} samples fewer"
            yield f"{wide} with {count}, psi_n = {self.wider.value:.6g}"

    def _lines_of_data(self) -> Iterator[str]:
        sigma, covariance = self.sigma, self.model.covariance
        assert isinstance(covariance, FromData)
        ratio = float(self.model.psi_n)
        yield f"data                 n = {self.n}, d = {self.d}, psi_n = {ratio:.6g}"
        yield (
            f"covariance           trace/d {sigma.trace:.6g}, rank {sigma.rank}, "
            f"effective rank {sigma.effective_rank:.4g}"
        )
        yield (
            f"{'':21}eigenvalues {sigma.smallest:.4g} to {sigma.largest:.4g}, "
            f"condition {sigma.condition:.4g}"
        )
        if covariance.shrinkage > 0:
            yield f"{'':21}shrinkage {float(covariance.shrinkage):.4g}"
        if covariance.compression_error > 0:
            off = float(covariance.compression_error)
            text = f"their distribution is off by {off:.1e} of the trace"
            yield f"{'':21}compressed to {len(covariance.values)} eigenvalues, {text}"

    def _lines_of_times(self) -> Iterator[str]:
        times = {
            name: [getattr(self.times.get(rule), name, np.nan) for rule in RULES]
            for name in ("tau_gen", "tau_mem")
        }
        reasons = [self.reasons.get(rule, "") for rule in RULES]
        yield from aligned({"rule": list(RULES), **times, "reason": reasons})


def lines_of_stop(stop: EarlyStopping) -> Iterator[str]:
    """The best training time and what is known of it, line by line."""
    off = float(stop.errors()["tau"])
    lower, upper = map(float, stop.window)
    within = f"test loss within {float(stop.tolerance):g} of its minimum"
    yield f"best training time   tau = {float(stop.tau):.8g} ± {off:.1e} (k eta/d^2)"
    yield f"losses there         test {float(stop.test):.8f}, train {float(stop.train):.8f}"
    yield f"score error there    {float(stop.score_error):.8g}"
    yield f"safe window          [{lower:.6g}, {upper:.6g}], {within}"
    yield "; ".join([f"test loss at the end {float(stop.test_limit):.8f}", *stop.notes()])
