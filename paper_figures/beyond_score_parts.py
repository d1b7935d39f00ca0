"""Why a score is off, at every time of training: bias, and variance from features, data and draws.

With two draws of the noise most of the variance is from these draws. The bias falls, and grows
again when the mean score begins to follow the samples.
"""

import features as library
import matplotlib.pyplot as plt
import numpy as np
import xarray
from recipe import run

import rfspec as rf

DIFFERS = "not in a paper, which have bias and variance at the end of training for Σ = I"
PSI_P, PSI_N, T, DRAWS = 4.0, 3.0, 0.1, 2
VALUES = (0.5, 1.5)
TAU, POINTS, SAMPLED_POINTS = (0.1, 1e4), 101, 11
D, REPEATS, SEED = 60, 12, 0
FAST = {"POINTS": 9, "SAMPLED_POINTS": 3, "D": 8, "REPEATS": 2}

LOSSES = ("train", "empirical", "test")
PARTS = ("bias2", "of_features", "of_data", "of_noise")


def compute():
    sigma = rf.Atoms(VALUES, [1 / len(VALUES)] * len(VALUES))
    model = rf.RandomFeatureModel(PSI_P, PSI_N, T, covariance=sigma, noise_draws=DRAWS)
    curve = rf.learning_curve(model, np.geomspace(*TAU, POINTS))
    parts, stop = curve.score_parts, rf.early_stopping(model)
    columns = {name: ("tau", np.asarray(getattr(curve, name))) for name in LOSSES}
    columns |= {name: ("tau", np.asarray(getattr(parts, name))) for name in PARTS}
    exact = xarray.Dataset(
        {**columns, "best": float(stop.tau), "best_test": float(stop.test)},
        {"tau": np.asarray(curve.tau)},
    )
    taus = np.geomspace(*TAU, SAMPLED_POINTS)
    return {
        "exact": exact,
        "sampled": library.score_parts(model, taus, D, repeats=REPEATS, seed=SEED),
    }


COLORS = {
    "train": "#0072B2",
    "empirical": "#009E73",
    "test": "#D55E00",
    "bias2": "black",
    "of_features": "#CC79A7",
    "of_data": "#56B4E9",
    "of_noise": "#E69F00",
}
NAMES = {
    "train": "train loss",
    "empirical": "loss over all noise",
    "test": "test loss",
    "bias2": r"bias$^2$",
    "of_features": "variance from features",
    "of_data": "variance from data",
    "of_noise": "variance from draws of the noise",
}


def draw(tables):
    exact, sampled = tables["exact"], tables["sampled"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.8))
    for ax, names in ((left, LOSSES), (right, PARTS)):
        for name in names:
            ax.plot(exact.tau, exact[name], color=COLORS[name], label=NAMES[name])
        ax.set_xscale("log")
        ax.set_xlabel(r"training time $\tau = k\eta/d^2$")
    left.plot(exact.best, exact.best_test, "*", color="black", ms=10, label="best time")
    for name in PARTS:
        right.plot(sampled.tau, sampled[name], "o", color=COLORS[name], ms=4)
    right.plot([], [], "o", color="0.25", ms=4, label=f"sampled, d = {D}")
    right.axvline(float(exact.best), color="0.6", lw=1.0, ls=":", zorder=0)
    left.set_ylabel("loss")
    right.set_ylabel("part of the score error")
    right.set_yscale("log")
    right.set_ylim(1e-3, 100.0)
    title = rf"$\psi_p = {PSI_P:g}$, $\psi_n = {PSI_N:g}$, $t = {T:g}$, $m = {DRAWS}$"
    left.set_title(title, fontsize="medium")
    for ax in (left, right):
        ax.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    run(__file__)
