"""The limit ψ_p → ∞ in closed form, Σ = I: what the losses of a kernel are.

Each eigenvalue x of the sample covariance carries two modes of its own (arXiv 2608.23938, (28) and
(29)). With ε = v²/μ1² and 𝔱 = 2β²μ1²τ they relax as exp(-𝔱Q),

    Q(x) = [[α²x + ε/ψ_n, αβ√x], [αβ√x, β²]],

and both losses are averages over the law of Marchenko and Pastur.
"""

import numpy as np

import rfspec as rf

NODES = 400


def marchenko_pastur(psi_n, nodes=NODES):
    """Places and weights of the continuous part for n = ψ_n d > d samples, by Chebyshev's nodes."""
    angle = np.pi * (np.arange(nodes) + 0.5) / nodes
    low, high = (1 - psi_n**-0.5) ** 2, (1 + psi_n**-0.5) ** 2
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
    return x, psi_n * ((high - low) / 2 * np.sin(angle)) ** 2 / (2 * nodes * x)


def losses(model, tau):
    """(train, test) at the times τ, shape (2, times)."""
    ge, process, psi_n = rf.gaussian_equivalent(model), model.process, float(model.psi_n)
    alpha, beta, mu1 = (float(a) for a in (process.alpha, process.beta, ge.mu1))
    excess = float(ge.v2) / mu1**2
    x, weights = marchenko_pastur(psi_n)
    a, c, b = alpha**2 * x + excess / psi_n, beta**2 + 0 * x, alpha * beta * np.sqrt(x)
    # both eigenvalues; the smaller one from the determinant, which does not cancel
    high = (a + c) / 2 + np.hypot((a - c) / 2, b)
    low = beta**2 * excess / psi_n / high
    scaled = 2 * beta**2 * mu1**2 * np.asarray(tau, float)[:, None]
    fast, slow = np.exp(-scaled * high), np.exp(-scaled * low)
    # exp(-𝔱Q) = slow + (fast - slow)(Q - low)/(high - low)
    share = (fast - slow) / (high - low)
    across, own = share * b, slow + share * (c - low)
    # 1 - own, relatively accurate at early times
    gone = -np.expm1(-scaled * low) + (np.expm1(-scaled * low) - np.expm1(-scaled * high)) * (
        (c - low) / (high - low)
    )
    f = -gone / beta
    train = (across**2 + own**2) @ weights
    test = 1 + 2 * beta * (f @ weights) + (alpha**2 + beta**2) * (f**2 @ weights)
    return np.stack([train, test])
