"""Ground truth: the exact curve of the resolvent, and a multi-precision twin of the solver.

Nothing here shares code with the JAX core. Both only read the numbers that a model was made from.
"""

from .averages import Constants, constants
from .branch_points import edges
from .curves import Explained, Losses, explained, explained_twice, losses
from .elimination import MAX_ATOMS, atom, curve, density, symbolic_curve
from .twin import Point, solve, two_point

__all__ = [
    "MAX_ATOMS",
    "Constants",
    "Explained",
    "Losses",
    "Point",
    "atom",
    "constants",
    "curve",
    "density",
    "edges",
    "explained",
    "explained_twice",
    "losses",
    "solve",
    "symbolic_curve",
    "two_point",
]
