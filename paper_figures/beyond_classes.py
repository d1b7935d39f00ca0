"""Which of two classes is memorised first, and whether its time grows with n.

A tenth of the data is of a class that has directions of its own. It is memorised several times
earlier than the other nine tenths, and both times grow with n until n comes near to p.
"""

import classes as library
import matplotlib.pyplot as plt
import numpy as np
import panels
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from recipe import run

import rfspec as rf

DIFFERS = "not in a paper: exact losses of each class of a mixture, and samples of them"
SHARES, VARIANCES = (0.9, 0.1), ((1.8, 0.2), (0.2, 1.8))
PSI_P, PSI_N, T = 64.0, 8.0, 0.05
TAU, POINTS, SAMPLED_POINTS = (1.0, 1e6), 121, 16
N, N_POINTS, WIDE = (2.0, 64.0), 21, 512.0
SAMPLED_N = (4.0, 8.0, 16.0, 32.0)
D, REPEATS, SEED = 16, 6, 0
FAST = {"POINTS": 9, "N_POINTS": 3, "SAMPLED_N": (4.0,), "D": 4, "REPEATS": 2}


def compute():
    data = rf.Classes(SHARES, VARIANCES)
    model = rf.RandomFeatureModel(PSI_P, PSI_N, T, covariance=data)
    samples = {"kind": "gaussian", "repeats": REPEATS}
    made = {
        "exact": library.losses(model, np.geomspace(*TAU, POINTS)),
        "sampled": library.sampled_losses(
            SEED, model, np.geomspace(*TAU, SAMPLED_POINTS), D, **samples
        ),
    }
    psi_n = np.geomspace(*N, N_POINTS)
    for psi_p in (PSI_P, WIDE):
        models = [model.replace(psi_p=psi_p, psi_n=x) for x in psi_n]
        made[f"times_{psi_p:g}"] = library.times(models, ("psi_n", psi_n))
    sampled = [model.replace(psi_n=x) for x in SAMPLED_N]
    tau = np.geomspace(*TAU, 20 * POINTS)
    made["times_sampled"] = library.sampled_onsets(
        SEED, sampled, ("psi_n", SAMPLED_N), tau, D, **samples
    )
    return made


COLORS = ("#0072B2", "#D55E00")
NAMES = ("common class, 90 %", "rare class, 10 %")
DASHES = (0, (4, 2))


def draw(tables):
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.9))
    axes[1].sharey(axes[0])
    of_classes = [{"class": i} for i in range(2)]
    for ax, color, name, which in zip(axes, COLORS, NAMES, of_classes, strict=False):
        losses_of(ax, tables["exact"].isel(which), tables["sampled"].isel(which), color)
        ax.set_title(
            f"{name}, " + rf"$\psi_p = {PSI_P:g}$, $\psi_n = {PSI_N:g}$", fontsize="medium"
        )
    axes[0].set_ylabel("loss of the class")
    axes[0].set_ylim(0.2, 20.0)
    axes[1].tick_params(labelleft=False)
    over_n(axes[2], tables)
    figure.legend(handles=shared_keys(), loc="outside lower center", ncol=8)
    return figure


def losses_of(ax, exact, sampled, color):
    panels.curves(ax, exact, ["train", "test"], color, 1.0, "_")
    for kind, marker in (("train", "o"), ("test", "s")):
        panels.points(ax, sampled, kind, color, marker)
    ax.plot(exact.best, exact.best_test, "*", color="black", ms=10, zorder=5)
    panels.place(ax, float(exact.onset), r"$\tau_\mathrm{mem}$")
    panels.over_training(ax)
    ax.set_yscale("log")
    ax.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    ax.yaxis.set_minor_locator(NullLocator())


def over_n(ax, tables):
    for psi_p, ls in ((PSI_P, "-"), (WIDE, "-.")):
        times = tables[f"times_{psi_p:g}"]
        for i, color in enumerate(COLORS):
            ax.plot(times.psi_n, times.onset.isel({"class": i}), color=color, ls=ls)
        ax.plot([], [], color="0.25", ls=ls, label=rf"$\psi_p = {psi_p:g}$")
    for i, color in enumerate(COLORS):
        panels.measured(ax, tables["times_sampled"].isel({"class": i}), "psi_n", "onset", color)
    ends = np.array(N)
    ax.plot(ends, 2500.0 * ends, color="0.6", lw=1.0, ls=":", label=r"$\propto n$")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks([2, 4, 8, 16, 32, 64], ["2", "4", "8", "16", "32", "64"])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(r"$\psi_n = n/d$")
    ax.set_ylabel(r"$\tau_\mathrm{mem}$ of the class")
    ax.set_title("when each class is memorised", fontsize="medium")
    ax.legend(loc="lower right")


def shared_keys():
    grey = "0.25"
    star = Line2D([], [], ls="", marker="*", color="black", ms=10, label="best time of the class")
    return [
        Line2D([], [], color=grey, label="train loss"),
        Line2D([], [], color=grey, ls=DASHES, label="test loss"),
        star,
        *panels.keys(
            {"o": f"train loss and times of samples, d = {D}", "s": "test loss of samples"}
        ),
    ]


if __name__ == "__main__":
    run(__file__)
