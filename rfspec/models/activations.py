r"""The nonlinearity σ of the features φ(x) = σ(Wx/√d).

An activation is a function σ together with its kinks, the points where σ or a derivative jumps,
which the quadrature must know. Five activations are named: ``tanh``, ``erf``, ``sin``, ``relu`` and
``gelu``. Any other function written with `jax.numpy` is taken as it is, and its kinks are found by
dyadic search. Polynomials have exact constants.

The mean E[σ(Γz)] need not vanish: it is subtracted from σ, and reported as ``mu0``.
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
from ..numerics.frozen import Frozen
from ..numerics.rounding import EPS
from ..numerics.session import enter
from ..numerics.types import Given, Reals, Vector

# kinks are searched for on [-32, 32]
SEARCH_RADIUS = 32.0
# largest relative misfit of a smooth function to its local interpolant
SMOOTH = 1e-10
# kinks closer than this are one kink
TOGETHER = 1e-6
ROUNDING = 64 * EPS
HIGHEST_DEGREE = 32
SATURATING = ("tanh", "erf", "sin")
# between these Γ² a bounded activation is neither linear nor saturated
USUAL = (1 / 16, 16.0)


class SaturationWarning(UserWarning):
    """Γ² is so far from 1 that a bounded activation is nearly linear, or nearly a step."""


class Activation(Frozen):
    r"""A nonlinearity σ: R → R with its kinks.

    Parameters
    ----------
    function : callable
        σ, elementwise, written with `jax.numpy`.
    name : str
        The name in plots and tables; by default the name of the function.
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
            searched = _checked_and_searched(function)
            self.kinks = searched if kinks is None else tuple(sorted(float(k) for k in kinks))

    def __call__(self, x: Reals) -> Reals:
        return self.function(x)

    def __repr__(self) -> str:
        kinks = f", kinks at {', '.join(map(str, self.kinks))}" if self.kinks else ""
        return f"{type(self).__name__}({self.name!r}{kinks})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # JAX wraps its functions so that pickle does not find them by their names
        return (as_activation, (self.name,)) if self.named else super().__reduce_ex__(protocol)

    @property
    def named(self) -> bool:
        """Whether this is one of the five named activations, which all grow at most linearly."""
        return _NAMED.get(self.name) is self.function


