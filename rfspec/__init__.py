"""rfspec: exact spectra, timescales and phase diagrams of random-feature score models of diffusion.

    import rfspec as rf
    model = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
    rf.spectrum(model), rf.timescales(model, rule="spectrum")

Each folder is a chapter and imports only from those before it; the arrows are the way of a model to
its answers:

    numerics ──> models ──> resolvent ──> spectra ──> training ──> surveys ──> io, plotting, cli
    files             │                                  │            │
                      ├──> algebraic (ground truth) ──> certificates  │
                      └──> empirical (sampled matrices) ──────────────┘

A number such as (6) in a docstring or comment is that of an equation in docs/theory.md.

Importing the package turns on double precision in JAX: the spectrum spans many orders of magnitude.
Its first computation has JAX keep compiled kernels on disk, where it does not yet (`rf.cache`).
"""

import jax

jax.config.update("jax_enable_x64", True)

from .models.activations import Activation, Polynomial, SaturationWarning
from .models.classes import Classes, Elliptical, of_class
from .models.covariance import Atoms, Covariance, Isotropic
from .models.covariance_laws import Density, Exponential, MarchenkoPastur, PowerLaw
from .models.from_data import FromData
from .models.gaussian_equivalent import GaussianEquivalent, gaussian_equivalent
from .models.heavy_tails import StudentT
from .models.kernels import Kernel
from .models.lengths import FewDimensionsWarning
from .models.mixtures import Mixture, Subspace
from .models.model import RandomFeatureModel
from .models.processes import (
    Cosine,
    FlowMatching,
    OrnsteinUhlenbeck,
    Process,
    VarianceExploding,
)
from .models.schedules import DDPM, Interpolant
from .numerics.kept import cache
from .resolvent.solver import ConvergenceError, Solution, solve
from .resolvent.two_point import TwoPoint, two_point
from .spectra.finite_d import SpectrumAtFiniteD
from .spectra.leading_order import leading_order
from .spectra.merging import MergingLine, MergingLines, merging_lines
from .spectra.of_models import spectrum
from .spectra.outlier import MeanOutlier, mean_outlier
from .spectra.spectrum import Bulk, Spectrum
from .spectra.support import Atom
from .surveys.constants_table import constants_table
from .surveys.double_descent import double_descent
from .training.best_decay import BestDecay, best_weight_decay
from .training.early_stopping import EarlyStopping, early_stopping, gap_onset
from .training.learning_curves import LearningCurve, learning_curve
from .training.scaling import Required, required
from .training.score_exponent import ScoreExponent, score_exponent
from .training.score_parts import ScoreParts
from .training.timescales import Timescales, clock, timescales

__version__ = "0.1.0"

__all__ = [
    "DDPM",
    "Activation",
    "Atom",
    "Atoms",
    "BestDecay",
    "Bulk",
    "Certificate",
    "Classes",
    "ConvergenceError",
    "Cosine",
    "Covariance",
    "Density",
    "EarlyStopping",
    "Elliptical",
    "Exponential",
    "FewDimensionsWarning",
    "FlowMatching",
    "FromData",
    "GaussianEquivalent",
    "HeldOut",
    "Interpolant",
    "Isotropic",
    "Kernel",
    "LearningCurve",
    "MarchenkoPastur",
    "MeanOutlier",
    "MergingLine",
    "MergingLines",
    "Mixture",
    "OrnsteinUhlenbeck",
    "Polynomial",
    "PowerLaw",
    "Prediction",
    "Process",
    "RandomFeatureModel",
    "Required",
    "SaturationWarning",
    "ScoreExponent",
    "ScoreParts",
    "Solution",
    "Spectrum",
    "SpectrumAtFiniteD",
    "StudentT",
    "Subspace",
    "Timescales",
    "TwoPoint",
    "VarianceExploding",
    "algebraic",
    "best_weight_decay",
    "cache",
    "certify",
    "clock",
    "compare",
    "constants_table",
    "double_descent",
    "early_stopping",
    "empirical",
    "gap_onset",
    "gaussian_equivalent",
    "held_out",
    "io",
    "leading_order",
    "learning_curve",
    "mean_outlier",
    "merging_lines",
    "of_class",
    "over_time",
    "phase_diagram",
    "plotting",
    "predict",
    "required",
    "score_exponent",
    "solve",
    "spectrum",
    "sweep",
    "timescales",
    "two_point",
]


# what needs matplotlib, sympy or optax is imported when it is first used: they cost more than the
# rest
_LAZY = {
    "empirical": ("empirical", None),
    "compare": ("empirical.comparison", "compare"),
    "plotting": ("plotting", None),
    "io": ("io", None),
    "algebraic": ("algebraic", None),
    "over_time": ("surveys.diffusion_times", "over_time"),
    "phase_diagram": ("surveys.phase", "phase_diagram"),
    "sweep": ("surveys.sweep", "sweep"),
    "certify": ("certificates.certificate", "certify"),
    "Certificate": ("certificates.certificate", "Certificate"),
    "predict": ("surveys.prediction", "predict"),
    "held_out": ("surveys.held_out_data", "held_out"),
    "Prediction": ("surveys.prediction", "Prediction"),
    "HeldOut": ("surveys.held_out_data", "HeldOut"),
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        import importlib

        module, attribute = _LAZY[name]
        loaded = importlib.import_module(f".{module}", __name__)
        return getattr(loaded, attribute) if attribute else loaded
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
