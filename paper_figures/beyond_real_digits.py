"""Theory against real digits: losses along training for three activations and three times.

The theory knows n, d and the covariance of the packaged 8×8 images, as if they were Gaussian.
Gaussian data of that covariance tell what is due to that. docs/real_data.md reads the picture, and
`python paper_figures/digits.py` makes its predictions anew from the measured numbers that are kept.
"""

import numpy as np
import panels
from measured import digits_of, measured
from predictions import both
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
    cases = digits_of, ACTIVATIONS, TIMES, PSI_P, tau, DRAWS
    return both(digits_of, PSI_P, measured(*cases, state, gaussian=True))


def draw(tables):
    return panels.predictions(tables["means"], "digits")


if __name__ == "__main__":
    run(__file__)
