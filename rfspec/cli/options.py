"""The options that commands share, in groups, and what they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import typer

from ..models.activations import Polynomial
from ..models.covariance import Atoms, Covariance, Isotropic
from ..models.covariance_laws import Exponential, MarchenkoPastur, PowerLaw
from ..models.from_data import FromData, centring
from ..models.mixtures import Mixture, Subspace
from ..models.model import USUAL_DEGREE, RandomFeatureModel
from ..models.processes import Cosine, FlowMatching, OrnsteinUhlenbeck, VarianceExploding
from ..models.schedules import DDPM, Interpolant
from ..numerics.checks import random_key
from ..numerics.types import Matrix
from .application import app as app
from .data_files import read_samples, require_memory
from .expressions import construct
from .output import OUTPUT

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
# groups of options in --help, beside OUTPUT
MODEL, LAW, SAMPLING, TRAINING = "Model", "Data law", "Sampling", "Training"


def option(group: str, text: str, *names: str) -> Any:
    """An option in a group of --help."""
    return typer.Option(*names, help=text, rich_help_panel=group)


PsiP = Annotated[float, option(MODEL, "features per dimension, p/d > 0")]
PsiN = Annotated[float, option(MODEL, "samples per dimension, n/d > 0")]
Tolerance = Annotated[float, option(TRAINING, "of the stopping window, in units of the loss")]
TauMin = Annotated[float, option(TRAINING, "first training time tau = k eta/d^2")]
TauMax = Annotated[float, option(TRAINING, "last training time")]
Times = Annotated[int, option(TRAINING, "training times, spaced geometrically", "--points")]
GRID = "low:high:points, spaced geometrically, or numbers with commas"
Seed = Annotated[int, option(SAMPLING, "of the random numbers")]
Json = Annotated[bool, option(OUTPUT, "print JSON instead of a table", "--json")]


# --------------------------------------------------------------------------------------------------
# groups of options, and what they make


def _ratios(psi_p: PsiP, psi_n: PsiN) -> dict[str, Any]:
    return {"psi_p": psi_p, "psi_n": psi_n}


def _training(
    t: Annotated[
        float | None, option(MODEL, "diffusion time t > 0; or give --process", "--t")
    ] = None,
    process: Annotated[
        str | None, option(MODEL, f"another process, {' or '.join(EXAMPLES['process'])}")
    ] = None,
    activation: Annotated[
        str, option(MODEL, "tanh, erf, sin, relu, gelu or Polynomial([0, 1, 0, 0.5])")
    ] = "tanh",
    target: Annotated[
        str, option(MODEL, "what is learnt: noise, score, data or velocity")
    ] = "noise",
    noise_draws: Annotated[
        float, option(MODEL, "draws of the noise for each data point, or inf")
    ] = np.inf,
    weight_decay: Annotated[float, option(MODEL, "γ >= 0 of the penalty γ|A|²/(dp)")] = 0.0,
) -> dict[str, Any]:
    """What is learnt of the data, and how."""
    return {
        "t": t,
        "process": None if process is None else construct("process", process, PROCESSES),
        "activation": construct("activation", activation, ACTIVATIONS)
        if "(" in activation
        else activation,
        "target": target,
        "noise_draws": noise_draws,
        "weight_decay": weight_decay,
    }


def _dimension(
    d: Annotated[
        int | None, option(MODEL, "dimension of the data; infinite by default", "--d")
    ] = None,
    degree: Annotated[
        int, option(MODEL, "highest Hermite degree that is followed, with --d")
    ] = USUAL_DEGREE,
) -> dict[str, Any]:
    """How large the model is."""
    return {"d": d, "degree": degree}


def _data_law(
    covariance: Annotated[
        str | None, option(LAW, f"Σ, {' or '.join(EXAMPLES['covariance'])}")
    ] = None,
    variance: Annotated[
        float | None, option(LAW, "data variance, for Σ = variance · I; 1 by default")
    ] = None,
    values: Annotated[
        str | None, option(LAW, "eigenvalues of Σ, comma separated, with --weights")
    ] = None,
    weights: Annotated[
        str | None, option(LAW, "their weights, comma separated, summing to 1")
    ] = None,
    data: Annotated[
        Path | None,
        option(LAW, ".npy, .npz or .csv file of samples in rows, whose covariance is Σ"),
    ] = None,
    trace: Annotated[
        float | None, option(LAW, "rescale Σ (and data) to this Tr Σ/d; as it is by default")
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


def _drawing(
    d: Annotated[
        int | None,
        option(SAMPLING, "dimension of the sampled data; with --data its columns", "--d"),
    ] = None,
    kind: Annotated[
        str, option(SAMPLING, "features, or gaussian for the Gaussian equivalent")
    ] = "features",
    rows: Annotated[str, option(SAMPLING, "rows of W: gaussian or spherical")] = "gaussian",
    repeats: Annotated[int, option(SAMPLING, "independent draws")] = 1,
    seed: Seed = 0,
) -> dict[str, Any]:
    """What is sampled of a model, and how often."""
    return {"d": d, "kind": kind, "rows": rows, "repeats": repeats, "seed": seed}


def taking(
    groups: tuple[Callable[..., Any], ...],
    made: tuple[str, ...],
    make: Callable[..., tuple[Any, ...]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator: in place of the parameters `made` a command gets the options that `make` makes
    them of.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        named = [name for group in groups for name in inspect.signature(group).parameters]
        parameters, hints = {}, {}  # type: ignore[var-annotated]
        for f in (command, *groups):
            parameters |= inspect.signature(f).parameters
            hints |= get_type_hints(f, include_extras=True)

        @functools.wraps(command)
        def run(**options: Any) -> None:
            of_group = lambda group: {
                name: options.pop(name) for name in inspect.signature(group).parameters
            }
            found = dict(item for group in groups for item in group(**of_group(group)).items())
            results = dict(zip(made, make(**found), strict=True))
            wanted = inspect.signature(command).parameters
            command(**{n: value for n, value in results.items() if n in wanted}, **options)

        kept = [*named, *(name for name in parameters if name not in (*named, *made))]
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


of_model = taking(
    (_ratios, _training, _data_law, _dimension),
    ("model",),
    lambda samples, **known: (RandomFeatureModel(**known),),
)


def _sampling(
    d: int | None,
    kind: str,
    rows: str,
    repeats: int,
    seed: int,
    samples: Matrix | None,
    **known: Any,
) -> tuple[RandomFeatureModel, dict[str, Any], int]:
    """A model, how it is sampled, and the seed."""
    drawn = {"d": d, "kind": kind, "data": samples, "rows": rows, "repeats": repeats}
    return RandomFeatureModel(**known), {"key": random_key("seed", seed), **drawn}, seed


of_sample = taking((_ratios, _training, _data_law, _drawing), ("model", "drawn", "seed"), _sampling)
of_law = taking((_training, _data_law, _dimension), ("law",), lambda samples, **known: (known,))
of_training = taking((_training,), ("how",), lambda **known: (known,))


# --------------------------------------------------------------------------------------------------
# numbers


def numbers(name: str, text: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as e:
        raise ValueError(f"{name} must be numbers separated by commas, got {text!r:.100}") from e


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
