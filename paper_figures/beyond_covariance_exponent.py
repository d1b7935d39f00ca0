"""How training times depend on the exponent of a power-law covariance, with exact gradients.

The eigenvalues of Σ are λ(u) ~ u^-a, the largest hundredth cut off, Tr Σ/d = 1. Lines on the right
are derivatives by JAX, through roots of roots; crosses are differences of two models. τ_mem ends
where the sample part merges with another.
"""

import beyond as library
import matplotlib.pyplot as plt
import numpy as np
import panels
from recipe import run

import rfspec as rf

DIFFERS = "not in a paper: no other code has these times, nor derivatives of them"
PSI_P, PSI_N, T, CUTOFF = 64.0, 8.0, 0.1, 0.01
EXPONENT, POINTS = (0.1, 1.5), 29
TIMES = ("tau_gen", "tau_star", "tau_mem")
DIFFERENCES, STEP = (0.2, 0.5, 0.8, 1.1, 1.4), 1e-3
FAST = {"EXPONENT": (0.3, 0.8), "POINTS": 2, "TIMES": ("tau_gen", "tau_mem"), "DIFFERENCES": (0.5,)}


def compute():
    def model_at(a):
        law = rf.PowerLaw(a, CUTOFF).normalised()
        return rf.RandomFeatureModel(PSI_P, PSI_N, T, covariance=law)

    values = np.linspace(*EXPONENT, POINTS)
    return library.sensitivities(model_at, TIMES, ("exponent", values), DIFFERENCES, STEP)


def draw(tables):
    exact, differences = tables["exact"], tables["differences"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8))
    looks = {
        "tau_gen": (r"$\tau_\mathrm{gen}$, slow end of the population", "population", "-"),
        "tau_star": (r"$\tau^*$, minimum of the test loss", "atom", (0, (1, 1))),
        "tau_mem": (r"$\tau_\mathrm{mem}$, slow end of the sample part", "sample", (0, (5, 2))),
    }
    for time in TIMES:
        label, part, ls = looks[time]
        look = {"color": rf.plotting.COLORS[part], "ls": ls, "label": label}
        left.plot(exact.exponent, exact.tau.sel(time=time), **look)
        right.plot(exact.exponent, exact.slope.sel(time=time), **look)
        right.plot(
            differences.exponent, differences.slope.sel(time=time), "x", color=look["color"], ms=6
        )
    left.set_yscale("log")
    left.set_ylim(10.0, 1e4)
    left.set_ylabel(r"training time $\tau$")
    left.set_title(rf"$\psi_p = {PSI_P:g}$, $\psi_n = {PSI_N:g}$, $t = {T:g}$")
    right.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    right.set_ylabel(r"$d\ln\tau/da$")
    right.set_title("exact (lines) and by differences (crosses)")
    for ax in (left, right):
        ax.set_xlabel("exponent $a$")
    panels.shared_legend(figure, [left])
    return figure


if __name__ == "__main__":
    run(__file__)
