"""The command `rfspec`: the library's functions with their arguments as options."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import jax
import numpy as np
import typer

from .checkpoint import forget
from .covariance import Atoms, Covariance, FromData, Isotropic
from .io import to_json, write_atomically, write_csv, write_figure, write_netcdf
from .model import RandomFeatureModel
from .solver import ConvergenceError

app = typer.Typer(
    help="Exact spectra and timescales of random-feature score models of diffusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TABLES, PICTURES = (".csv", ".json"), (".png", ".pdf", ".svg")
Out = Annotated[Path | None, typer.Option(help="file to write: .csv, .json, .nc or a picture, as the command allows")]
Dimension = Annotated[int | None, typer.Option("--d", help="dimension of the sampled data; with --data its columns")]
Kind = Annotated[str, typer.Option(help="features, or gaussian for the Gaussian equivalent")]
Rows = Annotated[str, typer.Option(help="rows of W: gaussian or spherical")]
Repeats = Annotated[int, typer.Option(help="independent draws")]
Seed = Annotated[int, typer.Option(help="of the random numbers")]
Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


def _of_model(command: Callable[..., None]) -> Callable[..., None]:
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
    activation: Annotated[str, typer.Option(help="tanh, erf, sin, relu or gelu")] = "tanh",
    variance: Annotated[float, typer.Option(help="data variance, for Σ = variance · I")] = 1.0,
    values: Annotated[str | None, typer.Option(help="eigenvalues of Σ, comma separated, with --weights")] = None,
    weights: Annotated[str | None, typer.Option(help="their weights, comma separated, summing to 1")] = None,
    data: Annotated[
        Path | None, typer.Option(help=".npy or .csv file of samples in rows, whose covariance is Σ")
    ] = None,
) -> tuple[RandomFeatureModel, np.ndarray | None]:
    """The model that the options name, and its data centred, if there are any."""
    samples = None if data is None else read_samples(data)
    covariance = _covariance(variance, values, weights, samples)
    model = RandomFeatureModel(psi_p, psi_n, t, activation=activation, covariance=covariance)
    return model, None if samples is None else samples - samples.mean(0)


@app.command("spectrum")
@_of_model
def spectrum_command(
    model: RandomFeatureModel,
    points: Annotated[int, typer.Option(help="densities written to --out, per bulk")] = 200,
    out: Out = None,
    json: Json = False,
) -> None:
    """Edges, bulks, atom, masses and loss drops of the spectrum of U."""
    from .spectrum import spectrum

    _check_suffix(out, TABLES + PICTURES)
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    sp = spectrum(model)
    total = sum(float(b.loss_drop) for b in sp.bulks)
    report: dict[str, Any] = {
        "model": repr(model),
        "atom": {"location": sp.atom.location, "mass": sp.atom.mass},
        "bulks": [
            {
                "part": b.part,
                "lower": b.lower,
                "upper": b.upper,
                "mass": b.mass,
                "loss_drop": b.loss_drop,
                "share": float(b.loss_drop) / total,
            }
            for b in sp.bulks
        ],
        "separated": bool(sp.separated),
        "reason": sp.reason,
        "error": sp.error,
    }
    if out is not None and out.suffix == ".json":
        write_atomically(out, lambda path: path.write_text(to_json(report) + "\n", encoding="utf-8"))
    elif out is not None and out.suffix == ".csv":
        from .plotting.densities import inside

        x = np.concatenate([inside(float(b.lower), float(b.upper), points) for b in sp.bulks])
        write_csv(out, {"lambda": x, "density": sp.density(x), "cdf": sp.cdf(x)})
    elif out is not None:
        _draw(out, lambda plotting: plotting.spectrum(sp, points=points))
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}")
    typer.echo(f"{'part':<22}{'lower edge':>16}{'upper edge':>16}{'mass':>12}{'loss drop':>12}{'share':>8}")
    for b in report["bulks"][::-1]:
        numbers = f"{float(b['lower']):16.10g}{float(b['upper']):16.10g}{float(b['mass']):12.8f}"
        typer.echo(f"{b['part']:<22}{numbers}{float(b['loss_drop']):12.6f}{b['share']:8.1%}")
    typer.echo(f"{'atom':<22}{float(sp.atom.location):16.10g}{'':16}{float(sp.atom.mass):12.8f}")
    typer.echo(f"error of the distribution {float(sp.error):.1e}" + (f"; {sp.reason}" if sp.reason else ""))


@app.command("timescales")
@_of_model
def timescales_command(
    model: RandomFeatureModel,
    rule: Annotated[str | None, typer.Option(help='"paper" or "spectrum"; both if not given')] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Training times of the population, sample and satellite parts."""
    from .timescales import RULES, timescales

    _check_suffix(out, TABLES)
    results = [timescales(model, r) for r in ([rule] if rule else RULES)]
    rows = [
        {"rule": ts.rule, "part": part, "fast": getattr(ts.fast, part), "slow": getattr(ts.slow, part)}
        for ts in results
        for part in ts.fast._fields
    ]
    report = {
        "model": repr(model),
        "times": rows,
        "tau_gen": {ts.rule: ts.tau_gen for ts in results},
        "tau_mem": {ts.rule: ts.tau_mem for ts in results},
        "separated": {ts.rule: bool(ts.separated) for ts in results},
        "reason": {ts.rule: ts.reason for ts in results},
    }
    if out is not None and out.suffix == ".json":
        write_atomically(out, lambda path: path.write_text(to_json(report) + "\n", encoding="utf-8"))
    elif out is not None:
        write_csv(out, {name: [row[name] for row in rows] for name in rows[0]})
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}\n{'rule':<10}{'part':<12}{'fast end':>14}{'slow end':>14}   (tau = k eta/d^2)")
    for row in rows:
        typer.echo(f"{row['rule']:<10}{row['part']:<12}{float(row['fast']):14.6g}{float(row['slow']):14.6g}")
    for ts in results:
        name = {"population": "tau_gen", "sample": "tau_mem"}
        times = ", ".join(f"{name[p]} = {float(getattr(ts.slow, p)):.6g}" for p in name)
        typer.echo(f"{ts.rule}: {times}" + (f"; {ts.reason}" if ts.reason else ""))


