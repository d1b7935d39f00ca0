"""Where the sliders stand, and what is computed there: spectrum, losses, and phase diagram."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..models.activations import SaturationWarning
from ..models.covariance import Atoms, Covariance, Isotropic
from ..models.covariance_laws import PowerLaw
from ..models.model import RandomFeatureModel
from ..numerics.checks import fraction, real_scalar
from ..numerics.types import Real, Vector
from ..plotting.curves import relaxation_times
from ..plotting.densities import inside
from ..spectra.spectrum import Spectrum, spectrum
from ..surveys.phase import phase_diagram
from ..training.early_stopping import EarlyStopping, early_stopping
from ..training.learning_curves import LearningCurve, learning_curve
from ..training.timescales import Timescales, timescales

if TYPE_CHECKING:
    import xarray

ACTIVATIONS = ("tanh", "erf", "sin", "relu", "gelu")
COVARIANCES = ("isotropic", "two atoms", "power law")
# points of a line on each bulk, and training times per decade
POINTS, PER_DECADE = 200, 12
# ψ_n and ψ_p of the phase diagram, and the budgets that it may be asked for
ENDS, CELLS = (0.5, 1024.0), 16
BUDGETS = (*(10.0**k for k in range(1, 9)), float("inf"))


@dataclass(frozen=True)
class Settings:
    """Where the sliders stand.

    Attributes
    ----------
    psi_p, psi_n, t : float
        Ratios p/d and n/d, and diffusion time, all above 0.
    activation : str
        One of `ACTIVATIONS`.
    covariance : str
        One of `COVARIANCES`, scaled to `trace`.
    trace : float
        Tr Σ/d > 0.
    ratio, share : float
        Of two atoms: larger over smaller eigenvalue, above 1, and share of the larger in (0, 1).
    exponent, cutoff : float
        Of the power law, as ``rf.PowerLaw`` takes them; here the cutoff is above 0.
    weight_decay : float
        γ ≥ 0.
    """

    psi_p: float = 64.0
    psi_n: float = 8.0
    t: float = 0.01
    activation: str = "tanh"
    covariance: str = "isotropic"
    trace: float = 1.0
    ratio: float = 3.0
    share: float = 0.5
    exponent: float = 1.0
    cutoff: float = 0.01
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.covariance not in COVARIANCES:
            known = ", ".join(COVARIANCES)
            raise ValueError(f"covariance must be one of {known}, got {self.covariance!r}")
        real_scalar("ratio", self.ratio, above=1.0)
        fraction("share", self.share)
        fraction("cutoff", self.cutoff)
        # the rest is checked by the model
        model_of(self)

    @property
    def law(self) -> Settings:
        """The same at one place, which stands for all: what a phase diagram depends on."""
        return replace(self, psi_p=1.0, psi_n=1.0)


def covariance_of(settings: Settings) -> Covariance:
    """Σ, scaled to the trace."""
    if settings.covariance == "isotropic":
        return Isotropic(settings.trace)
    if settings.covariance == "two atoms":
        law: Covariance = Atoms([1.0, settings.ratio], [1.0 - settings.share, settings.share])
    else:
        law = PowerLaw(settings.exponent, settings.cutoff)
    return law.normalised(settings.trace)


def model_of(settings: Settings) -> RandomFeatureModel:
    """The model."""
    return RandomFeatureModel(settings.psi_p, settings.psi_n, settings.t, **_options(settings))


def warnings_of(settings: Settings) -> list[str]:
    """What the model warns of."""
    # of the whole process, so that nothing is computed meanwhile
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model_of(settings)
    return [str(w.message) for w in caught if issubclass(w.category, SaturationWarning)]


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "activation": settings.activation,
        "covariance": covariance_of(settings),
        "weight_decay": settings.weight_decay,
    }


# --------------------------------------------------------------------------------------------------
# what is drawn


class Spectral(NamedTuple):
    """A spectrum and the points at which it is drawn."""

    spectrum: Spectrum
    columns: dict[str, Vector]


class Losses(NamedTuple):
    """A learning curve, when to stop, and the training times of the parts."""

    curve: LearningCurve
    stop: EarlyStopping
    times: Timescales


def spectral_of(settings: Settings) -> Spectral:
    """The spectrum, with λ, density and distribution on each bulk."""
    sp = spectrum(model_of(settings))
    x = np.concatenate([inside(float(b.lower), float(b.upper), POINTS) for b in sp.bulks])
    columns = {"lambda": x, "density": np.asarray(sp.density(x)), "cdf": np.asarray(sp.cdf(x))}
    return Spectral(sp, columns)


def losses_of(settings: Settings, sp: Spectrum) -> Losses:
    """The losses over `decades_of` training, with the best time."""
    first, last = decades_of(sp)
    tau = np.logspace(first, last, PER_DECADE * (last - first) + 1)
    model = model_of(settings)
    return Losses(
        learning_curve(model, tau), early_stopping(model), timescales(sp, rule="spectrum")
    )


def decades_of(sp: Spectrum) -> tuple[int, int]:
    """Powers of ten between which all modes relax, with a decade on either side."""
    fastest, slowest = relaxation_times(sp)
    return int(np.floor(np.log10(fastest))) - 1, int(np.ceil(np.log10(slowest))) + 1


def diagram_of(law: Settings) -> xarray.Dataset:
    """The phase diagram at all budgets, the same for all ψ_p and ψ_n."""
    grid = np.geomspace(*ENDS, CELLS)
    return phase_diagram(grid, grid, law.t, list(BUDGETS), **_options(law))


# --------------------------------------------------------------------------------------------------
# numbers beside the pictures


def bulk_rows(sp: Spectrum) -> Iterator[tuple[str, ...]]:
    """Part, edges, mass and drop of the train loss, from the largest eigenvalues."""
    columns = sp.columns()
    names = ("lower", "upper", "mass", "loss_drop")
    for i in reversed(range(len(columns["part"]))):
        numbers = (shown(columns[name][i]) for name in names)
        yield (columns["part"][i].replace("+", " + "), *numbers)
    if float(sp.atom.mass) > 0:
        yield ("atom", shown(sp.atom.location), "", shown(sp.atom.mass), "")


def time_rows(losses: Losses) -> Iterator[tuple[str, str]]:
    """Name and value of each training time."""
    times, stop = losses.times, losses.stop
    yield "τ_gen, end of the population", shown(times.tau_gen)
    yield "τ_mem, end of the sample", shown(times.tau_mem)
    yield "end of the satellite", shown(times.satellite)
    yield "best time τ*", shown(stop.tau)
    yield "window", f"{shown(stop.window.lower)} to {shown(stop.window.upper)}"
    yield "onset of the gap", shown(stop.onset)
    yield "test loss at τ*", shown(stop.test)
    yield "test loss at τ = ∞", shown(stop.test_limit)


def notes_of(spectral: Spectral, losses: Losses) -> list[str]:
    """What is particular, a sentence each."""
    found = [spectral.spectrum.reason, *losses.stop.notes()]
    return [f"{note[0].upper()}{note[1:]}." for note in found if note]


def shown(number: Real) -> str:
    """A number to four digits; "none" where there is none."""
    x = float(number)
    if np.isnan(x):
        return "none"
    return "∞" if np.isinf(x) else f"{x:.4g}"
