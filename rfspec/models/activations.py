r"""The nonlinearity σ of the features φ(x) = σ(Wx/√d).

An activation is a function of the pre-activation together with what the quadrature must know of it:
the points where its derivative jumps. Five are named (``tanh``, ``erf``, ``sin``, ``relu``,
``gelu``); any other function written with `jax.numpy` is taken as it is, and its kinks are found by
dyadic search. Polynomials have exact constants.

The mean E[σ(Γz)] need not vanish: it is subtracted, a constant shift of σ, and reported as ``mu0``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.checks import concrete, real_vector
from ..numerics.rounding import EPS
from ..numerics.session import enter
from ..numerics.types import Given, Reals, Vector

SEARCH_RADIUS = 32.0  # kinks are looked for on [-32, 32]
SMOOTH = 1e-10  # largest relative misfit of a smooth function to its local interpolant
TOGETHER = 1e-6  # what is closer than this is one kink
ROUNDING = 64 * EPS
HIGHEST_DEGREE = 32
SATURATING = ("tanh", "erf", "sin")
USUAL = (1 / 16, 16.0)  # Γ² between which a bounded activation is neither linear nor saturated


class SaturationWarning(UserWarning):
    """Γ² is so far from 1 that a bounded activation is nearly linear,
    or nearly constant but for jumps.
    """


class Activation(eqx.Module):
    r"""A nonlinearity σ: R → R with the places of its kinks.

    Parameters
    ----------
    function : callable
        σ, elementwise, written with `jax.numpy`.
    name : str
        What plots and tables call it; closed forms of the Gaussian-equivalent constants go by this
        name.
    kinks : tuple of float, optional
        Points where σ or a derivative jumps. By default they are searched for on [-32, 32].

    Raises
    ------
    ValueError
        If σ is no callable, cannot be traced by JAX, is not finite, or is constant.

    Examples
    --------
    >>> import jax.numpy as jnp, rfspec as rf
    >>> rf.Activation(lambda x: jnp.maximum(x, 0.1 * x), name="leaky relu").kinks
    (0.0,)
    """

    function: Callable[..., Any] = eqx.field(static=True)
    name: str = eqx.field(static=True)
    kinks: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        function: Callable[[Any], Any],
        name: str | None = None,
        kinks: tuple[float, ...] | None = None,
    ):
        enter()
        if not callable(function):
            raise ValueError(f"activation must be a name or a callable, got {function!r}")
        self.function = function
        self.name = getattr(function, "__name__", "callable") if name is None else name
        if self.named:
            self.kinks = (0.0,) if self.name == "relu" else ()
        else:
            found = _examine(function)
            self.kinks = found if kinks is None else tuple(sorted(float(k) for k in kinks))

    def __call__(self, x: Reals) -> Reals:
        """σ(x), elementwise."""
        return self.function(x)

    @property
    def named(self) -> bool:
        """Whether this is one of the package's own, of at most linear growth."""
        return _NAMED.get(self.name) is self.function


class Polynomial(Activation):
    r"""The polynomial σ(x) = Σ_j coefficients[j] x^j, whose constants are finite sums.

    With z^j = Σ_k h_jk He_k(z)/√k!, h_jk = j!/(2^m m! √k!), j - k = 2m, the Hermite coefficients of
    σ(Γz) are h_k = Σ_j coefficients[j] Γ^j h_jk, and v² and s² the sums of
    ``rfspec.models.gaussian_equivalent`` up to the degree.

    Parameters
    ----------
    coefficients : array, shape (degree + 1,)
        From the constant term up; degree 1 to 32, and not all but the first zero. Differentiable.

    Raises
    ------
    ValueError
        If the coefficients are no finite real numbers, too many, or those of a constant.

    Examples
    --------
    >>> import rfspec as rf
    >>> cubic = rf.Polynomial([0.0, 1.0, 0.0, 0.5])
    >>> model = rf.RandomFeatureModel(8.0, 2.0, t=0.1, activation=cubic)
    >>> print(f"{rf.gaussian_equivalent(model).mu1:.12f}")
    2.500000000000
    """

    coefficients: Vector

    def __init__(self, coefficients: Given):
        self.function, self.name, self.kinks = _horner, "polynomial", ()
        self.coefficients = real_vector(
            "coefficients", coefficients, "a one-dimensional array of finite real numbers"
        )
        terms = len(self.coefficients)
        if not 2 <= terms <= HIGHEST_DEGREE + 1:
            raise ValueError(
                f"coefficients must be those of a degree from 1 to {HIGHEST_DEGREE}, got {terms} "
                "of them"
            )
        if concrete(self.coefficients) and not np.any(self.coefficients[1:]):
            raise ValueError(
                f"activation must not be constant (its variance is zero), got {self.coefficients}"
            )

    def __call__(self, x: Vector) -> Vector:
        """σ(x), elementwise."""
        return self.function(self.coefficients, x)