@app.command("sample")
@_of_model
def sample_command(
    model: RandomFeatureModel,
    data: np.ndarray | None,
    d: Dimension = None,
    kind: Kind = "features",
    rows: Rows = "gaussian",
    repeats: Repeats = 1,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Eigenvalues of sampled feature matrices beside the theory; an interrupted run with --out continues."""
    from . import empirical

    _check_suffix(out, (*TABLES, ".nc"))
    partial = _partial(out)
    sampled = empirical.spectrum(
        jax.random.key(seed),
        model,
        d,
        kind=kind,
        data=data,
        rows=rows,
        repeats=repeats,
        checkpoint=partial,
        progress=not json,
    )
    report = {
        "model": repr(model),
        "d": sampled.d,
        "p": sampled.p,
        "repeats": sampled.repeats,
        "atom": sampled.atom._asdict(),
        "bulks": [b._asdict() for b in sampled.bulks],
    }
    if out is not None:
        values = np.asarray(sampled.eigenvalues)
        _write_table(
            out,
            report,
            {"eigenvalue": (("repeat", "index"), values, "1")},
            {f"repeat_{i}": row for i, row in enumerate(values)},
            {"model": repr(model), "d": sampled.d, "kind": kind, "rows": rows, "seed": seed},
        )
        forget(partial)
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}, d = {sampled.d}, p = {sampled.p}, {sampled.repeats} × {kind}")
    typer.echo(f"{'part':<22}{'lower edge':>28}{'upper edge':>28}{'mass':>26}")
    for found, exact in zip(sampled.bulks[::-1], sampled.theory.bulks[::-1], strict=True):
        numbers = [
            f"{float(value):12.6g} ({float(true):.6g})"
            for value, true in ((found.lower, exact.lower), (found.upper, exact.upper), (found.mass, exact.mass))
        ]
        typer.echo(f"{exact.part:<22}{numbers[0]:>28}{numbers[1]:>28}{numbers[2]:>26}")
    atom, exact_atom = sampled.atom, sampled.theory.atom
    place = f"{float(atom.location):12.6g} ({float(exact_atom.location):.6g})"
    mass = f"{float(atom.mass):12.6g} ({float(exact_atom.mass):.6g})"
    typer.echo(f"{'atom':<22}{place:>28}{'':28}{mass:>26}\nin brackets the theory")


@app.command("train")
@_of_model
def train_command(
    model: RandomFeatureModel,
    data: np.ndarray | None,
    d: Dimension = None,
    optimizer: Annotated[
        str, typer.Option(help="gradient_flow, gd, momentum, nesterov, adam or sgd")
    ] = "gradient_flow",
    learning_rate: Annotated[float | None, typer.Option(help="step size; of all but gradient_flow")] = None,
    momentum: Annotated[float, typer.Option(help="of momentum and nesterov, in [0, 1)")] = 0.9,
    noise_draws: Annotated[int | None, typer.Option(help="fresh draws of the noise a step, of adam and sgd")] = None,
    batch_size: Annotated[int | None, typer.Option(help="samples a step, of adam and sgd")] = None,
    tau_min: Annotated[float, typer.Option(help="first training time tau = k eta/d^2")] = 1.0,
    tau_max: Annotated[float, typer.Option(help="last training time")] = 1e5,
    points: Annotated[int, typer.Option(help="training times, spaced geometrically")] = 41,
    kind: Kind = "features",
    rows: Rows = "gaussian",
    repeats: Repeats = 1,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Losses of sampled models in training; an interrupted run with --out continues and ends with the same bits."""
    from . import empirical

    _check_suffix(out, (*TABLES, *PICTURES, ".nc"))
    if not 0 < tau_min < tau_max < np.inf:
        raise ValueError(f"tau_min and tau_max must be ascending and greater than 0, got {tau_min} and {tau_max}")
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    partial = _partial(out)
    curve = empirical.learning_curve(
        jax.random.key(seed),
        model,
        np.geomspace(tau_min, tau_max, points),
        d,
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        noise_draws=noise_draws,
        batch_size=batch_size,
        kind=kind,
        data=data,
        rows=rows,
        repeats=repeats,
        checkpoint=partial,
        progress=not json,
    )
    columns = {name: np.asarray(getattr(curve, name)) for name in ("tau", "train", "test", "score_error", "error")}
    columns |= {f"{name}_standard_error": v for name, v in curve.standard_error._asdict().items() if repeats > 1}
    report = {"model": repr(model), "optimizer": optimizer, **columns}
    if out is not None and out.suffix in PICTURES:
        _draw(out, lambda plotting: plotting.learning_curve(curve))
    elif out is not None:
        settings = {"d": d, "optimizer": optimizer, "learning_rate": learning_rate, "seed": seed, "repeats": repeats}
        attributes = {"model": repr(model), **{k: v for k, v in settings.items() if v is not None}}
        variables = {name: (("tau",), values, "1") for name, values in columns.items()}
        _write_table(out, report, variables, columns, attributes)
    forget(partial)
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}, {optimizer}\n{'tau':>14}{'train':>14}{'test':>14}{'score error':>14}")
    for row in zip(curve.tau, curve.train, curve.test, curve.score_error, strict=True):
        typer.echo("".join(f"{float(x):14.6g}" for x in row))


