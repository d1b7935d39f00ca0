"""The finite-size counterpart of the theory: sampled features, their spectra, their training; same nouns."""

from .compare import Comparison, CurveComparison, compare
from .features import FeatureMatrices, sample
from .matrix_free import Estimate, MatrixFreeSpectrum, matrix_free_spectrum
from .operators import feature_operator, gaussian_operator
from .spectrum import EmpiricalSpectrum, spectrum
from .training import gradient_descent, gradient_flow, learning_curve

__all__ = [
    "Comparison",
    "CurveComparison",
    "EmpiricalSpectrum",
    "Estimate",
    "FeatureMatrices",
    "MatrixFreeSpectrum",
    "compare",
    "feature_operator",
    "gaussian_operator",
    "gradient_descent",
    "gradient_flow",
    "learning_curve",
    "matrix_free_spectrum",
    "sample",
    "spectrum",
]
