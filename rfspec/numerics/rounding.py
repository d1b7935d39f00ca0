"""The rounding unit of double precision, in which claimed errors are counted."""

import numpy as np

EPS = float(np.finfo(float).eps)
