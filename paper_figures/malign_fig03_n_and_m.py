"""Fig. 3 of arXiv 2609.26392, left and middle: what n and m do to the double descent.

Below p = n the test loss depends on p alone, between n and nm on p/n, and the peak is at p = nm.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import ridge as library
from recipe import run

DIFFERS = (
    "the values of n and m are chosen here; exact lines over samples of the Gaussian equivalent, "
    "where the paper has tanh features"
)
PSI_N, M, T, RIDGE = (4.0, 16.0, 64.0), (4.0, 16.0), 0.1, 1e-3
PSI_P, POINTS = (0.5, 8000.0), 81
SAMPLED, SAMPLED_N = (1.0, 4.0, 16.0, 64.0, 128.0), (4.0, 16.0)
P, D, REPEATS, SEED = 800, (4, 24), 4, 1
FAST = {
    "PSI_N": (4.0,), "POINTS": 9, "SAMPLED": (1.0, 4.0), "SAMPLED_N": (4.0,), "P": 60, "REPEATS": 2,
}  # fmt: skip


def compute():
    point = {"t": T, "ridge": RIDGE, "m": M}
    exact = library.late_losses(**point, psi_n=PSI_N, psi_p=np.geomspace(*PSI_P, POINTS))
    sampled = library.sampled_late_losses(
        SEED, P, D, REPEATS, "gaussian", **point, psi_n=SAMPLED_N, psi_p=SAMPLED
    )
    return {"exact": exact, "gaussian": sampled}


def draw(tables):
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.8), sharey=True)
    colors = dict(zip(PSI_N, panels.shades(len(PSI_N)), strict=True))
    looks = dict(zip(M, (("-", "o"), ((0, (4, 2)), "s")), strict=True))
    for (psi_n, m), one in panels.members(tables["exact"], "psi_n", "m"):
        label = rf"$\psi_n = {psi_n:g}$, $m = {m:g}$"
        for ax, unit in zip(axes, (1.0, psi_n, psi_n * m), strict=True):
            ax.plot(one.psi_p / unit, one.test, color=colors[psi_n], ls=looks[m][0], label=label)
    for (psi_n, m), one in panels.members(tables["gaussian"], "psi_n", "m"):
        panels.measured(axes[0], one, "psi_p", "test", colors[psi_n], looks[m][1])
    names = (r"$\psi_p$", r"$\psi_p/\psi_n = p/n$", r"$\psi_p/(\psi_n m) = p/nm$")
    for ax, name in zip(axes, names, strict=True):
        ax.set_xscale("log")
        ax.set_xlabel(name)
    for ax, name in zip(axes[1:], ("p = n", "p = nm"), strict=True):
        panels.place(ax, 1.0, f"${name}$")
    axes[0].set_ylabel(r"test loss at $\tau = \infty$")
    axes[0].set_title(rf"$t = {T:g}$, $\lambda = 10^{{-3}}$; markers: samples, d from 6 to 24")
    panels.shared_legend(figure, axes[:1])
    return figure


if __name__ == "__main__":
    run(__file__)
