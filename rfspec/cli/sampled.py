"""Commands of sampled matrices and training, and the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..files.checkpoint import forget
from ..files.io import check_target, to_json
from ..models.model import RandomFeatureModel
from .options import (
    PICTURES,
    TABLES,
    Dimension,
    Json,
    Kind,
    Out,
    Repeats,
    Rows,
    Seed,
    app,
    check_out,
    draw_to,
    geometric_times,
    of_model,
    partial_of,
    random_key,
    write_table,
)


@app.command("sample")
@of_model
def sample_command(
    model: RandomFeatureModel,
    samples: np.ndarray | None,
    d: Dimension = None,
    kind: Kind = "features",
    rows: Rows = "gaussian",
    repeats: Repeats = 1,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Eigenvalues of sampled feature matrices beside the theory;
    an interrupted run with --out continues.
    """
    from .. import empirical

    check_out(out, (*TABLES, ".nc"))
    partial = partial_of(out)
    sampled = empirical.spectrum(
        random_key(seed),
        model,
        d,
        kind=kind,
        data=samples,
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
        write_table(
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
            for value, true in (
                (found.lower, exact.lower),
                (found.upper, exact.upper),
                (found.mass, exact.mass),
            )
        ]
        typer.echo(f"{exact.part:<22}{numbers[0]:>28}{numbers[1]:>28}{numbers[2]:>26}")
    atom, exact_atom = sampled.atom, sampled.theory.atom
    place = f"{float(atom.location):12.6g} ({float(exact_atom.location):.6g})"
    mass = f"{float(atom.mass):12.6g} ({float(exact_atom.mass):.6g})"
    typer.echo(f"{'atom':<22}{place:>28}{'':28}{mass:>26}\nin brackets the theory")


@app.command("train")
@of_model
def train_command(
    model: RandomFeatureModel,
    samples: np.ndarray | None,
    d: Dimension = None,
    optimizer: Annotated[
        str, typer.Option(help="gradient_flow, gd, momentum, nesterov, adam or sgd")
    ] = "gradient_flow",
    learning_rate: Annotated[
        float | None, typer.Option(help="step size; of all but gradient_flow")
    ] = None,
    momentum: Annotated[float, typer.Option(help="of momentum and nesterov, in [0, 1)")] = 0.9,
    noise_draws: Annotated[
        int | None, typer.Option(help="fresh draws of the noise a step, of adam and sgd")
    ] = None,
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
    """Losses of sampled models in training;
    an interrupted run with --out continues and ends with the same bits.
    """
    from .. import empirical

    check_out(out, (*TABLES, *PICTURES, ".nc"))
    tau = geometric_times(tau_min, tau_max, points)
    partial = partial_of(out)
    curve = empirical.learning_curve(
        random_key(seed),
        model,
        tau,
        d,
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        noise_draws=noise_draws,
        batch_size=batch_size,
        kind=kind,
        data=samples,
        rows=rows,
        repeats=repeats,
        checkpoint=partial,
        progress=not json,
    )
    columns = {
        name: np.asarray(getattr(curve, name))
        for name in ("tau", "train", "test", "score_error", "error")
    }
    columns |= {
        f"{name}_standard_error": v
        for name, v in curve.standard_error._asdict().items()
        if repeats > 1
    }
    report = {"model": repr(model), "optimizer": optimizer, **columns}
    if out is not None and out.suffix in PICTURES:
        draw_to(out, lambda plotting: plotting.learning_curve(curve))
    elif out is not None:
        settings = {
            "d": d,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "seed": seed,
            "repeats": repeats,
        }
        attributes = {"model": repr(model), **{k: v for k, v in settings.items() if v is not None}}
        variables = {name: (("tau",), values, "1") for name, values in columns.items()}
        write_table(out, report, variables, columns, attributes)
    forget(partial)
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}, {optimizer}\n{'tau':>14}{'train':>14}{'test':>14}{'score error':>14}")
    for row in zip(curve.tau, curve.train, curve.test, curve.score_error, strict=True):
        typer.echo("".join(f"{float(x):14.6g}" for x in row))


@app.command("compare")
@of_model
def compare_command(
    model: RandomFeatureModel,
    samples: np.ndarray | None,
    d: Dimension = None,
    kind: Kind = "features",
    rows: Rows = "gaussian",
    repeats: Repeats = 1,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Distances of sampled spectra from the theory, and those to be expected at this d."""
    from .. import empirical

    check_out(out, (*TABLES, ".nc"))
    partial = partial_of(out)
    sampled = empirical.spectrum(
        random_key(seed),
        model,
        d,
        kind=kind,
        data=samples,
        rows=rows,
        repeats=repeats,
        checkpoint=partial,
        progress=not json,
    )
    found = empirical.compare(sampled.theory, sampled, key=random_key(seed + 1))
    assert isinstance(found, empirical.Comparison)
    table = found.rows()
    report = {"model": repr(model), "d": sampled.d, "repeats": repeats, "deviations": table}
    if out is not None:
        columns = {name: [row[name] for row in table] for name in table[0]}
        variables = {name: (("name",), values, "1") for name, values in columns.items()}
        write_table(
            out, report, variables, columns, {"model": repr(model), "d": sampled.d, "seed": seed}
        )
        forget(partial)
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}, d = {sampled.d}, p = {sampled.p}, {repeats} × {kind}")
    typer.echo(f"{'deviation':<16}{'found':>14}{'standard error':>16}{'expected size':>15}")
    for row in table:
        typer.echo(
            f"{row['name']:<16}{row['found']:14.4g}{row['error']:16.4g}{row['expected']:15.4g}"
        )


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="folder for pictures and tables")] = Path(
        "results/demo"
    ),
    scale: Annotated[
        float, typer.Option(help="size of the sampled matrices, 1 = p of 2,560")
    ] = 1.0,
    json: Json = False,
) -> None:
    """Theory, sampled features and real training steps of three models, one on real images."""
    import matplotlib as mpl

    mpl.use("Agg")
    from . import demo

    if not 0 < scale <= 4:
        raise ValueError(f"scale must be in (0, 4], got {scale}")
    check_target("out", out, folder=True)
    outcomes = demo.run(out, scale=scale, progress=not json)
    if json:
        typer.echo(to_json([demo.summary(o) for o in outcomes]))
        return
    for outcome in outcomes:
        typer.echo(demo.table(outcome) + "\n")
    typer.echo(f"pictures and tables are in {out}/")