def _horner(coefficients: Vector, x: Vector) -> Vector:
    total = 0.0 * x
    for j in reversed(range(len(coefficients))):
        total = total * x + coefficients[j]
    return total


def _relu(x: Reals) -> Reals:
    return jnp.maximum(x, 0.0)


def _gelu(x: Vector) -> Vector:
    return x * jax.scipy.special.ndtr(x)


_NAMED: dict[str, Callable[[Any], Any]] = {
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    "sin": jnp.sin,
    "relu": _relu,
    "gelu": _gelu,
}


def as_activation(activation: str | Callable[[Any], Any] | Activation) -> Activation:
    """Look a name up, or wrap a callable."""
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in _NAMED:
            known = ", ".join(sorted(_NAMED))
            raise ValueError(
                f"activation must be one of {known}, or a callable; got {activation!r}"
            )
        return Activation(_NAMED[activation], name=activation)
    return Activation(activation)


@lru_cache(maxsize=256)
def _examine(function: Callable[[Any], Any]) -> tuple[float, ...]:
    """Check a function on a grid and find its kinks."""

    def on(x: np.ndarray) -> np.ndarray:
        try:
            with jax.ensure_compile_time_eval():  # inside `jax.jit` too σ is known
                y = np.asarray(jax.jit(function)(x))
        except Exception as e:
            raise ValueError(
                "activation must be an elementwise function written with jax.numpy; it raised "
                f"{e!r:.200}"
            ) from e
        if y.shape != x.shape or not np.issubdtype(y.dtype, np.floating):
            raise ValueError(
                f"activation must map a real array to a real array of its shape {x.shape}, "
                f"got shape {y.shape} of {y.dtype}"
            )
        return y.astype(float)

    grid = np.linspace(-6.0, 6.0, 1025)
    y = on(grid)
    if not np.all(np.isfinite(y)):
        bad = grid[~np.isfinite(y)][0]
        raise ValueError(
            f"activation must be finite on [-6, 6], got {on(np.array([bad]))[0]} at {bad:.6g}"
        )
    if np.ptp(y) <= 1e-13 * (1.0 + np.abs(y).max()):
        raise ValueError(
            f"activation must not be constant (its variance is zero), got {y[0]:.6g} everywhere"
        )
    return _find_kinks(on)


