r"""Losses along training: one result for theory and experiment, and the theory's exact curves.

L_train is (1), L_test the same over fresh x, and E_score = (1/d) E ||s_A(x_t) - ∇log P_t(x_t)||².
For Gaussian data and the target "noise" L_test = β²E_score + 1 - β² Tr Σ_t⁻¹/d. The losses are (17)
with h(U) as a sum of resolvents (``rfspec.training.contour``), so that nothing is trained. Beyond
arXiv 2505.17638, whose curves are simulations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..files.tables import LOSS, Table, in_brief
from ..models.classes import refuse_one_class
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import (
    as_float,
    concrete,
    namespace,
    on_device,
    on_host,
    real_scalar,
)
from ..numerics.types import Given, Real, Reals, Vector
from ..resolvent.column_equations import ColumnEquations
from ..resolvent.equations import averaged_equations
from ..resolvent.finite_draws import NoiseDrawsEquations
from ..resolvent.fresh_noise import FreshNoiseEquations
from ..resolvent.solver import ConvergenceError
from ..spectra.spectrum import spectrum as spectrum_with_edges
from .arguments import checked_momentum, checked_tolerance, training_times
from .class_losses import losses_of_classes
from .contour import FINEST, nodes_for
from .drops import PER_PIECE, modes_of
from .exact_score import score_error, score_unit
from .methods import method_of
from .score_parts import SCORE_PARTS, Learnable, ScoreParts
from .stability import checked_stability

TOLERANCE = 1e-11
_CLASSES = lambda curve: (curve.class_train, curve.class_test)


class StandardErrors(NamedTuple):
    """Standard errors of means over independent draws.

    Attributes
    ----------
    train, test, score_error : float
        Of L_train, L_test and E_score, arrays of τ's shape.
    class_train, class_test : float or None
        Of the losses of each class, of shape (classes, ...τ); None where the data have no classes.
    """

    train: Vector
    test: Vector
    score_error: Vector
    class_train: Reals | None = None
    class_test: Reals | None = None

    def __repr__(self) -> str:
        return in_brief(self)


class LearningCurve(Table, eqx.Module):
    """Losses at training times τ, arrays of τ's shape.

    Attributes
    ----------
    tau : float
        Training time τ = kη/d².
    train, test, score_error : float
        L_train, L_test and E_score; the score error is NaN where the law of the data is not
        Gaussian.
    error : float
        Estimated absolute error of both losses at each τ, nearly always that of the test loss. The
        score error is a difference of the test loss in a unit of its own (1/β² for the noise), and
        its error is that of the test loss in the same unit.
    standard_error : StandardErrors
        Of train, test and score_error, and of class_train and class_test, where they are means over
        sampled models; NaN, or None, where they are not.
    model : RandomFeatureModel or None
        Of the theory: the model.
    step, momentum : float
        Of the theory: how it was trained; a step of None is gradient flow.
    train_error : float
        Of the theory: estimated absolute error of the train loss alone, which late in training may
        be many times smaller.
    class_train, class_test : float or None
        L_train of each class over its own training samples, and L_test over its own fresh data, of
        shape (classes, ...τ); weighted by the shares they add up to train and test. None where the
        data have no classes.
    """

    dimension = "tau"

    tau: Reals
    train: Reals
    test: Reals
    score_error: Reals
    error: Reals
    standard_error: StandardErrors = StandardErrors(jnp.nan, jnp.nan, jnp.nan)
    model: RandomFeatureModel | None = None
    step: Real | None = None
    momentum: float = eqx.field(static=True, default=0.0)
    train_error: Reals = jnp.nan
    class_train: Reals | None = None
    class_test: Reals | None = None

    @property
    def gap(self) -> Reals:
        """Generalisation gap L_gen = L_test - L_train, of τ's shape."""
        return self.test - self.train

    @property
    def empirical(self) -> Reals:
        """L_emp, the loss on the training samples over all their noise, of τ's shape.

        With m draws of the noise the train loss is that of the draws; for m = ∞ both are the same.
        It is the distance to the empirical score, which is that of memorisation. Of the theory
        only; computed here.
        """
        return self._empirical_with_error()[0]

    @property
    def empirical_error(self) -> Reals:
        """Estimated absolute error of `empirical`, of τ's shape."""
        return self._empirical_with_error()[1]

    def _empirical_with_error(self) -> tuple[Reals, Reals]:
        model = self._of_theory("the loss on the training samples with fresh noise")
        if concrete(model.noise_draws) and np.isinf(model.noise_draws):
            return self.train, self.train_error
        eq = averaged_equations(model, gaussian_equivalent(model))
        assert isinstance(eq, NoiseDrawsEquations)
        method = method_of(model, eq, self.tau, self.step, self.momentum)
        loss, _, errors = method.losses(FreshNoiseEquations.of(eq), FINEST)
        shape = jnp.shape(self.tau)
        return jnp.reshape(loss, shape), jnp.reshape(errors[:, 0], shape)

    @property
    def score_parts(self) -> ScoreParts:
        """The score error as bias² and the variances from features, data and noise.

        Of the theory for Gaussian data as d → ∞; computed here.
        """
        what = "the split of the score error into bias and variance"
        model = self._of_theory(what)
        model.check_plain(what, "d")
        eq = averaged_equations(model, gaussian_equivalent(model))
        if model.covariance.has_classes or not isinstance(eq, ColumnEquations):
            raise NotImplementedError(f"{what} exists for Gaussian data only, got classes")
        method = method_of(model, eq, self.tau, self.step, self.momentum)
        parts, error = method.measured(SCORE_PARTS, Learnable.of(model, eq), FINEST)
        shape, unit = jnp.shape(self.tau), score_unit(model)
        numbers = [jnp.reshape(a / unit, shape) for a in (*jnp.asarray(parts).T, error)]
        return ScoreParts(self.tau, *numbers)

    @property
    def bias2(self) -> Reals:
        """The bias of the score, (1/d) E||∇log P_t - ⟨s_A⟩||², of τ's shape; ``score_parts``."""
        return self.score_parts.bias2

    @property
    def variance(self) -> Reals:
        """The variance of the score over W, data and noise, of τ's shape; ``score_parts``."""
        return self.score_parts.variance

    def _of_theory(self, what: str) -> RandomFeatureModel:
        if self.model is None:
            raise ValueError(f"{what} is known of curves of the theory only, got sampled ones")
        return self.model

    def columns(self) -> dict[str, Any]:
        """τ, losses and errors by name, each of τ's shape; standard errors where known."""
        names = ("tau", "train", "test", "gap", "score_error", "error")
        standard_errors = {
            f"{name}_standard_error": getattr(self.standard_error, name)
            for name in ("train", "test", "score_error")
            if np.any(np.isfinite(getattr(self.standard_error, name)))
        }
        return {name: np.asarray(getattr(self, name)) for name in names} | standard_errors

    def units(self) -> dict[str, str]:
        """Units by name; the error is that of the losses."""
        return super().units() | {"error": LOSS}

    @property
    def drops(self) -> dict[str, Any]:
        """Train-loss drop of each part, arrays of τ's shape, which add up to what the train loss
        has lost.

        Parts are in ascending order of their eigenvalues; merged ones are joined by "+". The
        spectrum is computed here. Empty where the curve is not of the theory, or of a finite d.
        """
        return {name: drop for name, (drop, _) in self._drops_with_errors().items()}

    @property
    def drop_errors(self) -> dict[str, Any]:
        """Estimated absolute errors of `drops`: of the integrals over bulks, and `train_error`."""
        of_integrals = {name: error for name, (_, error) in self._drops_with_errors().items()}
        return {name: error + self.train_error for name, error in of_integrals.items()}

    def _drops_with_errors(self) -> dict[str, tuple[Any, Any]]:
        if self.model is None or self.model.d is not None:
            return {}
        refuse_one_class(self.model, "the train-loss drop of a part")
        sp = spectrum_with_edges(self.model)
        method = method_of(self.model, sp.equations, self.tau, self.step, self.momentum)
        nodes = PER_PIECE + method.oscillations(sp.support.lower, sp.support.upper)
        columns = method.drops(modes_of(sp.equations, sp.support, sp.series, nodes))
        parts: dict[str, tuple[Any, Any]] = {}
        for i, bulk in enumerate(sp.bulks):
            name = bulk.part or f"bulk {i + 1}"
            before = parts.get(name, (0.0, 0.0))
            own = sp.series.bulk == i
            sums = (jnp.sum(jnp.where(own, column, 0.0), axis=1) for column in columns)
            of_bulk = (jnp.reshape(column, jnp.shape(self.tau)) for column in sums)
            parts[name] = tuple(a + b for a, b in zip(before, of_bulk, strict=True))
        # the last part has eigenvalues without an end: it is what is left
        if sp.equations.averaged is not None:
            others = [
                (0.0 * self.train, 0.0 * self.train),
                *(pair for part, pair in parts.items() if part != name),
            ]
            drop, error = map(sum, zip(*others, strict=True))
            parts[name] = sp.equations.untrained - self.train - drop, error
        return parts


