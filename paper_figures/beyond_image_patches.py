"""Theory against natural images: losses along training on patches of two photographs.

The 16×16 grey patches are of the photographs that scikit-learn ships; a draw takes its own, as many
to test on as to train on. docs/real_data.md reads the picture, and `python paper_figures/digits.py`
makes its predictions anew from the measured numbers that are kept.
"""

import numpy as np
import panels
from measured import measured, patches_of
from predictions import both
from recipe import run, state_of

DIFFERS = "not in a paper: what the few large eigenvalues and heavy tails of natural images do"
ACTIVATIONS = ("tanh", "erf", "relu")
TIMES = (0.01, 0.1, 1.0)
PSI_P, SAMPLES = 4.0, 4096
# values of the norm in the theory that knows norms
NORMS = 12
DRAWS = 4
FIRST, LAST, POINTS = 1.0, 1e6, 25
FAST = {"ACTIVATIONS": ("tanh",), "TIMES": (0.1,), "PSI_P": 0.25, "SAMPLES": 256, "DRAWS": 2}


def compute():
    tau, state = np.geomspace(FIRST, LAST, POINTS), state_of("beyond_image_patches")
    cases = patches_of(SAMPLES), ACTIVATIONS, TIMES, PSI_P, tau, DRAWS
    return both(patches_of(SAMPLES), PSI_P, measured(*cases, state), NORMS)


def draw(tables):
    return panels.predictions(tables["means"], "patches")


if __name__ == "__main__":
    run(__file__)
