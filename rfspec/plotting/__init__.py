"""Pictures of results: every function takes results and an optional axis, and returns the axis.

Spectra and learning curves are drawn alone or in families, of models too.
"""

from .curves import learning_curve
from .densities import inside, spectrum
from .mass_above import mass_above
from .phases import phase_diagram
from .style import COLORS, STYLE, style
from .times import over_time

__all__ = [
    "COLORS",
    "STYLE",
    "inside",
    "learning_curve",
    "mass_above",
    "over_time",
    "phase_diagram",
    "spectrum",
    "style",
]