def _find_kinks(f: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
    """Halve every interval on which f is not its own degree-16 interpolant, down to rounding."""
    order, width = 17, 1.0
    nodes = np.cos((np.arange(order) + 0.5) * np.pi / order)
    weights = (-1.0) ** np.arange(order) * np.sin((np.arange(order) + 0.5) * np.pi / order)
    probes = np.linspace(-0.97, 0.97, 24)
    cauchy = weights / (probes[:, None] - nodes)
    interpolate = cauchy / cauchy.sum(1, keepdims=True)

    # an odd offset, so that no round number is ever an end of an interval and costs both neighbours
    left = np.arange(-SEARCH_RADIUS, SEARCH_RADIUS, width) - np.pi / 30
    everywhere = np.ptp(f(np.linspace(-6.0, 6.0, 257)))
    found: list[tuple[float, float]] = []  # places and how well they are known
    while left.size and width > 1e-9:
        # wider than the interval, at whose ends no kink can hide then from both neighbours
        at = left[:, None] + 0.5 * width * (1.0 + 1.1 * np.concatenate([nodes, probes]))
        y = f(at.ravel()).reshape(at.shape)
        allowed = SMOOTH * (np.ptp(y, axis=1) + 1e-6 * everywhere) + ROUNDING * np.abs(y).max(1)
        rough = ~(np.abs(y[:, :order] @ interpolate.T - y[:, order:]).max(1) < allowed)
        if rough.sum() > 128:
            raise ValueError(
                "activation must be piecewise smooth: it has kinks or jumps nearly everywhere"
            )
        # halves that both look smooth have a weak kink at or near their common end
        if width < 1e-3:
            pairs = rough.reshape(-1, 2).any(1)
            found += [(middle, 1.1 * width) for middle in left[::2][~pairs] + width]
        width /= 2
        left = np.sort(np.concatenate([left[rough], left[rough] + width]))
    found += [(middle, 4 * width) for middle in left + width / 2]
    return _refined(f, [place for place in found if abs(place[0]) < SEARCH_RADIUS - 1])


def _refined(
    f: Callable[[np.ndarray], np.ndarray], found: list[tuple[float, float]]
) -> tuple[float, ...]:
    """Those of places ± doubt that are different, to all digits;
    the sharper stands for the vaguer beside it.
    """
    kept: list[tuple[float, float]] = []
    for place, doubt in sorted(found, key=lambda known: known[1]):
        if all(abs(place - other) > max(TOGETHER, 1.2 * doubt + 2.4 * its) for other, its in kept):
            kept.append((place, doubt))
    middles, doubts = zip(*sorted(kept), strict=True) if kept else ((), ())
    gaps = np.diff([-2 * SEARCH_RADIUS, *middles, 2 * SEARCH_RADIUS])
    rooms = np.minimum(gaps[:-1], gaps[1:]) / 2
    return tuple(sorted({_refine(f, *place) for place in zip(middles, doubts, rooms, strict=True)}))


def _refine(f: Callable[[np.ndarray], np.ndarray], kink: float, doubt: float, room: float) -> float:
    """The place of a kink known to ± doubt, with no other one within `room`,
    from polynomials on both sides of it.

    A jump of the m-th derivative that is misplaced by ε costs the quadrature ε^(m+1).
    """
    room = min(max(1e-2, 32 * doubt), room)
    if room < 4 * doubt:
        return kink
    nodes = doubt + (room - doubt) * (1 - np.cos((np.arange(8) + 0.5) * np.pi / 8)) / 2
    left, right = (
        _interpolant(sign * nodes / room, f(kink + sign * nodes)) for sign in (-1.0, 1.0)
    )
    step, size = right - left, np.abs(left).max() + np.abs(right).max()
    jumps = abs(step[0]) > 8 * doubt / room * np.abs(step[1:]).max() + 1e-11 * size
    if jumps:
        kink = _bisect(f, kink - doubt, kink + doubt)
    else:
        # a(x - k)^m is what the two sides differ by, to leading order; at smaller m the same holds
        # of its derivatives
        for m in range(4, 0, -1):
            if abs(step[m]) > 1e-10 * size and abs(step[m - 1]) < m * doubt / room * abs(step[m]):
                kink -= room * step[m - 1] / (m * step[m])
                break
    # what is a short number but for rounding is meant to be one
    short = round(kink, 6) + 0.0
    return float(
        short if abs(kink - short) < (1e-15 if jumps else 1e-12) * max(1.0, abs(kink)) else kink
    )


def _interpolant(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients of the polynomial through these points."""
    return np.linalg.solve(np.vander(x, increasing=True), y)


def _bisect(f: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    """Where f jumps between two numbers."""
    bottom, top = f(np.array([low, high]))
    while low < (middle := (low + high) / 2) < high and high - low > 1e-17:
        if abs((y := f(np.array([middle]))[0]) - bottom) < abs(y - top):
            low = middle
        else:
            high = middle
    return float(high)
