"""Commands of sampled matrices and training, and the demonstration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..files.io import check_target, dataset_of, to_json
from ..files.tables import EIGENVALUE, aligned
from ..models.model import RandomFeatureModel
from ..numerics.checks import random_key
from .options import (
    OUTPUT,
    SAMPLING,
    TRAINING,
    Json,
    TauMax,
    TauMin,
    Times,
    app,
    geometric_times,
    of_sample,
    option,
)
from .output import PICTURES, TABLES, deliver, file_in, partial_of, rows_of


@app.command("sample")
@of_sample
def sample_command(
    model: RandomFeatureModel,
    drawn: dict[str, Any],
    seed: int,
    out: Annotated[Path | None, file_in(*TABLES)] = None,
    json: Json = False,
) -> None:
    """Eigenvalues of sampled feature matrices beside the theory;
    an interrupted run with --out continues.
    """
    from .. import empirical

    sampled = empirical.spectrum(
        model=model, **drawn, checkpoint=partial_of(out), progress=not json
    )
    values, theory = np.asarray(sampled.eigenvalues), sampled.theory
    columns = {f"repeat_{i}": row for i, row in enumerate(values)}
    report = {
        "p": sampled.p,
        "repeats": sampled.repeats,
        "atom": sampled.atom._asdict(),
        "bulks": [b._asdict() for b in sampled.bulks],
    }

    def beside(name: str) -> list[str]:
        """A number of each part, and in brackets that of the theory."""
        found = [*sampled.bulks[::-1], sampled.atom]
        pairs = zip(found, [*theory.bulks[::-1], theory.atom], strict=True)
        return [
            f"{float(getattr(of, name)):.6g} ({float(getattr(exact, name)):.6g})"
            if hasattr(exact, name)
            else ""
            for of, exact in pairs
        ]

    def lines() -> Iterator[str]:
        yield f"{model!r}, d = {sampled.d}, p = {sampled.p}, {sampled.repeats} × {drawn['kind']}"
        columns = {name: beside(name) for name in ("location", "lower", "upper", "mass")}
        yield from aligned({"part": [*(b.part for b in theory.bulks[::-1]), "atom"], **columns})
        yield "in brackets the theory"

    deliver(
        report,
        lines(),
        out,
        json,
        model=model,
        about={**_drawn_how(drawn, seed), "d": sampled.d},
        partial=partial_of(out),
        table=lambda: columns,
        dataset=lambda: dataset_of({"eigenvalue": (("repeat", "index"), values)}),
        units=dict.fromkeys(["eigenvalue", *columns], EIGENVALUE),
    )


def _drawn_how(drawn: dict[str, Any], seed: int) -> dict[str, Any]:
    # what is kept of a draw beside its result
    return {name: drawn[name] for name in ("d", "kind", "rows")} | {"seed": seed}


@app.command("train")
@of_sample
def train_command(
    model: RandomFeatureModel,
    drawn: dict[str, Any],
    seed: int,
    optimizer: Annotated[
        str, option(TRAINING, "gradient_flow, gd, momentum, nesterov, adam or sgd")
    ] = "gradient_flow",
    learning_rate: Annotated[
        float | None, option(TRAINING, "step size; of all but gradient_flow")
    ] = None,
    momentum: Annotated[float, option(TRAINING, "of momentum and nesterov, in [0, 1)")] = 0.9,
    fresh_draws: Annotated[
        int | None, option(TRAINING, "fresh draws of the noise a step, of adam and sgd")
    ] = None,
    batch_size: Annotated[int | None, option(TRAINING, "samples a step, of adam and sgd")] = None,
    tau_min: TauMin = 1.0,
    tau_max: TauMax = 1e5,
    points: Times = 41,
    out: Annotated[Path | None, file_in(*TABLES, *PICTURES)] = None,
    json: Json = False,
) -> None:
    """Losses of sampled models in training;
    an interrupted run with --out continues and ends with the same bits.
    """
    from .. import empirical

    tau = geometric_times(tau_min, tau_max, points)
    curve = empirical.learning_curve(
        model=model,
        tau=tau,
        **drawn,
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        fresh_draws=fresh_draws,
        batch_size=batch_size,
        checkpoint=partial_of(out),
        progress=not json,
    )
    columns = curve.columns()
    table = {name: columns[name] for name in ("tau", "train", "test", "score_error")}
    trained = {
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "repeats": drawn["repeats"],
        **_drawn_how(drawn, seed),
    }
    deliver(
        columns,
        chain([f"{model!r}, {optimizer}"], aligned(table)),
        out,
        json,
        model=model,
        about=trained,
        partial=partial_of(out),
        table=lambda: curve,
        picture=lambda plotting: plotting.learning_curve(curve),
    )


@app.command("compare")
@of_sample
def compare_command(
    model: RandomFeatureModel,
    drawn: dict[str, Any],
    seed: int,
    out: Annotated[Path | None, file_in(*TABLES)] = None,
    json: Json = False,
) -> None:
    """Distances of sampled spectra from the theory, and those to be expected at this d."""
    from .. import empirical

    sampled = empirical.spectrum(
        model=model, **drawn, checkpoint=partial_of(out), progress=not json
    )
    found = empirical.compare(sampled.theory, sampled, key=random_key("seed", seed + 1))
    assert isinstance(found, empirical.Comparison)
    columns = found.columns()
    title = f"{model!r}, d = {sampled.d}, p = {sampled.p}, {sampled.repeats} × {drawn['kind']}"
    table = {
        "deviation": columns["name"],
        **{name: columns[name] for name in ("found", "error", "expected")},
    }
    deliver(
        {"repeats": sampled.repeats, "deviations": rows_of(columns)},
        chain([title], aligned(table, plain="14.4g")),
        out,
        json,
        model=model,
        about={**_drawn_how(drawn, seed), "d": sampled.d},
        partial=partial_of(out),
        table=lambda: found,
    )


@app.command("demo")
def demo_command(
    out: Annotated[Path, option(OUTPUT, "folder for pictures and tables")] = Path("results/demo"),
    scale: Annotated[float, option(SAMPLING, "size of the sampled matrices, 1 = p of 2,560")] = 1.0,
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
