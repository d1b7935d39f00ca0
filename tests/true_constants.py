"""(μ0, Γμ1, v², s²) of activations with known kernels K(c) = E[σ(Γz)σ(Γz')],
to 40 digits by mpmath.

By Price's theorem K^(m)(c) = Γ^2m E[σ^(m)σ^(m)], which is a sum of bivariate normal densities as
soon as σ^(m) is one of delta functions. Nothing is shared with the package.
"""

import mpmath as mp


def variances(t, variance):
    """Γ² and c of an Ornstein-Uhlenbeck process, exact for the doubles given."""
    alpha2 = mp.exp(-2 * mp.mpf(t))
    signal, noise = alpha2 * mp.mpf(variance), 1 - alpha2
    return signal + noise, signal / (signal + noise)


def piecewise(jumps, bends, slope, gamma2, c):
    """σ = slope x + Σ a sign(x - k) or Σ b |x - k|, of (k, a) in jumps or (k, b) in bends:
    one of the two.
    """
    gamma = mp.sqrt(gamma2)
    places = [(mp.mpf(k) / gamma, mp.mpf(a)) for k, a in jumps or bends]

    def pairs(w):
        """4ΣΣ a a times the density at both places, times -du/dw,
        where u = 1 - w² is the correlation.
        """
        return (
            4
            / (mp.pi * mp.sqrt(2 - w * w))
            * sum(
                a
                * b
                * (mp.exp(-((x - y) ** 2) / (2 * w * w * (2 - w * w))) if x != y else 1)
                * mp.exp(-x * y / (2 - w * w))
                for x, a in places
                for y, b in places
                if w or x == y
            )
        )

    def integral(f, low, high):
        """Over correlations."""
        return mp.quad(f, _steps(mp.sqrt(1 - high), mp.sqrt(1 - low)))

    if jumps:
        linear = 2 * sum(a * mp.npdf(x) for x, a in places)
        mean = sum(a * (1 - 2 * mp.ncdf(x)) for x, a in places)
        v2, s2 = (
            integral(lambda w: pairs(w) - 2 * w * linear**2, *ends) for ends in ((0, c), (c, 1))
        )
        return mean, linear + slope * gamma, v2, s2
    mean = gamma * sum(b * (2 * mp.npdf(x) + x * (2 * mp.ncdf(x) - 1)) for x, b in places)
    linear = gamma * (slope + sum(b * (1 - 2 * mp.ncdf(x)) for x, b in places))
    v2 = gamma2 * integral(lambda w: (c - 1 + w * w) * pairs(w), 0, c)
    s2 = gamma2 * ((1 - c) * integral(pairs, 0, c) + integral(lambda w: w * w * pairs(w), c, 1))
    return mean, linear, v2, s2


def _steps(low, high):
    """Ends of panels that shrink towards 0."""
    ends = [high]
    while ends[-1] / 4 > low and len(ends) < 12:
        ends.append(ends[-1] / 4)
    return [low, *reversed(ends)]


def polynomial(coefficients, gamma2, c):
    """Hermite coefficients as finite sums."""
    gamma, size = mp.sqrt(gamma2), len(coefficients)
    h = [mp.mpf(0)] * size
    for j, a in enumerate(coefficients):
        for m in range(j // 2 + 1):
            k = j - 2 * m
            h[k] += (
                mp.mpf(a)
                * gamma**j
                * mp.factorial(j)
                / (2**m * mp.factorial(m) * mp.sqrt(mp.factorial(k)))
            )
    return h[0], h[1], _sum(h, lambda k: c**k), _sum(h, lambda k: 1 - c**k)


def _sum(h, share):
    return mp.fsum(h[k] ** 2 * share(k) for k in range(2, len(h)))


def by_kernel(mean, linear, kernel, c):
    """From the kernel itself, by differences that the digits allow."""
    at = kernel(c)
    return mean, linear, at - mean**2 - c * linear**2, kernel(mp.mpf(1)) - at - (1 - c) * linear**2


def erf(gamma2, c):
    a = 2 * gamma2 / (1 + 2 * gamma2)
    return by_kernel(
        0, 2 * mp.sqrt(gamma2 / (mp.pi * (1 + 2 * gamma2))), lambda c: 2 / mp.pi * mp.asin(a * c), c
    )


def sin(gamma2, c):
    with mp.workdps(int(mp.mp.dps + gamma2)):
        return by_kernel(
            0,
            mp.sqrt(gamma2) * mp.exp(-gamma2 / 2),
            lambda c: mp.exp(-gamma2) * mp.sinh(gamma2 * c),
            c,
        )


def power(n, growth, gamma2, c):
    """σ = max(x, 0)^n e^{growth x}, in polar coordinates."""
    gamma = mp.sqrt(gamma2)

    def radial(k, a):
        """∫_0^∞ r^k e^{-r²/2 + ar} dr."""
        low, high = mp.sqrt(mp.pi / 2) * mp.exp(a * a / 2) * mp.erfc(-a / mp.sqrt(2)), 0
        low, high = low, 1 + a * low
        for i in range(1, k):
            low, high = high, a * high + i * low
        return high

    def kernel(c):
        theta = mp.acos(c)
        f = lambda phi: (
            (mp.cos(phi) * mp.cos(phi - theta)) ** n
            * radial(2 * n + 1, growth * gamma * (mp.cos(phi) + mp.cos(phi - theta)))
        )
        return gamma2**n / (2 * mp.pi) * mp.quad(f, mp.linspace(theta - mp.pi / 2, mp.pi / 2, 5))

    unit = gamma**n / mp.sqrt(2 * mp.pi)
    return by_kernel(
        unit * radial(n, growth * gamma), unit * radial(n + 1, growth * gamma), kernel, c
    )
