"""Exact phase diagrams with the lines on which parts of the spectrum merge.

Regions at one training budget, contours of the best time, the line beyond which the architecture
regularises (no end of training overfits), and where the bulks of U touch.
"""

import beyond as library
import matplotlib.pyplot as plt
import numpy as np
import panels
from recipe import run, state_of

import rfspec as rf

DIFFERS = "not in a paper: the lines are cube-root branch points of the exact equations"
T, TAU = (0.01, 0.1), 1e4
PSI, POINTS, LINE_POINTS, SEARCH = (1.0, 1000.0), 40, 121, 400
FAST = {"T": (0.1,), "POINTS": 5, "LINE_POINTS": 5, "SEARCH": 40}


def compute():
    made, grid = {}, np.geomspace(*PSI, POINTS)
    for t in T:
        state = state_of(f"beyond_merging_lines_{t:g}_{POINTS}")
        made[f"cells_{t:g}"] = library.plain_cells(
            rf.phase_diagram(grid, grid, t, TAU, checkpoint=state)
        )
        state.unlink(missing_ok=True)
        model = rf.RandomFeatureModel(1.0, 1.0, t)
        made[f"lines_{t:g}"] = library.merging(model, np.geomspace(*PSI, LINE_POINTS), PSI, SEARCH)
    return made


def draw(tables):
    figure, axes = plt.subplots(1, len(T), figsize=(5.2 * len(T) + 1.6, 4.6), squeeze=False)
    for ax, t in zip(axes[0], T, strict=True):
        rf.plotting.phase_diagram(tables[f"cells_{t:g}"], ax)
        panels.merging(ax, tables[f"lines_{t:g}"])
    panels.one_legend(figure, axes[0])
    return figure


if __name__ == "__main__":
    run(__file__)
