"""Fig. 5 of arXiv 2609.26392, middle and its inset: from benign to malign with more noise draws.

With one draw the test loss falls below its first minimum beyond the peak; with many it does not.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import ridge as library
from recipe import run

DIFFERS = (
    "the inset is a panel; samples are of the Gaussian equivalent, since tanh features tend "
    "to the limit slowly in d"
)
PSI_N, T, RIDGE = 8.0, 0.1, 1e-3
M = (1.0, 2.0, 4.0, 16.0, 64.0, float("inf"))
PSI_P, POINTS = (0.5, 8000.0), 141
SAMPLED, SAMPLED_M = (1.0, 4.0, 8.0, 32.0, 64.0, 128.0), (1.0, 4.0, 16.0)
P, D, REPEATS, SEED = 800, (4, 24), 4, 2
FAST = {
    "M": (1.0, 4.0), "POINTS": 9, "SAMPLED": (1.0, 4.0), "SAMPLED_M": (1.0,), "P": 60, "REPEATS": 2,
}  # fmt: skip


def compute():
    point = {"t": T, "ridge": RIDGE, "psi_n": PSI_N}
    exact = library.late_losses(**point, m=M, psi_p=np.geomspace(*PSI_P, POINTS))
    sampled = library.sampled_late_losses(
        SEED, P, D, REPEATS, "gaussian", **point, m=SAMPLED_M, psi_p=SAMPLED
    )
    return {"exact": exact, "gaussian": sampled}


def draw(tables):
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 3.8))
    colors = dict(zip(M, panels.shades(len(M)), strict=True))
    shapes = dict(zip(SAMPLED_M, panels.MARKERS, strict=False))
    for ax, kind in zip(axes, ("test", "train"), strict=True):
        for (m,), one in panels.members(tables["exact"], "m"):
            name = r"\infty" if np.isinf(m) else f"{m:g}"
            ax.plot(one.psi_p, one[kind], color=colors[m], label=f"$m = {name}$")
        for (m,), one in panels.members(tables["gaussian"], "m"):
            panels.measured(ax, one, "psi_p", kind, colors[m], shapes[m])
        ax.set_xscale("log")
        ax.set_ylim(0, None)
        ax.set_xlabel(r"$\psi_p = p/d$")
        ax.set_ylabel(rf"{kind} loss at $\tau = \infty$")
        panels.place(ax, PSI_N, "$p = n$")
    axes[0].set_title(rf"$\psi_n = {PSI_N:g}$, $t = {T:g}$, $\lambda = 10^{{-3}}$")
    axes[1].set_title("markers: samples, d from 6 to 24")
    axes[0].legend(loc="upper left")
    return figure


if __name__ == "__main__":
    run(__file__)
