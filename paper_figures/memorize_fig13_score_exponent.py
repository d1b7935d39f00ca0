"""Fig. 13 of arXiv 2505.17638: the smallest score error against n, and its running exponent.

The paper fits ψ_n^{-0.59} to simulations at ψ_p = 32. The exact curves have no power law: the
exponent runs, steepens with ψ_p, and returns to 0 where the features set the floor (dotted).
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import tables as library
from recipe import run

import rfspec as rf

DIFFERS = (
    "exact curves at four ψ_p, whose exponent runs, where the paper fits one power law to "
    "simulations at ψ_p = 32; samples at d = 32"
)
T = 0.01
PSI_P = (8.0, 32.0, 128.0, 1000.0)
PSI_N, POINTS = (1.0, 4096.0), 61
SAMPLED_P, SAMPLED_N = 32.0, (4.0, 8.0, 16.0, 32.0)
D, REPEATS, SEED = 32, 4, 0
FAST = {"POINTS": 8, "SAMPLED_N": (8.0,), "D": 4, "REPEATS": 2}


def compute():
    psi_n = np.geomspace(*PSI_N, POINTS)
    models = [rf.RandomFeatureModel(psi_p, 1.0, T) for psi_p in PSI_P]
    drawn = [rf.RandomFeatureModel(SAMPLED_P, psi_n, T) for psi_n in SAMPLED_N]
    sampled = {
        kind: library.sampled_best(SEED, drawn, ("psi_n", SAMPLED_N), D, REPEATS, kind=kind)
        for kind in ("gaussian", "features")
    }
    return {"exact": library.score_exponents(models, ("psi_p", PSI_P), psi_n), **sampled}


# exponent of the paper's fit, and prefactor of a guide to the eye above the curves
FIT = (-0.59, 0.5)


def draw(tables):
    exact = tables["exact"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.9))
    for i, color in enumerate(panels.shades(exact.sizes["psi_p"])):
        one = exact.isel(psi_p=i)
        label = rf"$\psi_p = {float(one.psi_p):g}$"
        left.plot(one.psi_n, one.score_error, color=color, label=label)
        left.axhline(float(one.floor), color=color, ls=":", lw=0.9, zorder=0)
        right.plot(one.psi_n, one.exponent, color=color, label=label)
    for kind, marker in (("gaussian", "o"), ("features", "x")):
        panels.measured(left, tables[kind], "psi_n", "score_error", "black", marker)
    exponent, prefactor = FIT
    reach = np.array([4.0, 128.0])
    left.plot(reach, prefactor * reach**exponent, "k--", lw=1.0)
    left.annotate(rf"$\psi_n^{{{exponent:g}}}$", (140.0, prefactor * 140.0**exponent))
    right.axhline(exponent, color="black", ls="--", lw=1.0, zorder=0)
    right.annotate("fit of the paper", (1.1, exponent - 0.045))
    left.set_yscale("log")
    left.set_ylabel(r"$\min_\tau E_\mathrm{score}$")
    right.set_ylabel(r"$d\log \min_\tau E_\mathrm{score}\,/\,d\log \psi_n$")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xlabel(r"$\psi_n = n/d$")
    right.legend(loc="upper left", bbox_to_anchor=(0.22, 1.0))
    shapes = {"o": "Gaussian equivalent", "x": "tanh features"}
    about = rf", $\psi_p = {SAMPLED_P:g}$, d = {D}"
    left.legend(handles=panels.keys(shapes, about), loc="lower left", bbox_to_anchor=(0.0, 0.1))
    return figure


if __name__ == "__main__":
    run(__file__)
