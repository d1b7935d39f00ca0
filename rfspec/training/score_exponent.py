"""How the best score error falls with n: its running exponent, exact at every ψ_n."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from ..files.tables import Table
from ..models.gaussian_equivalent import gaussian_equivalent
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_array
from ..numerics.programs import program
from ..numerics.types import Given, Real, Vector
from ..resolvent.equations import averaged_equations
from ..resolvent.interface import Equations
from .exact_score import score_error, score_unit
from .moving_stops import stops

# this ψ_n/ψ_p stands for ψ_n = ∞: what is left of finite n is of the order of its inverse
INFINITE = 1e12


class ScoreExponent(Table, eqx.Module):
    """The smallest score error over training, and how it scales; arrays of ψ_n's shape.

    Attributes
    ----------
    psi_n : float
        Ratios n/d.
    score_error : float
        min_τ E_score.
    exponent : float
        d log min_τ E_score / d log ψ_n, its local slope.
    tau : float
        Where it is taken, in units of τ = kη/d².
    floor : float
        Its limit ψ_n → ∞, one number, which the features set.
    error, floor_error : float
        Estimated relative errors of the score errors and of the floor.
    """

    dimension = "psi_n"

    psi_n: Vector
    score_error: Vector
    exponent: Vector
    tau: Vector
    floor: Real
    error: Vector
    floor_error: Real

    def columns(self) -> dict[str, Vector]:
        """ψ_n, score error, exponent, τ and the relative error, by name."""
        names = ("psi_n", "score_error", "exponent", "tau", "error")
        return {name: getattr(self, name) for name in names}

    def notes(self) -> list[str]:
        """The floor."""
        floor, error = float(self.floor), float(self.floor * self.floor_error)
        return [f"floor {floor:.6g} ± {error:.1e}, for psi_n to infinity"]


def score_exponent(model: RandomFeatureModel, psi_n: Given) -> ScoreExponent:
    r"""The running exponent of min_τ E_score in ψ_n.

    .. math::

        \frac{d \log \min_τ E_{score}}{d \log ψ_n}

    is exact at every ψ_n. The paper reports the power law ψ_n^{-0.59} of simulations (its Fig. 13);
    the exact exponent runs, because for n → ∞ the error ends at a floor that p sets.

    Parameters
    ----------
    model : RandomFeatureModel
        Its ψ_n is not used.
    psi_n : array, any shape
        ψ_n > 0.

    Returns
    -------
    ScoreExponent
        ``.psi_n .score_error .exponent .tau .floor .error .floor_error``.

    Raises
    ------
    ValueError
        If a ψ_n is not a positive finite number.

    Notes
    -----
    arXiv 2505.17638, Fig. 13; the exact curves are beyond it.

    Examples
    --------
    >>> import rfspec as rf
    >>> model = rf.RandomFeatureModel(psi_p=32.0, psi_n=1.0, t=0.01)
    >>> found = rf.score_exponent(model, [4.0, 256.0])
    >>> print([f"{e:.5f}" for e in found.score_error], f"{found.floor:.4f}")
    ['0.08292', '0.00590'] 0.0024
    """
    rule = "positive finite numbers"
    n = real_array("psi_n", psi_n, rule)
    if not n.size or n.min() <= 0:
        raise ValueError(f"psi_n must be {rule}, got {psi_n!r:.100}")
    eq = averaged_equations(model, gaussian_equivalent(model))
    last = INFINITE * max(1.0, float(model.psi_p))
    test, slope, c, error = _slopes(eq, jnp.append(n.ravel(), last))
    score = score_error(model, test)
    unit = score_unit(model)
    shaped = lambda a: jnp.reshape(a[:-1], n.shape)
    tau = c * model.time_unit
    relative = error / unit / score
    exponent = slope / unit / score
    return ScoreExponent(
        n,
        shaped(score),
        shaped(exponent),
        shaped(tau),
        score[-1],
        shaped(relative),
        relative[-1] + 1.0 / INFINITE,
    )


@program
def _slopes(eq: Equations, psi_n: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Smallest test loss, its slope in log ψ_n, its time c and its error at each ψ_n."""

    def smallest(log_n: Real) -> tuple[Real, tuple[Real, Real]]:
        of_n = eqx.tree_at(lambda e: e.psi_n, eq, jnp.exp(log_n))
        # the window and the onset of the gap are not used
        stop = stops(of_n, 1.0, 0.5)
        return stop.test, (stop.best, stop.errors[0])

    def one(n: Real) -> tuple[Real, Real, Real, Real]:
        log_n = jnp.log(n)
        test, slope, (c, error) = jax.jvp(smallest, (log_n,), (jnp.ones_like(log_n),), has_aux=True)
        return test, slope, c, error

    return jax.lax.map(one, psi_n)
