"""The application, the options that its commands share, and how results are written."""

from __future__ import annotations

import functools
import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, get_type_hints
from zipfile import ZipFile

import jax
import numpy as np
import typer

from ..files.io import check_target, write_csv, write_figure, write_json, write_netcdf
from ..models.activations import Polynomial
from ..models.covariance import Atoms, Covariance, FromData, Isotropic, centring
from ..models.covariance_laws import Exponential, MarchenkoPastur, PowerLaw
from ..models.mixtures import Mixture, Subspace
from ..models.model import RandomFeatureModel
from ..models.processes import (
    DDPM,
    Cosine,
    FlowMatching,
    Interpolant,
    OrnsteinUhlenbeck,
    VarianceExploding,
)
from .expressions import construct

app = typer.Typer(
    help="Exact spectra and timescales of random-feature score models of diffusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COVARIANCES = {
    c.__name__: c
    for c in (Isotropic, Atoms, PowerLaw, Exponential, MarchenkoPastur, Subspace, Mixture)
}
PROCESSES = {
    p.__name__: p
    for p in (OrnsteinUhlenbeck, FlowMatching, DDPM, Cosine, VarianceExploding, Interpolant)
}
ACTIVATIONS = {"Polynomial": Polynomial}
EXAMPLES = {
    "covariance": ("PowerLaw(0.5)", "Mixture([Subspace(0.25), Exponential(4)], [0.5, 0.5])"),
    "process": ("FlowMatching(0.3)", "DDPM(200)"),
}

PER_POINT = 64  # numbers that a command holds for each point, at least
TABLES, PICTURES = (".csv", ".json"), (".png", ".pdf", ".svg")
Out = Annotated[
    Path | None,
    typer.Option(help="file to write: .csv, .json, .nc or a picture, as the command allows"),
]
Dimension = Annotated[
    int | None, typer.Option("--d", help="dimension of the sampled data; with --data its columns")
]
Kind = Annotated[str, typer.Option(help="features, or gaussian for the Gaussian equivalent")]
Rows = Annotated[str, typer.Option(help="rows of W: gaussian or spherical")]
Repeats = Annotated[int, typer.Option(help="independent draws")]
Seed = Annotated[int, typer.Option(help="of the random numbers")]
Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


# ------------------------------------------------------------------------- groups of options, and
# what they make


def _ratios(
    psi_p: Annotated[float, typer.Option(help="features per dimension, p/d > 0")],
    psi_n: Annotated[float, typer.Option(help="samples per dimension, n/d > 0")],
) -> dict[str, Any]:
    return {"psi_p": psi_p, "psi_n": psi_n}


def _training(
    t: Annotated[
        float | None, typer.Option("--t", help="diffusion time t > 0; or give --process")
    ] = None,
    process: Annotated[
        str | None, typer.Option(help=f"another process, {' or '.join(EXAMPLES['process'])}")
    ] = None,
    activation: Annotated[
        str, typer.Option(help="tanh, erf, sin, relu, gelu or Polynomial([0, 1, 0, 0.5])")
    ] = "tanh",
    target: Annotated[
        str, typer.Option(help="what is learnt: noise, score, data or velocity")
    ] = "noise",
    draws: Annotated[
        float, typer.Option(help="draws of the noise for each data point, or inf")
    ] = np.inf,
    weight_decay: Annotated[float, typer.Option(help="γ >= 0 of the penalty γ|A|²/(dp)")] = 0.0,
) -> dict[str, Any]:
    """What is learnt of the data, and how."""
    return {
        "t": t,
        "process": None if process is None else construct("process", process, PROCESSES),
        "activation": construct("activation", activation, ACTIVATIONS)
        if "(" in activation
        else activation,
        "target": target,
        "noise_draws": draws,
        "weight_decay": weight_decay,
    }


def _data_law(
    covariance: Annotated[
        str | None, typer.Option(help=f"Σ, {' or '.join(EXAMPLES['covariance'])}")
    ] = None,
    variance: Annotated[
        float | None, typer.Option(help="data variance, for Σ = variance · I; 1 by default")
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="eigenvalues of Σ, comma separated, with --weights")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="their weights, comma separated, summing to 1")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help=".npy, .npz or .csv file of samples in rows, whose covariance is Σ"),
    ] = None,
    trace: Annotated[
        float | None, typer.Option(help="rescale Σ (and data) to this Tr Σ/d; as it is by default")
    ] = None,
) -> dict[str, Any]:
    """Σ, and the centred samples that it comes from, if there are any."""
    if (values is None) != (weights is None):
        raise ValueError("values and weights go together")
    given = {"covariance": covariance, "variance": variance, "values": values, "data": data}
    if sum(value is not None for value in given.values()) > 1:
        named = " and ".join(name for name, value in given.items() if value is not None)
        raise ValueError(
            f"give one of covariance, variance, values with weights, and data, got {named}"
        )
    samples = None if data is None else read_samples(data)
    law: Covariance = Isotropic(1.0 if variance is None else variance)
    if samples is not None:
        law = FromData(samples, trace=trace)
        samples = np.asarray(samples, float)
        samples = centring(samples, trace)(samples)
    elif covariance is not None:
        law = construct("covariance", covariance, COVARIANCES)
    elif values is not None and weights is not None:
        law = Atoms(numbers("values", values), numbers("weights", weights))
    return {
        "covariance": law if trace is None or samples is not None else law.normalised(trace),
        "samples": samples,
    }


