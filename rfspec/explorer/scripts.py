"""The Python lines that make what is shown, and the files of numbers beside them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..io.writing import write
from ..models.model import RandomFeatureModel
from ..spectra.spectrum import Spectrum
from .state import CELLS, ENDS, PER_DECADE, POINTS, Losses, Settings, Spectral, decades_of, model_of

if TYPE_CHECKING:
    import xarray

PICTURES = ("spectrum", "losses", "phase diagram")
HEAD = """import numpy as np
import rfspec as rf

"""


def csv_of(result: Spectral | Losses | xarray.Dataset, settings: Settings) -> str:
    """The numbers of a picture as a .csv file, with their units and the model."""
    if isinstance(result, Spectral):
        return _written(result.columns, model_of(settings))
    return _written(result.curve if isinstance(result, Losses) else result)


def _written(result: Any, model: RandomFeatureModel | None = None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "numbers.csv", result, model=model)
        # line ends as they are
        return path.read_bytes().decode()


def spectrum_script(settings: Settings, yscale: str = "linear") -> str:
    """Lines that write spectrum.csv and spectrum.pdf."""
    return f"""{HEAD}{_model(settings)}
sp = rf.spectrum(model)
x = np.concatenate(
    [rf.plotting.inside(float(b.lower), float(b.upper), {POINTS}) for b in sp.bulks]
)
columns = {{"lambda": x, "density": sp.density(x), "cdf": sp.cdf(x)}}
rf.io.write("spectrum.csv", columns, model=model)
ax = rf.plotting.spectrum(sp, points={POINTS}, yscale="{yscale}")
ax.figure.savefig("spectrum.pdf", bbox_inches="tight")
"""


def losses_script(settings: Settings, losses: Losses) -> str:
    """Lines that write losses.csv and losses.pdf."""
    times = losses.times
    if not isinstance(times.spectrum, Spectrum):
        raise ValueError('losses must have times of the rule "spectrum"')
    first, last = decades_of(times.spectrum)
    return f"""{HEAD}{_model(settings)}
tau = np.logspace({first}, {last}, {PER_DECADE * (last - first) + 1})
curve = rf.learning_curve(model, tau)
rf.io.write("losses.csv", curve)
times = rf.timescales(model, rule="spectrum")
ax = rf.plotting.learning_curve(curve, times=times, stop=rf.early_stopping(model))
ax.figure.savefig("losses.pdf", bbox_inches="tight")
"""


def diagram_script(settings: Settings, budget: float) -> str:
    """Lines that write phase_diagram.csv and phase_diagram.pdf."""
    options = "".join(f"    {line},\n" for line in _options(settings))
    return f"""{HEAD}grid = np.geomspace({ENDS[0]!r}, {ENDS[1]!r}, {CELLS})
diagram = rf.phase_diagram(
    grid,
    grid,
    t={settings.t!r},
    tau=float("{budget!r}"),
{options})
rf.io.write("phase_diagram.csv", diagram)
ax = rf.plotting.phase_diagram(diagram)
ax.plot({settings.psi_n!r}, {settings.psi_p!r}, "*", color="black", ms=12)
ax.figure.savefig("phase_diagram.pdf", bbox_inches="tight")
"""


def _model(settings: Settings) -> str:
    places = f"psi_p={settings.psi_p!r}, psi_n={settings.psi_n!r}, t={settings.t!r}"
    options = "".join(f"    {line},\n" for line in _options(settings))
    return f"model = rf.RandomFeatureModel(\n    {places},\n{options})\n"


def _options(settings: Settings) -> list[str]:
    lines = [f'activation="{settings.activation}"', f"covariance={_covariance(settings)}"]
    if settings.weight_decay:
        lines.append(f"weight_decay={settings.weight_decay!r}")
    return lines


def _covariance(settings: Settings) -> str:
    if settings.covariance == "isotropic":
        return f"rf.Isotropic({settings.trace!r})"
    if settings.covariance == "two atoms":
        weights = f"[{1.0 - settings.share!r}, {settings.share!r}]"
        law = f"rf.Atoms([1.0, {settings.ratio!r}], {weights})"
    else:
        law = f"rf.PowerLaw({settings.exponent!r}, {settings.cutoff!r})"
    return f"{law}.normalised({settings.trace!r})"