@app.command("compare")
@_of_model
def compare_command(
    model: RandomFeatureModel,
    data: np.ndarray | None,
    d: Dimension = None,
    kind: Kind = "features",
    rows: Rows = "gaussian",
    repeats: Repeats = 1,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Distances of sampled spectra from the theory, and those to be expected at this d."""
    from . import empirical

    _check_suffix(out, (*TABLES, ".nc"))
    partial = _partial(out)
    sampled = empirical.spectrum(
        jax.random.key(seed),
        model,
        d,
        kind=kind,
        data=data,
        rows=rows,
        repeats=repeats,
        checkpoint=partial,
        progress=not json,
    )
    found = empirical.compare(sampled.theory, sampled)
    assert isinstance(found, empirical.Comparison)
    table = found.rows()
    report = {"model": repr(model), "d": sampled.d, "repeats": repeats, "deviations": table}
    if out is not None:
        columns = {name: [row[name] for row in table] for name in table[0]}
        variables = {name: (("name",), values, "1") for name, values in columns.items()}
        _write_table(out, report, variables, columns, {"model": repr(model), "d": sampled.d, "seed": seed})
        forget(partial)
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}, d = {sampled.d}, p = {sampled.p}, {repeats} × {kind}")
    typer.echo(f"{'deviation':<16}{'found':>14}{'standard error':>16}{'expected size':>15}")
    for row in table:
        typer.echo(f"{row['name']:<16}{row['found']:14.4g}{row['error']:16.4g}{row['expected']:15.4g}")


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="folder for pictures and tables")] = Path("results/demo"),
    scale: Annotated[float, typer.Option(help="size of the sampled matrices, 1 = p of 2,560")] = 1.0,
    json: Json = False,
) -> None:
    """Theory, sampled features and real training steps of three models, one of them of real images."""
    import matplotlib as mpl

    mpl.use("Agg")
    from . import demo

    if not 0 < scale <= 4:
        raise ValueError(f"scale must be in (0, 4], got {scale}")
    outcomes = demo.run(out, scale=scale, progress=not json)
    if json:
        typer.echo(to_json([demo.summary(o) for o in outcomes]))
        return
    for outcome in outcomes:
        typer.echo(demo.table(outcome) + "\n")
    typer.echo(f"pictures and tables are in {out}/")


def _covariance(variance: float, values: str | None, weights: str | None, data: np.ndarray | None) -> Covariance:
    if data is not None:
        return FromData(data)
    if (values is None) != (weights is None):
        raise ValueError("values and weights go together")
    if values is not None and weights is not None:
        return Atoms(_numbers("values", values), _numbers("weights", weights))
    return Isotropic(variance)


def read_samples(path: Path) -> np.ndarray:
    """A matrix of samples from a .npy or .csv file."""
    if not path.exists():
        raise ValueError(f"data must be an existing file, got {path}")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError, EOFError) as e:
        raise ValueError(f"data must be a numeric matrix, got {path} with {e}") from e
    raise ValueError(f"data must be a .npy or .csv file, got {path}")


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as e:
        raise ValueError(f"{name} must be numbers separated by commas, got {text!r}") from e


def _check_suffix(out: Path | None, known: tuple[str, ...]) -> None:
    if out is not None and out.suffix not in known:
        raise ValueError(f"out must end in one of {', '.join(known)}, got {out}")


def _partial(out: Path | None) -> Path | None:
    """Where an unfinished run keeps its state, beside its result."""
    return None if out is None else out.with_name(out.name + ".partial")


def _write_table(out: Path, report: Any, variables: Any, columns: Any, attributes: Any) -> None:
    """A result as JSON, as columns, or as a netCDF file."""
    if out.suffix == ".json":
        write_atomically(out, lambda path: path.write_text(to_json(report) + "\n", encoding="utf-8"))
    elif out.suffix == ".csv":
        write_csv(out, columns)
    else:
        write_netcdf(out, variables, attributes)


def _draw(out: Path, draw: Any) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from . import plotting

    write_figure(out, draw(plotting).figure)


def _keep_compiled() -> None:
    """Keep compiled kernels between processes, which halves the time of a short command, unless told otherwise."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rfspec"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def main() -> None:
    """Run the command; what is wrong with the input is one sentence on stderr and exit status 2."""
    _keep_compiled()
    try:
        app()
    except (ValueError, ConvergenceError) as e:
        typer.echo(f"error: {e}", err=True)
        sys.exit(2 if isinstance(e, ValueError) else 1)
