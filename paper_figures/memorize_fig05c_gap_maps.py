"""Fig. 5 C of arXiv 2505.17638: the generalisation gap over n and p at two training times.

The map is exact; disks are samples in the colours of the map.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import tables as library
from recipe import run, state_of

import rfspec as rf

DIFFERS = (
    "the map is exact theory; the paper has simulations of tanh features only, here one of the "
    "Gaussian equivalent at d = 16 for each disk"
)
T, TAU = 0.1, (1e3, 1e4)
LARGEST, POINTS = 128.0, 36
SAMPLED = (1.0, 4.0, 16.0, 64.0)
D, SEED = 16, 0
FAST = {"POINTS": 6, "SAMPLED": (4.0,), "D": 4}


def compute():
    grid, state = np.geomspace(0.5, LARGEST, POINTS), state_of("memorize_fig05c_gap_maps")
    found = rf.phase_diagram(grid, grid, T, TAU, checkpoint=state, progress=True)
    state.unlink(missing_ok=True)
    sampled = library.sampled_gaps(SEED, SAMPLED, SAMPLED, T, TAU, D, kind="gaussian")
    return {"exact": found[["gap"]], "gaussian": sampled}


def draw(tables):
    gap, sampled = tables["exact"].gap, tables["gaussian"].gap
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.2))
    limits = {"vmin": 1e-3, "vmax": float(gap.max())}
    for ax, tau in zip(axes, gap.tau.values, strict=True):
        label = r"$L_\mathrm{gen} = L_\mathrm{test} - L_\mathrm{train}$"
        mesh = panels.heat_map(ax, gap.sel(tau=tau), label, **limits)
        panels.levels(ax, gap.sel(tau=tau), [0.01, 0.1, 1.0])
        panels.on_the_map(ax, mesh, sampled.sel(tau=tau))
        ax.set_title(rf"$\tau = 10^{{{np.log10(tau):g}}}$, $t = {T:g}$; disks: samples, d = {D}")
    return figure


if __name__ == "__main__":
    run(__file__)