class Polynomial(Activation):
    r"""The polynomial σ(x) = Σ_j coefficients[j] x^j, whose constants are finite sums.

    With z^j = Σ_k h_jk He_k(z)/√k!, h_jk = j!/(2^m m! √k!), j - k = 2m, the Hermite coefficients of
    σ(Γz) are h_k = Σ_j coefficients[j] Γ^j h_jk, and the sums (5) for v² and s² end at the degree.

    Parameters
    ----------
    coefficients : array, shape (degree + 1,)
        From the constant term up, degree 1 to 32. At least one beyond the first is not zero. The
        constants can be differentiated in them.

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

    def __call__(self, x: Reals) -> Reals:
        return self.function(self.coefficients, x)


def _horner(coefficients: Vector, x: Reals) -> Reals:
    total = 0.0 * x
    for j in reversed(range(len(coefficients))):
        total = total * x + coefficients[j]
    return total


def _relu(x: Reals) -> Reals:
    return jnp.maximum(x, 0.0)


# jax.scipy is looked up when they are called: it imports SciPy, which takes as long as rfspec


def _erf(x: Reals) -> Reals:
    return jax.scipy.special.erf(x)


def _gelu(x: Reals) -> Reals:
    return x * jax.scipy.special.ndtr(x)


_NAMED: dict[str, Callable[[Any], Any]] = {
    "tanh": jnp.tanh,
    "erf": _erf,
    "sin": jnp.sin,
    "relu": _relu,
    "gelu": _gelu,
}


def as_activation(activation: str | Callable[[Any], Any] | Activation) -> Activation:
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in _NAMED:
            names = ", ".join(sorted(_NAMED))
            raise ValueError(
                f"activation must be one of {names}, or a callable; got {activation!r}"
            )
        return Activation(_NAMED[activation], name=activation)
    return Activation(activation)


@lru_cache(maxsize=256)
def _checked_and_searched(function: Callable[[Any], Any]) -> tuple[float, ...]:
    # returns the kinks
    def values(x: np.ndarray) -> np.ndarray:
        try:
            # inside `jax.jit`, too, the values of σ are known
            with jax.ensure_compile_time_eval():
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
    y = values(grid)
    if not np.all(np.isfinite(y)):
        bad = grid[~np.isfinite(y)][0]
        raise ValueError(
            f"activation must be finite on [-6, 6], got {values(np.array([bad]))[0]} at {bad:.6g}"
        )
    if np.ptp(y) <= 1e-13 * (1.0 + np.abs(y).max()):
        raise ValueError(
            f"activation must not be constant (its variance is zero), got {y[0]:.6g} everywhere"
        )
    return _find_kinks(values)


def _find_kinks(f: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
    # an interval on which f is not its own degree-16 interpolant is halved, down to rounding
    order, width = 17, 1.0
    nodes = np.cos((np.arange(order) + 0.5) * np.pi / order)
    weights = (-1.0) ** np.arange(order) * np.sin((np.arange(order) + 0.5) * np.pi / order)
    probes = np.linspace(-0.97, 0.97, 24)
    cauchy = weights / (probes[:, None] - nodes)
    interpolate = cauchy / cauchy.sum(1, keepdims=True)

    # a round number that ends an interval would cost both neighbours; the odd offset avoids it
    left = np.arange(-SEARCH_RADIUS, SEARCH_RADIUS, width) - np.pi / 30
    everywhere = np.ptp(f(np.linspace(-6.0, 6.0, 257)))
    # kinks and their doubts: a kink lies within ± doubt
    kinks: list[tuple[float, float]] = []
    while left.size and width > 1e-9:
        # the points overlap those of the neighbours, so that no kink hides at a common end
        x = left[:, None] + 0.5 * width * (1.0 + 1.1 * np.concatenate([nodes, probes]))
        y = f(x.ravel()).reshape(x.shape)
        allowed = SMOOTH * (np.ptp(y, axis=1) + 1e-6 * everywhere) + ROUNDING * np.abs(y).max(1)
        rough = ~(np.abs(y[:, :order] @ interpolate.T - y[:, order:]).max(1) < allowed)
        if rough.sum() > 128:
            raise ValueError(
                "activation must be piecewise smooth: it has kinks or jumps nearly everywhere"
            )
        # if both halves of a rough interval look smooth, a weak kink lies near their common end
        if width < 1e-3:
            pairs = rough.reshape(-1, 2).any(1)
            kinks += [(middle, 1.1 * width) for middle in left[::2][~pairs] + width]
        width /= 2
        left = np.sort(np.concatenate([left[rough], left[rough] + width]))
    kinks += [(middle, 4 * width) for middle in left + width / 2]
    return _distinct(f, [kink for kink in kinks if abs(kink[0]) < SEARCH_RADIUS - 1])


def _distinct(
    f: Callable[[np.ndarray], np.ndarray], kinks: list[tuple[float, float]]
) -> tuple[float, ...]:
    # of kinks that may be the same, the one with the least doubt is kept
    kept: list[tuple[float, float]] = []
    for kink, doubt in sorted(kinks, key=lambda pair: pair[1]):
        if all(abs(kink - k) > max(TOGETHER, 1.2 * doubt + 2.4 * d) for k, d in kept):
            kept.append((kink, doubt))
    middles, doubts = zip(*sorted(kept), strict=True) if kept else ((), ())
    gaps = np.diff([-2 * SEARCH_RADIUS, *middles, 2 * SEARCH_RADIUS])
    rooms = np.minimum(gaps[:-1], gaps[1:]) / 2
    return tuple(
        sorted({_to_all_digits(f, *kink) for kink in zip(middles, doubts, rooms, strict=True)})
    )


def _to_all_digits(
    f: Callable[[np.ndarray], np.ndarray], kink: float, doubt: float, room: float
) -> float:
    """A kink known to ± doubt, with no other within `room`, from polynomials on both its sides.

    The quadrature errs by ε^(m+1) where a jump of the m-th derivative is misplaced by ε.
    """
    room = min(max(1e-2, 32 * doubt), room)
    if room < 4 * doubt:
        return kink
    nodes = doubt + (room - doubt) * (1 - np.cos((np.arange(8) + 0.5) * np.pi / 8)) / 2
    left, right = (
        _polynomial_through(sign * nodes / room, f(kink + sign * nodes)) for sign in (-1.0, 1.0)
    )
    step, size = right - left, np.abs(left).max() + np.abs(right).max()
    jumps = abs(step[0]) > 8 * doubt / room * np.abs(step[1:]).max() + 1e-11 * size
    if jumps:
        kink = _place_of_jump(f, kink - doubt, kink + doubt)
    else:
        # to leading order the two sides differ by a(x - k)^m, and their derivatives by those of it
        for m in range(4, 0, -1):
            if abs(step[m]) > 1e-10 * size and abs(step[m - 1]) < m * doubt / room * abs(step[m]):
                kink -= room * step[m - 1] / (m * step[m])
                break
    # a number that rounding alone keeps from being short is meant to be short
    short = round(kink, 6) + 0.0
    return float(
        short if abs(kink - short) < (1e-15 if jumps else 1e-12) * max(1.0, abs(kink)) else kink
    )


def _polynomial_through(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.solve(np.vander(x, increasing=True), y)


def _place_of_jump(f: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    bottom, top = f(np.array([low, high]))
    while low < (middle := (low + high) / 2) < high and high - low > 1e-17:
        if abs((y := f(np.array([middle]))[0]) - bottom) < abs(y - top):
            low = middle
        else:
            high = middle
    return float(high)
