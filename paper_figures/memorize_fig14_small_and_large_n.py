"""Fig. 14 of arXiv 2505.17638: theory against samples at a small and at a larger n.

Left the spectrum of U over its sampled eigenvalues, right the losses along training.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import tables as library
from recipe import run

import rfspec as rf

DIFFERS = (
    "spectra and losses of both n at t = 0.1, whichever of them the paper shows; exact, over "
    "samples at d = 24 of the Gaussian equivalent and of tanh features"
)
PSI_P, T = 64.0, 0.1
PSI_N = (8.0, 32.0)
TAU, POINTS = (1.0, 1e7), 121
D, BINS, SAMPLED_POINTS, REPEATS, SEED = 24, 80, 15, 2, 0
FAST = {"D": 4, "BINS": 20, "POINTS": 31, "SAMPLED_POINTS": 8}


def compute():
    models = [rf.RandomFeatureModel(PSI_P, psi_n, T) for psi_n in PSI_N]
    along, coarse = ("psi_n", PSI_N), np.geomspace(*TAU, SAMPLED_POINTS)
    made = library.spectra_and_samples(SEED, models, {"psi_n": PSI_N}, D, BINS)
    made["losses"] = library.losses(models, along, np.geomspace(*TAU, POINTS))
    for kind in ("gaussian", "features"):
        made[f"losses_{kind}"] = library.sampled_losses(
            SEED, models, along, coarse, D, kind=kind, repeats=REPEATS
        )
    return made


def draw(tables):
    figure, axes = plt.subplots(2, 2, figsize=(10.0, 6.6))
    sampled = f"Gaussian equivalent, d = {D}"
    panels.small_spectra(axes[:, :1], tables["exact"], tables["gaussian"], sampled)
    for i, (left, right) in enumerate(axes):
        one = tables["losses"].isel(psi_n=i)
        title = rf"$\psi_p = {PSI_P:g}$, $\psi_n = {float(one.psi_n):g}$, $t = {T:g}$"
        left.set_title(title)
        for kind, color, ls in (("test", "black", "-"), ("train", "0.5", (0, (4, 2)))):
            right.plot(one.tau, one[kind], color=color, ls=ls, label=f"{kind}, exact")
            for table, marker in (("gaussian", "o"), ("features", "x")):
                sample = tables[f"losses_{table}"].isel(psi_n=i)
                panels.points(right, sample, kind, color, marker)
        right.set_ylabel("loss")
        right.set_title(title)
        panels.over_training(right)
    for ax in axes[:, 0]:
        ax.legend(loc="upper right")
    shapes = {"o": "Gaussian equivalent", "x": "tanh features"}
    lines = axes[0, 1].get_legend_handles_labels()[0]
    axes[0, 1].legend(handles=lines[:2] + panels.keys(shapes, f", d = {D}"), loc="upper left")
    return figure


if __name__ == "__main__":
    run(__file__)