def _taking(
    groups: tuple[Callable[..., dict[str, Any]], ...],
    made: tuple[str, ...],
    make: Callable[..., tuple[Any, ...]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator: in place of the parameters `made` a command gets the options that `make` makes
    them of.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        named = [name for group in groups for name in inspect.signature(group).parameters]
        parameters, hints = {}, {}  # type: ignore[var-annotated]
        for f in (*groups, command):
            parameters |= inspect.signature(f).parameters
            hints |= get_type_hints(f, include_extras=True)

        @functools.wraps(command)
        def run(**options: Any) -> None:
            of_group = lambda group: {
                name: options.pop(name) for name in inspect.signature(group).parameters
            }
            found = dict(item for group in groups for item in group(**of_group(group)).items())
            results = dict(zip(made, make(**found), strict=True))
            command(
                **{name: value for name, value in results.items() if name in parameters}, **options
            )

        kept = [name for name in (*named, *parameters) if name not in made]
        plain = {
            name: parameters[name].replace(
                kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]
            )
            for name in kept
        }
        run.__signature__ = inspect.Signature(list(plain.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {name: hints[name] for name in plain}
        return run

    return decorate


of_model = _taking(
    (_ratios, _training, _data_law),
    ("model", "samples"),
    lambda samples, **known: (RandomFeatureModel(**known), samples),
)
of_law = _taking((_training, _data_law), ("law",), lambda samples, **known: (known,))
of_training = _taking((_training,), ("how",), lambda **known: (known,))


# --------------------------------------------------------------------------------------------------
# files


def read_samples(path: Path, key: str | None = None) -> np.ndarray:
    """A matrix of samples from a .npy, .npz or .csv file;
    `key` names one of several arrays of a .npz file.
    """
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise ValueError(f"data must be an existing file, got {path}")
    if key is not None and path.suffix != ".npz":
        raise ValueError(f"key goes with a .npz file, got {path}")
    if path.suffix == ".npz":
        return _read_npz(path, key)
    with _reading(path):
        if path.suffix == ".csv":
            return _read_csv(path)
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return _read_npy(file, path.stat().st_size)
    raise ValueError(f"data must be a .npy, .npz or .csv file, got {path}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever the parsers of a file raise, which follows no rule where it is damaged,
    as a ValueError.
    """
    try:
        yield
    except Exception as e:
        raise ValueError(
            f"data must be a numeric matrix, got {path} with {e or type(e).__name__}"
        ) from e


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    with _reading(path), ZipFile(path) as members:
        files = {member.filename.removesuffix(".npy"): member for member in members.infolist()}
    if key is None and len(files) == 1:
        (key,) = files
    if key is None or key not in files:
        names = ", ".join(files) or "of which there are none"
        raise ValueError(f"key must be one of the arrays in {path}, {names}, got {key!r}")
    with _reading(path), ZipFile(path) as members, members.open(files[key]) as file:
        return _read_npy(file, files[key].file_size)


def _read_npy(file: IO[bytes], size: int) -> np.ndarray:
    """An array, refused before it is allocated if it claims to be larger than its file,
    or is than memory.
    """
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    major, _ = np.lib.format.read_magic(file)
    if major not in read:
        raise ValueError(f"an array of format {major}")
    shape, _, dtype = read[major](file)
    numbers = math.prod(shape)
    if min(shape, default=0) < 0 or numbers * dtype.itemsize > size:
        raise ValueError(f"a header of shape {shape} for {size} bytes")
    require_memory(numbers, "the data", "take fewer samples")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _read_csv(path: Path) -> np.ndarray:
    """Numbers separated by commas, under a header or not;
    a header is a first line without a number.
    """
    with path.open(encoding="utf-8-sig") as f:
        first = f.readline().strip().split(",")
    header = all(cell.strip() and not _is_number(cell) for cell in first)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            return np.loadtxt(
                path, delimiter=",", ndmin=2, skiprows=int(header), encoding="utf-8-sig"
            )
    except ValueError as e:  # numpy counts rows from 0, and the header is none of them
        line = lambda found: f"at line {int(found[1]) + 1 + header}"
        raise ValueError(re.sub(r"at row (\d+)(?=, column)", line, str(e))) from e


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def require_memory(doubles: float, what: str, instead: str) -> None:
    """Refuse what will not fit into memory."""
    from ..empirical.memory import require  # takes as long to import as everything else

    require(doubles, what, instead)


def random_key(seed: int) -> Any:
    """A key of the random numbers of a command."""
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed must be an integer of 64 bits, got {seed!s:.40}")
    return jax.random.key(seed)


def numbers(name: str, text: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as e:
        raise ValueError(f"{name} must be numbers separated by commas, got {text!r:.100}") from e


def check_out(out: Path | None, known: tuple[str, ...]) -> None:
    """Refuse a file that the command does not or could not write."""
    if out is None:
        return
    if out.suffix not in known:
        raise ValueError(f"out must end in one of {', '.join(known)}, got {out}")
    check_target("out", out)


def partial_of(out: Path | None) -> Path | None:
    """Where an unfinished run keeps its state, beside its result."""
    return None if out is None else out.with_name(out.name + ".partial")


def write_table(out: Path, report: Any, variables: Any, columns: Any, attributes: Any) -> None:
    """A result as JSON, as columns, or as a netCDF file."""
    if out.suffix == ".json":
        write_json(out, report)
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
        raise ValueError(
            f"tau_min and tau_max must be ascending and greater than 0, got {tau_min} and {tau_max}"
        )
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    require_memory(PER_POINT * points, f"{points} training times", "take fewer points")
    return np.geomspace(tau_min, tau_max, points)
