"""The finite-size counterpart of the theory, under the same nouns: sampled features, their spectra,
their training.
"""

from .bands import Band
from .comparison import Comparison, compare
from .conditional import conditional_curve
from .conditional_of_moments import conditional_curve_of
from .curve_comparison import CurveComparison, CurveDeviations
from .deviations import Deviations
from .dynamics import Eigenbasis, eigenbasis, gradient_flow, trajectory
from .estimates import Estimate
from .extrapolation import CurveExtrapolation, Extrapolation, SpectrumExtrapolation, extrapolate
from .feature_matrices import FeatureMatrices
from .feature_products import feature_operator
from .features import sample
from .gaussian_products import gaussian_operator
from .matrix_free import MatrixFreeSpectrum, matrix_free_spectrum
from .ranks import EmpiricalAtom, EmpiricalBulk
from .sampled_curves import learning_curve
from .sampled_spectra import of_matrices, spectrum
from .spectra import EmpiricalSpectrum
from .steps import LongRunWarning
from .training import gradient_descent, train

__all__ = [
    "Band",
    "Comparison",
    "CurveComparison",
    "CurveDeviations",
    "CurveExtrapolation",
    "Deviations",
    "Eigenbasis",
    "EmpiricalAtom",
    "EmpiricalBulk",
    "EmpiricalSpectrum",
    "Estimate",
    "Extrapolation",
    "FeatureMatrices",
    "LongRunWarning",
    "MatrixFreeSpectrum",
    "SpectrumExtrapolation",
    "compare",
    "conditional_curve",
    "conditional_curve_of",
    "eigenbasis",
    "extrapolate",
    "feature_operator",
    "gaussian_operator",
    "gradient_descent",
    "gradient_flow",
    "learning_curve",
    "matrix_free_spectrum",
    "of_matrices",
    "sample",
    "spectrum",
    "train",
    "trajectory",
]
