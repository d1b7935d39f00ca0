"""Theory against real digits: losses along training for three activations and three times.

The theory knows n, d and the covariance of the packaged 8×8 images, as if they were Gaussian.
Gaussian data of that covariance tell what is due to d = 64. docs/real_data.md reads the picture.
"""

import digits as library
import matplotlib.pyplot as plt
import numpy as np
import panels
from recipe import run, state_of

DIFFERS = "not in a paper: whether a theory of Gaussian data says anything about images"
ACTIVATIONS = ("tanh", "erf", "relu")
TIMES = (0.01, 0.1, 1.0)
PSI_P = 16.0
DRAWS = 4
FIRST, LAST, POINTS = 1.0, 1e6, 25
FAST = {"ACTIVATIONS": ("tanh",), "TIMES": (0.1,), "PSI_P": 1.0, "DRAWS": 2}


def compute():
    tau, state = np.geomspace(FIRST, LAST, POINTS), state_of("beyond_real_digits")
    found = library.draw_by_draw(ACTIVATIONS, TIMES, PSI_P, tau, DRAWS, state)
    return {"draws": found, "means": library.over_draws(found)}


def draw(tables):
    means = tables["means"]
    grid = len(ACTIVATIONS), len(TIMES)
    figure, axes = plt.subplots(*grid, figsize=(11.0, 2.7 * grid[0] + 0.7), squeeze=False)
    for row, activation in zip(axes, ACTIVATIONS, strict=True):
        for ax, t in zip(row, TIMES, strict=True):
            panels.prediction(ax, means.sel(activation=activation, t=t))
            ax.set_title(f"{activation}, $t = {t:g}$")
    for ax in axes[:, 0]:
        ax.set_ylabel("loss")
    for ax in axes[-1]:
        panels.over_training(ax)
    panels.one_legend(figure, axes[0, 0])
    return figure


if __name__ == "__main__":
    run(__file__)
