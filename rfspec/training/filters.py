r"""What a linear training method does to a mode of U: its residual polynomial r_k on the real axis.

From A = 0 training leaves A ∝ Vᵀh(U) with h(λ) = (1 - r(λ))/λ (3); with c the step on U, so that x
= cλ,

    gradient flow      r = exp(-x) at c = 2ω²τ/ψ_p
    gradient descent   r_k = (1 - x)^k
    heavy ball         r_{k+1} = (1 + μ - x) r_k - μ r_{k-1}
    Nesterov           r_{k+1} = (1 - x)[(1 + μ) r_k - μ r_{k-1}],     r_0 = 1, r_1 = 1 - x.

With the roots z_± = 1 - ε_± of the last two recurrences, ε_+ε_- = x, both have the solution 1 - r_k
= (ε_-(1 - z_+^{k+1}) - ε_+(1 - z_-^{k+1}))/(ε_- - ε_+), which costs the same at k = 10⁹ as at k =
10.
"""

from __future__ import annotations

import numpy as np

LINEAR = ("gd", "momentum", "nesterov")


def stable_below(optimizer: str, mu: float) -> float:
    """The smallest x = cλ at which a mode does not shrink."""
    return {"gd": 2.0, "momentum": 2 * (1 + mu), "nesterov": 2 * (1 + mu) / (1 + 2 * mu)}[optimizer]


def learned(x: np.ndarray, k: float, optimizer: str, mu: float) -> np.ndarray:
    """1 - r_k at cλ = x, without cancellation where little has been learned."""
    if k == 0:
        return np.zeros_like(x)
    if optimizer == "gd":
        with np.errstate(divide="ignore"):
            power = k * np.log1p(-np.minimum(x, 2.0 - x))  # log|1 - x|
        odd = (x > 1) & (k % 2 == 1)
        return np.where(odd, 1.0 + np.exp(power), -np.expm1(power))
    # the mean h of ε_+ and ε_-, and δ², the square of half their difference, by its zeros
    if optimizer == "momentum":
        half = (1 - mu + x) / 2
        squared = (x - (1 - np.sqrt(mu)) ** 2) * (x - (1 + np.sqrt(mu)) ** 2) / 4
    else:
        half = (1 - mu + x * (1 + mu)) / 2
        squared = (1 + mu) ** 2 * (x - 1) * (x - ((1 - mu) / (1 + mu)) ** 2) / 4
    delta = np.sqrt(squared.astype(complex))
    large = half + delta
    small = x / np.where(large == 0, 1.0, large)
    middle = 1.0 - half
    # both roots are zero where δ is
    none = middle == 0
    ratio = delta / np.where(none, 1.0, middle)
    near = (np.abs(ratio) < min(0.1, 1.0 / (k + 1))) & (np.abs(delta) < 0.1 * half) & ~none
    close = _left_by_close_roots(
        half, np.where(none, 1.0, middle), np.where(near, ratio, 0.0), k + 1
    )
    (slow, slow_lost), (fast, fast_lost) = (
        _power_and_complement(small, middle + delta, k + 1),
        _power_and_complement(large, middle - delta, k + 1),
    )
    between = np.where(delta == 0, 1.0, 2 * delta)
    left, learned = (
        (large * slow - small * fast) / between,
        (large * slow_lost - small * fast_lost) / between,
    )
    left = np.where(near, close, left)
    return np.where(near | (np.abs(left) < 0.5), 1.0 - left, learned).real


def _power_and_complement(
    epsilon: np.ndarray, z: np.ndarray, power: float
) -> tuple[np.ndarray, np.ndarray]:
    # z^K and 1 - z^K for z = 1 - ε; the smaller one of z and ε is known better
    size, square_minus_1 = np.abs(z), np.abs(epsilon) ** 2 - 2 * epsilon.real
    with np.errstate(divide="ignore"):
        log = np.where(size < 0.5, np.log(size), np.log1p(np.maximum(square_minus_1, -0.75)) / 2)
    log, angle = power * log, power * np.angle(z)
    lost = (
        2 * np.exp(log) * np.sin(angle / 2) ** 2 - np.expm1(log) - 1j * np.exp(log) * np.sin(angle)
    )
    return np.exp(log) * np.exp(1j * angle), lost


def _left_by_close_roots(
    half: np.ndarray, middle: np.ndarray, ratio: np.ndarray, power: float
) -> np.ndarray:
    # r_k = h (z_+^K - z_-^K)/2δ + (z_+^K + z_-^K)/2 with z_± = m ± δ = √(z_+z_-) e^{±θ}
    with np.errstate(divide="ignore"):
        size = np.sign(middle) ** power * np.exp(
            power / 2 * np.log(middle**2 * (1 - (ratio**2).real))
        )
    tiny = np.abs(ratio) < 1e-100
    safe = np.where(tiny, 0.5 / power, ratio)
    theta = np.arctanh(safe)
    # sinh(Kθ)/δ
    slope = np.where(tiny, power, np.sinh(power * theta) / safe) / middle
    return size * (half * slope + np.where(tiny, 1.0, np.cosh(power * theta)))
