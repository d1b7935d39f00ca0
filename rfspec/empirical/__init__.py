"""The finite-size counterpart of the theory: sampled features, their spectra, their training;
same nouns.
"""

from .bands import Band
from .comparison import Comparison, CurveComparison, CurveDeviations, compare
from .deviations import Deviations
from .dynamics import Eigenbasis, eigenbasis, gradient_flow, trajectory
from .extrapolation import CurveExtrapolation, Extrapolation, SpectrumExtrapolation, extrapolate
from .features import FeatureMatrices, sample
from .matrix_free import Estimate, MatrixFreeSpectrum, matrix_free_spectrum
from .operators import feature_operator, gaussian_operator
from .ranks import EmpiricalAtom, EmpiricalBulk
from .spectra import EmpiricalSpectrum, of_matrices, spectrum
from .training import gradient_descent, learning_curve, train

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
    "MatrixFreeSpectrum",
    "SpectrumExtrapolation",
    "compare",
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
