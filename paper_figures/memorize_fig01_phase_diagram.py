"""Fig. 1 of arXiv 2505.17638: memorisation, early stopping and architectural regularisation.

The regions over n and p at two training budgets.
"""

import matplotlib.pyplot as plt
import numpy as np
from recipe import run, state_of

import rfspec as rf

DIFFERS = "exact cells of the random-feature model, where the paper has a sketch and trained U-Nets"
T = 0.01
TAU = (1e3, 1e5)
LARGEST = 1000.0
POINTS = 48
KEPT = ["region", "test", "test_star", "test_limit", "tau_star", "tau_mem"]
FAST = {"POINTS": 6}


def compute():
    grid, state = np.geomspace(1.0, LARGEST, POINTS), state_of("memorize_fig01_phase_diagram")
    found = rf.phase_diagram(grid, grid, T, TAU, checkpoint=state, progress=True)
    state.unlink(missing_ok=True)
    return {"": found[KEPT]}


def draw(tables):
    cells = tables[""]
    figure, axes = plt.subplots(1, 2, figsize=(11.0, 3.8))
    for ax, tau in zip(axes, cells.tau.values, strict=True):
        rf.plotting.phase_diagram(cells.sel(tau=tau), ax)
    axes[0].get_legend().remove()
    return figure


if __name__ == "__main__":
    run(__file__)
