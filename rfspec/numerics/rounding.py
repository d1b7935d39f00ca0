"""The rounding of double precision, which every claimed error is made of."""

import numpy as np

EPS = float(np.finfo(float).eps)
