"""Fig. 6 of arXiv 2609.26392, left and its inset: the best ridge makes large models the best.

The lower envelope over all ridges (black) falls with p, where each single ridge has its minimum.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import ridge as library
from matplotlib.ticker import LogLocator
from recipe import run

DIFFERS = (
    "the inset is a panel, and the ridge that is best is shown too; the values of λ are chosen here"
)
PSI_N, T, M = 8.0, 0.1, (16.0, 1.0)
RIDGES, RIDGE_POINTS = (1e-4, 1e4), 97
# every so many ridges have a line
EVERY = 12
PSI_P, POINTS = (0.5, 8000.0), 65
SAMPLED, SAMPLED_RIDGES = (2.0, 8.0, 32.0, 128.0), (1e-2, 1.0)
P, D, REPEATS, SEED = 800, (4, 24), 4, 3
FAST = {
    "M": (16.0, 1.0), "RIDGE_POINTS": 4, "EVERY": 3, "POINTS": 9, "SAMPLED": (1.0, 4.0),
    "SAMPLED_RIDGES": (0.1,), "P": 60, "REPEATS": 2,
}  # fmt: skip


def compute():
    point, psi_p = {"t": T, "psi_n": PSI_N, "m": M}, np.geomspace(*PSI_P, POINTS)
    exact = library.late_losses(**point, ridge=np.geomspace(*RIDGES, RIDGE_POINTS), psi_p=psi_p)
    sampled = library.sampled_late_losses(
        SEED, P, D, REPEATS, "gaussian", **point, ridge=SAMPLED_RIDGES, psi_p=SAMPLED
    )
    shown = exact.isel(ridge=slice(None, None, EVERY))
    return {"exact": shown, "gaussian": sampled, "envelope": library.envelope(exact)}


def draw(tables):
    exact, envelope = tables["exact"], tables["envelope"]
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.8))
    colors = panels.shades(exact.sizes["ridge"])
    for ax, m in zip(axes, M, strict=False):
        for color, ((ridge,), one) in zip(
            colors, panels.members(exact.sel(m=m), "ridge"), strict=True
        ):
            power = rf"10^{{{np.log10(ridge):.0f}}}"
            ax.plot(one.psi_p, one.test, color=color, label=rf"$\lambda = {power}$")
        best = envelope.sel(m=m)
        ax.plot(best.psi_p, best.test, color="black", lw=2.2, label="best of all")
        axes[2].plot(best.psi_p, best.best_ridge, label=f"$m = {m:g}$")
        for marker, (_, one) in zip(
            panels.MARKERS, panels.members(tables["gaussian"].sel(m=m), "ridge"), strict=False
        ):
            panels.measured(ax, one, "psi_p", "test", "0.35", marker)
        ax.set_title(rf"$m = {m:g}$, $\psi_n = {PSI_N:g}$, $t = {T:g}$")
        ax.set_ylabel(r"test loss at $\tau = \infty$")
        ax.set_ylim(0.8, 1.5)
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xlabel(r"$\psi_p = p/d$")
    axes[2].set_yscale("log")
    axes[2].yaxis.set_major_locator(LogLocator())
    axes[2].set_ylabel(r"best ridge $\lambda$")
    axes[2].set_title("the ridge that is best")
    axes[2].legend()
    panels.one_legend(figure, axes[:1], 10)
    return figure


if __name__ == "__main__":
    run(__file__)