def learning_curve(
    model: RandomFeatureModel,
    tau: Given,
    step: Given = None,
    *,
    momentum: float = 0.0,
    tolerance: float = TOLERANCE,
) -> LearningCurve:
    r"""Exact losses of the infinite model along full-batch training from A = 0, without training.

    .. math::

        A ∝ V^⊤ h(U), \quad h(λ) = \frac{1 - r(λ)}{λ}, \quad
        h(U) = \frac{1}{2πi} \oint \frac{r(z)}{z} (U - z)^{-1} dz

    with r = e^{-2ω²τλ/ψ_p} for gradient flow, and r the residual polynomial of k = τ/step steps
    A ← A - η∇L_train + μ(A - A_before) where a `step` is given.

    Parameters
    ----------
    model : RandomFeatureModel
        Which features, data and target.
    tau : array, any shape and order
        Training times τ = kη/d², 0 ≤ τ ≤ ∞.
    step : float, optional
        Training time of one step, η/d² > 0 (for steps of size η on A in dimension d). Stable, and
        accepted, for 2ω²·step·λ_max(U)/ψ_p < 2(1 + μ). τ is then rounded to whole steps.
    momentum : float
        Heavy-ball momentum μ in [0, 1); needs a step.
    tolerance : float
        Error of the contour integrals asked for, relative to the loss, from 1e-12 to 0.1; it sets
        the number of nodes.

    Returns
    -------
    LearningCurve
        ``.tau .train .test .score_error .gap`` of τ's shape, ``.drops`` by parts of the spectrum,
        ``.error`` of both losses and ``.train_error`` of L_train: the difference between two node
        counts, rounding, and the errors of the constants by their conditions.

    Raises
    ------
    ValueError
        If a time is negative, NaN or missing, or the step is not stable (the message names the
        limit).
    ConvergenceError
        If edges of the spectrum cannot be told apart in double precision, or a scalar τ has no
        finite result.

    Notes
    -----
    Equations (17) and (18) of docs/theory.md, beyond arXiv 2505.17638; the two-point functions are
    (12) to (14). Gradient flow and gradient descent can be mapped and differentiated with JAX (up
    to three times, in the model and τ); momentum takes known numbers only. In a map over models,
    where nothing can be refused, the error at an unstable step is infinite.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=8.0, psi_n=2.0, t=0.05)
    >>> curve = rf.learning_curve(model, [10.0, 100.0, 1000.0])
    >>> for x, train, test in zip(curve.tau, curve.train, curve.test):
    ...     print(f"{x:6g} {train:.5f} {test:.5f}")
        10 0.92529 0.93125
       100 0.82869 1.01260
      1000 0.64765 1.60831
    """
    tau, stable = training_times(tau), True
    count = nodes_for(checked_tolerance(tolerance))
    mu = checked_momentum(momentum, step)
    eq = averaged_equations(model, gaussian_equivalent(model))
    count = min(count, eq.most_nodes or count)
    if step is not None:
        step = real_scalar("step", step, above=0.0)
        stable = checked_stability(model, step, mu)
        tau = namespace(tau, step).round(tau / step) * step
    method = method_of(model, eq, tau, step, mu)
    train, test, errors = map(on_host, method.losses(eq, count))
    errors = namespace(stable, errors).where(stable, errors, np.inf)
    columns = (train, test, errors.max(axis=-1), errors[:, 0])
    train, test, error, train_error = (a.reshape(np.shape(tau)) for a in columns)
    numbers = (tau, train, test, score_error(model, test), error, train_error)
    tau, train, test, score, error, train_error = (on_device(as_float(a)) for a in numbers)
    curve = LearningCurve(
        tau, train, test, score, error, model=model, step=step, momentum=mu, train_error=train_error
    )
    of_classes = losses_of_classes(method, eq, count)
    if of_classes is not None:
        parts = tuple(jnp.reshape(a, (-1, *np.shape(tau))) for a in of_classes)
        curve = eqx.tree_at(_CLASSES, curve, parts, is_leaf=lambda a: a is None)
    if np.ndim(tau) == 0 and concrete(error) and not np.isfinite(float(error)):
        raise ConvergenceError(
            f"the losses at tau = {float(tau):.6g} did not converge: move a parameter a little"
        )
    return curve
