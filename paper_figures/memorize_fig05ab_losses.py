"""Fig. 5 A, B of arXiv 2505.17638: score error and losses over training, several n.

Above over the training time τ, below over τ/τ_mem, where the curves of all n begin to memorise at
the same place. Lines are exact.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import tables as library
from recipe import run

import rfspec as rf

DIFFERS = (
    "exact curves at d = ∞ under samples at d = 24, where the paper has tanh features at d = 100 "
    "only; τ_mem is the onset of the gap; the insets are panels"
)
PSI_P, T = 64.0, 0.1
PSI_N = (4.0, 8.0, 16.0, 32.0)
TAU, POINTS = (1.0, 1e7), 121
D, SAMPLED_POINTS, REPEATS, SEED = 24, 15, 2, 0
FAST = {"PSI_N": (4.0, 8.0), "POINTS": 31, "D": 4, "SAMPLED_POINTS": 8}


def compute():
    models = [rf.RandomFeatureModel(PSI_P, psi_n, T) for psi_n in PSI_N]
    along, coarse = ("psi_n", PSI_N), np.geomspace(*TAU, SAMPLED_POINTS)
    sampled = {
        kind: library.sampled_losses(SEED, models, along, coarse, D, kind=kind, repeats=REPEATS)
        for kind in ("gaussian", "features")
    }
    return {"exact": library.losses(models, along, np.geomspace(*TAU, POINTS)), **sampled}


def draw(tables):
    exact, gaussian, features = (tables[name] for name in ("exact", "gaussian", "features"))
    figure, axes = plt.subplots(2, 2, figsize=(10.0, 7.0))
    for i, color in enumerate(panels.shades(exact.sizes["psi_n"])):
        one, sample, other = (table.isel(psi_n=i) for table in (exact, gaussian, features))
        label = rf"$\psi_n = {float(one.psi_n):g}$"
        for row, unit in enumerate((1.0, float(one.tau_mem))):
            panels.curves(axes[row, 0], one, ["score_error"], color, unit, label)
            panels.curves(axes[row, 1], one, ["test", "train"], color, unit, label)
        panels.points(axes[0, 0], sample, "score_error", color)
        panels.points(axes[0, 0], other, "score_error", color, "x")
        for kind in ("test", "train"):
            panels.points(axes[0, 1], sample, kind, color)
    for left, right in axes:
        left.set_yscale("log")
        left.set_ylabel(r"$E_\mathrm{score}$")
        right.set_ylabel("loss")
    for ax in axes[0]:
        panels.over_training(ax)
    for ax in axes[1]:
        panels.over_training(ax, r"$\tau/\tau_\mathrm{mem}$")
        ax.axvline(1.0, color="0.6", lw=0.8, zorder=0)
    _legends(axes)
    return figure


def _legends(axes):
    axes[0, 0].set_title(rf"$\psi_p = {PSI_P:g}$, $t = {T:g}$")
    axes[0, 1].set_title("test (solid) and train (dashed)")
    for ax in axes[1]:
        ax.set_title("rescaled by the onset of memorisation")
    axes[0, 1].legend(loc="upper left")
    shapes = {"o": "Gaussian equivalent", "x": "tanh features"}
    axes[0, 0].legend(handles=panels.keys(shapes, f", d = {D}"), loc="upper left")


if __name__ == "__main__":
    run(__file__)
