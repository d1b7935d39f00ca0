"""The finite-size counterpart of the theory: sampled features, their spectra, their training; same nouns."""

from .compare import Comparison, CurveComparison, compare
from .features import FeatureMatrices, sample
from .spectrum import EmpiricalSpectrum, spectrum
from .training import gradient_descent, gradient_flow, learning_curve

__all__ = [
    "Comparison",
    "CurveComparison",
    "EmpiricalSpectrum",
    "FeatureMatrices",
    "compare",
    "gradient_descent",
    "gradient_flow",
    "learning_curve",
    "sample",
    "spectrum",
]
