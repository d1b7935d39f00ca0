"""Fig. 15 of arXiv 2505.17638: memorisation takes a time proportional to n, whatever the method.

The generalisation gap of sampled features over τ/n under gradient descent, heavy-ball momentum and
Adam. The first two are exact at every step, and their gap is a share of its limit τ → ∞; Adam takes
its steps, ends elsewhere, and its gap is shown as it is. Bands are one standard error.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import tables as library
from recipe import run

import rfspec as rf

DIFFERS = (
    "gradient descent and heavy ball beside the paper's Adam; sampled features at d = 12, whose "
    "rows have one length, where the paper has d = 100"
)
PSI_P, T = 64.0, 0.01
PSI_N = (4.0, 8.0, 16.0)
# learning rate, and span of τ/n in units of 1/d
METHODS = {"gd": (30.0, 3e2, 1e5), "momentum": (3.0, 3e1, 1e4), "adam": (0.02, 3e-3, 0.2)}
POINTS, D, REPEATS, SEED = 25, 12, 3, 0
FAST = {"PSI_N": (4.0, 8.0), "POINTS": 8, "D": 4, "REPEATS": 2}


def compute():
    models = [rf.RandomFeatureModel(PSI_P, psi_n, T) for psi_n in PSI_N]
    made = {}
    for method, (rate, first, last) in METHODS.items():
        how = {"optimizer": method, "learning_rate": rate, "rows": "spherical", "repeats": REPEATS}
        tau_per_n = np.geomspace(first, last, POINTS) / D
        made[method] = library.optimizers(SEED, models, ("psi_n", PSI_N), tau_per_n, D, **how)
    return made


# ends of the axes: what is to be compared is where memorisation begins
ENDS = {"gd": (1e4, 0.5), "momentum": (1e3, 0.5), "adam": (1e-2, 3.0)}
TITLES = {"gd": "gradient descent", "momentum": "heavy ball, μ = 0.9", "adam": "Adam"}


def draw(tables):
    figure, axes = plt.subplots(1, 3, figsize=(11.0, 3.6))
    for ax, (method, title) in zip(axes, TITLES.items(), strict=True):
        shown = "gap" if method == "adam" else "share"
        for i, color in enumerate(panels.shades(tables[method].sizes["psi_n"])):
            one = tables[method].isel(psi_n=i)
            gap, error = one[shown], one[f"{shown}_error"]
            label = rf"$\psi_n = {float(one.psi_n):g}$"
            ax.plot(one.tau_per_n, gap, color=color, marker=panels.MARKERS[i], ms=3.5, label=label)
            ax.fill_between(one.tau_per_n, gap - error, gap + error, color=color, alpha=0.25, lw=0)
        panels.over_training(ax, r"$\tau/n$, $\tau = k\eta/d^2$")
        ax.set_xlim(None, ENDS[method][0])
        ax.set_ylim(0.0, ENDS[method][1])
        ax.set_ylabel(r"$L_\mathrm{gen}$" if shown == "gap" else r"$L_\mathrm{gen}$ over its limit")
        ax.set_title(title)
    axes[0].legend()
    return figure


if __name__ == "__main__":
    run(__file__)
