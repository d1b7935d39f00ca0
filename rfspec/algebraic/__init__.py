"""Ground truth: the exact algebraic curve of the resolvent and a multi-precision twin of the solver.

Nothing here shares code with the JAX core; both only read the numbers a model was made from.
"""

from .elimination import MAX_ATOMS, atom, curve, density, edges, symbolic_curve
from .numbers import Constants, constants
from .twin import Point, solve, two_point

__all__ = [
    "MAX_ATOMS",
    "Constants",
    "Point",
    "atom",
    "constants",
    "curve",
    "density",
    "edges",
    "solve",
    "symbolic_curve",
    "two_point",
]
