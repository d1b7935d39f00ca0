"""The finite-size counterpart of the theory: sampled features, their spectra, their training; same nouns."""

from .comparison import (
    Comparison,
    CurveComparison,
    CurveDeviations,
    CurveExtrapolation,
    Deviations,
    Extrapolation,
    SpectrumExtrapolation,
    compare,
    extrapolate,
)
from .dynamics import Eigenbasis, eigenbasis, gradient_flow, trajectory
from .features import FeatureMatrices, sample
from .matrix_free import Estimate, MatrixFreeSpectrum, matrix_free_spectrum
from .operators import feature_operator, gaussian_operator
from .spectra import Band, EmpiricalAtom, EmpiricalBulk, EmpiricalSpectrum, of_matrices, spectrum
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
