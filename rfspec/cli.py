"""The command `rfspec`: the library's functions with their arguments as options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from .covariance import Atoms, Covariance, FromData, Isotropic
from .io import to_json, write_atomically, write_csv, write_figure
from .model import RandomFeatureModel
from .solver import ConvergenceError

app = typer.Typer(
    help="Exact spectra and timescales of random-feature score models of diffusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PsiP = Annotated[float, typer.Option(help="features per dimension, p/d > 0")]
PsiN = Annotated[float, typer.Option(help="samples per dimension, n/d > 0")]
Time = Annotated[float, typer.Option("--t", help="diffusion time t > 0")]
Sigma = Annotated[str, typer.Option("--activation", help="tanh, erf, sin, relu or gelu")]
Variance = Annotated[float, typer.Option(help="data variance, for Σ = variance · I")]
Values = Annotated[str | None, typer.Option(help="eigenvalues of Σ, comma separated, with --weights")]
Weights = Annotated[str | None, typer.Option(help="their weights, comma separated, summing to 1")]
Data = Annotated[Path | None, typer.Option(help=".npy or .csv file of samples in rows, whose covariance is Σ")]
Out = Annotated[Path | None, typer.Option(help="file to write: .csv, .json or a picture (.png, .pdf, .svg)")]
Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


@app.command("spectrum")
def spectrum_command(
    psi_p: PsiP,
    psi_n: PsiN,
    t: Time,
    activation: Sigma = "tanh",
    variance: Variance = 1.0,
    values: Values = None,
    weights: Weights = None,
    data: Data = None,
    points: Annotated[int, typer.Option(help="densities written to --out, per bulk")] = 200,
    out: Out = None,
    json: Json = False,
) -> None:
    """Edges, bulks, atom, masses and loss drops of the spectrum of U."""
    from .spectrum import spectrum

    _check_suffix(out)
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    model = RandomFeatureModel(
        psi_p, psi_n, t, activation=activation, covariance=_covariance(variance, values, weights, data)
    )
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
def timescales_command(
    psi_p: PsiP,
    psi_n: PsiN,
    t: Time,
    activation: Sigma = "tanh",
    variance: Variance = 1.0,
    values: Values = None,
    weights: Weights = None,
    data: Data = None,
    rule: Annotated[str | None, typer.Option(help='"paper" or "spectrum"; both if not given')] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Training times of the population, sample and satellite parts."""
    from .timescales import RULES, timescales

    _check_suffix(out, pictures=False)
    model = RandomFeatureModel(
        psi_p, psi_n, t, activation=activation, covariance=_covariance(variance, values, weights, data)
    )
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


def _covariance(variance: float, values: str | None, weights: str | None, data: Path | None) -> Covariance:
    if data is not None:
        return FromData(read_samples(data))
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


def _check_suffix(out: Path | None, *, pictures: bool = True) -> None:
    known = (".csv", ".json") + ((".png", ".pdf", ".svg") if pictures else ())
    if out is not None and out.suffix not in known:
        raise ValueError(f"out must end in one of {', '.join(known)}, got {out}")


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
