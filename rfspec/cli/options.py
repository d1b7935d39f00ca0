"""The application, the options that its commands share, and how results are written."""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from zipfile import BadZipFile

import numpy as np
import typer

from ..covariance import Atoms, Covariance, FromData, Isotropic
from ..io import to_json, write_atomically, write_csv, write_figure, write_netcdf
from ..model import RandomFeatureModel

app = typer.Typer(
    help="Exact spectra and timescales of random-feature score models of diffusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TABLES, PICTURES = (".csv", ".json"), (".png", ".pdf", ".svg")
Out = Annotated[Path | None, typer.Option(help="file to write: .csv, .json, .nc or a picture, as the command allows")]
Activation = Annotated[str, typer.Option(help="tanh, erf, sin, relu or gelu")]
Variance = Annotated[float, typer.Option(help="data variance, for Σ = variance · I")]
Values = Annotated[str | None, typer.Option(help="eigenvalues of Σ, comma separated, with --weights")]
Weights = Annotated[str | None, typer.Option(help="their weights, comma separated, summing to 1")]
Data = Annotated[Path | None, typer.Option(help=".npy, .npz or .csv file of samples in rows, whose covariance is Σ")]
Dimension = Annotated[int | None, typer.Option("--d", help="dimension of the sampled data; with --data its columns")]
Kind = Annotated[str, typer.Option(help="features, or gaussian for the Gaussian equivalent")]
Rows = Annotated[str, typer.Option(help="rows of W: gaussian or spherical")]
Repeats = Annotated[int, typer.Option(help="independent draws")]
Seed = Annotated[int, typer.Option(help="of the random numbers")]
Target = Annotated[str, typer.Option(help="what is learnt: noise, score, data or velocity")]
NoiseDraws = Annotated[float, typer.Option(help="draws of the noise for each data point, or inf")]
WeightDecay = Annotated[float, typer.Option(help="γ >= 0 of the penalty γ|A|²/(dp)")]
Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


def of_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its parameters `model` and `data`, the options that name a model."""
    hints = {**get_type_hints(command, include_extras=True), **get_type_hints(_model, include_extras=True)}
    own = inspect.signature(command).parameters
    named = inspect.signature(_model).parameters

    @functools.wraps(command)
    def run(**options: Any) -> None:
        model, data = _model(**{name: options.pop(name) for name in named})
        command(model, **({"data": data} if "data" in own else {}), **options)

    def plain(p: inspect.Parameter) -> inspect.Parameter:
        return p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])

    parameters = [*named.values(), *(p for p in own.values() if p.name not in ("model", "data"))]
    run.__signature__ = inspect.Signature([plain(p) for p in parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: hints[p.name] for p in parameters}
    return run


def _model(
    psi_p: Annotated[float, typer.Option(help="features per dimension, p/d > 0")],
    psi_n: Annotated[float, typer.Option(help="samples per dimension, n/d > 0")],
    t: Annotated[float, typer.Option("--t", help="diffusion time t > 0")],
    activation: Activation = "tanh",
    variance: Variance = 1.0,
    values: Values = None,
    weights: Weights = None,
    data: Data = None,
    target: Target = "noise",
    draws: NoiseDraws = np.inf,
    weight_decay: WeightDecay = 0.0,
) -> tuple[RandomFeatureModel, np.ndarray | None]:
    """The model that the options name, and its data centred, if there are any."""
    samples = None if data is None else read_samples(data)
    covariance = covariance_of(variance, values, weights, samples)
    more: dict[str, Any] = {"target": target, "noise_draws": draws, "weight_decay": weight_decay}
    model = RandomFeatureModel(psi_p, psi_n, t, activation=activation, covariance=covariance, **more)
    return model, None if samples is None else samples - samples.mean(0)


def covariance_of(variance: float, values: str | None, weights: str | None, data: np.ndarray | None) -> Covariance:
    """Σ as the options name it."""
    if data is not None:
        return FromData(data)
    if (values is None) != (weights is None):
        raise ValueError("values and weights go together")
    if values is not None and weights is not None:
        return Atoms(numbers("values", values), numbers("weights", weights))
    return Isotropic(variance)


def read_samples(path: Path, key: str | None = None) -> np.ndarray:
    """A matrix of samples from a .npy, .npz or .csv file; `key` names one of several arrays of a .npz file."""
    if not path.exists():
        raise ValueError(f"data must be an existing file, got {path}")
    if key is not None and path.suffix != ".npz":
        raise ValueError(f"key goes with a .npz file, got {path}")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".csv":
            return _read_csv(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if key is None and len(arrays.files) == 1:
                    key = arrays.files[0]
                if key in arrays.files:
                    return arrays[key]
                names = ", ".join(arrays.files)
    except (OSError, ValueError, EOFError, BadZipFile) as e:
        raise ValueError(f"data must be a numeric matrix, got {path} with {e}") from e
    if path.suffix == ".npz":
        raise ValueError(f"key must be one of the arrays in {path}, {names or 'of which there are none'}, got {key!r}")
    raise ValueError(f"data must be a .npy, .npz or .csv file, got {path}")


def _read_csv(path: Path) -> np.ndarray:
    """Numbers separated by commas, under a header or not; a header is a first line without a number."""
    with path.open(encoding="utf-8-sig") as f:
        first = f.readline().strip().split(",")
    header = all(cell.strip() and not _is_number(cell) for cell in first)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            return np.loadtxt(path, delimiter=",", ndmin=2, skiprows=int(header), encoding="utf-8-sig")
    except ValueError as e:  # numpy counts rows from 0, and the header is none of them
        line = lambda found: f"at line {int(found[1]) + 1 + header}"
        raise ValueError(re.sub(r"at row (\d+)(?=, column)", line, str(e))) from e


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def numbers(name: str, text: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as e:
        raise ValueError(f"{name} must be numbers separated by commas, got {text!r}") from e


def check_suffix(out: Path | None, known: tuple[str, ...]) -> None:
    """Refuse a file that the command does not write."""
    if out is not None and out.suffix not in known:
        raise ValueError(f"out must end in one of {', '.join(known)}, got {out}")


def partial_of(out: Path | None) -> Path | None:
    """Where an unfinished run keeps its state, beside its result."""
    return None if out is None else out.with_name(out.name + ".partial")


def write_table(out: Path, report: Any, variables: Any, columns: Any, attributes: Any) -> None:
    """A result as JSON, as columns, or as a netCDF file."""
    if out.suffix == ".json":
        write_atomically(out, lambda path: path.write_text(to_json(report) + "\n", encoding="utf-8"))
    elif out.suffix == ".csv":
        write_csv(out, columns)
    else:
        write_netcdf(out, variables, attributes)


def draw_to(out: Path, draw: Any) -> None:
    """The figure of an axis that `draw(rfspec.plotting)` returns."""
    import matplotlib as mpl

    mpl.use("Agg")
    from .. import plotting

    write_figure(out, draw(plotting).figure)


def geometric_times(tau_min: float, tau_max: float, points: int) -> np.ndarray:
    """Training times spaced geometrically."""
    if not 0 < tau_min < tau_max < np.inf:
        raise ValueError(f"tau_min and tau_max must be ascending and greater than 0, got {tau_min} and {tau_max}")
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    return np.geomspace(tau_min, tau_max, points)
