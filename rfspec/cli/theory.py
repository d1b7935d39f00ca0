"""Commands of the exact theory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

import numpy as np
import typer

from ..files.tables import aligned
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_scalar
from .data_files import require_memory
from .options import PER_POINT, Json, Out, app, geometric_times, numbers, of_law, of_model
from .output import (
    PICTURES,
    TABLES,
    along,
    check_out,
    columns_along,
    deliver,
    lines_of_stop,
    partial_of,
    rows_of,
)


@app.command("spectrum")
@of_model
def spectrum_command(
    model: RandomFeatureModel,
    points: Annotated[int, typer.Option(help="densities written to --out, per bulk")] = 200,
    out: Out = None,
    json: Json = False,
) -> None:
    """Edges, bulks, atom, masses and loss drops of the spectrum of U."""
    from ..spectra.spectrum import spectrum

    check_out(out, TABLES + PICTURES)
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    require_memory(PER_POINT * points, f"{points} points of each bulk", "take fewer points")
    sp = spectrum(model)
    bulks = sp.columns()
    report = {
        "model": repr(model),
        "atom": sp.atom._asdict(),
        "bulks": rows_of(bulks),
        "separated": bool(sp.separated),
        "reason": sp.reason,
        "error": sp.error,
    }

    def densities() -> dict[str, Any]:
        from ..plotting.densities import inside

        x = np.concatenate([inside(float(b.lower), float(b.upper), points) for b in sp.bulks])
        return {"lambda": x, "density": sp.density(x), "cdf": sp.cdf(x)}

    def lines() -> Iterator[str]:
        atom = {"part": "atom", "lower": sp.atom.location, "mass": sp.atom.mass}
        yield repr(model)
        yield from aligned(
            {name: [*values[::-1], atom.get(name, np.nan)] for name, values in bulks.items()}
        )
        reason = f"; {sp.reason}" if sp.reason else ""
        yield f"error of the distribution {float(sp.error):.1e}{reason}"

    draw = lambda plotting: plotting.spectrum(sp, points=points)
    deliver(report, lines(), out, json, columns=densities, picture=draw)


@app.command("timescales")
@of_model
def timescales_command(
    model: RandomFeatureModel,
    rule: Annotated[
        str | None, typer.Option(help='"paper", "spectrum" or "loss"; the first two if not given')
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Training times of the population, sample and satellite parts."""
    from ..training.timescales import RULES, timescales

    check_out(out, TABLES)
    results = [timescales(model, r) for r in ([rule] if rule else RULES[:2])]
    columns = {
        name: [value for ts in results for value in ts.columns()[name]]
        for name in results[0].columns()
    }
    report: dict[str, Any] = {"model": repr(model), "times": rows_of(columns)}
    for name in ("tau_gen", "tau_mem", "separated", "reason"):
        report[name] = {ts.rule: getattr(ts, name) for ts in results}

    def lines() -> Iterator[str]:
        yield f"{model!r}, times tau = k eta/d^2"
        yield from aligned(columns)
        for ts in results:
            reason = f"; {ts.reason}" if ts.reason else ""
            gen, mem = float(ts.tau_gen), float(ts.tau_mem)
            yield f"{ts.rule}: tau_gen = {gen:.6g}, tau_mem = {mem:.6g}{reason}"

    deliver(report, lines(), out, json, columns=lambda: columns)


@app.command("curve")
@of_model
def curve_command(
    model: RandomFeatureModel,
    tau_min: Annotated[float, typer.Option(help="first training time tau = k eta/d^2")] = 1.0,
    tau_max: Annotated[float, typer.Option(help="last training time")] = 1e6,
    points: Annotated[int, typer.Option(help="training times, spaced geometrically")] = 61,
    step: Annotated[float | None, typer.Option(help="training time of one step, eta/d^2")] = None,
    momentum: Annotated[
        float, typer.Option(help="heavy-ball momentum in [0, 1), with --step")
    ] = 0.0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Exact train, test and score losses along training, without training."""
    from ..training.early_stopping import early_stopping
    from ..training.learning_curves import learning_curve

    check_out(out, (*TABLES, *PICTURES, ".nc"))
    curve = learning_curve(
        model, geometric_times(tau_min, tau_max, points), step, momentum=momentum
    )
    losses = curve.columns()
    drops = {f"drop_{part}": np.asarray(drop) for part, drop in curve.drops.items()}
    columns, settings = losses | drops, {"step": step, "momentum": momentum}
    deliver(
        {"model": repr(model), **settings, **columns},
        chain([repr(model)], aligned(losses, plain="14.8g")),
        out,
        json,
        columns=lambda: columns,
        dataset=along("tau", columns, model=repr(model), **settings),
        picture=lambda plotting: plotting.learning_curve(curve, stop=early_stopping(model)),
    )


@app.command("early-stopping")
@of_model
def early_stopping_command(
    model: RandomFeatureModel,
    tolerance: Annotated[float, typer.Option(help="of the window, in units of the loss")] = 0.01,
    wider: Annotated[
        float | None,
        typer.Option(help="also: the psi_n at which the window is this many times wider"),
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """The best training time, and the window in which stopping is safe."""
    from ..training.early_stopping import early_stopping
    from ..training.scaling import required

    check_out(out, TABLES)
    if wider is not None:
        real_scalar("wider", wider, above=0.0)
    stop = early_stopping(model, tolerance)
    row = stop.columns()
    if wider is not None:
        width = wider * float(stop.width)
        more = required(model, "n", for_window=width, tolerance=tolerance)
        row["required_psi_n"] = more.value
    told = ("regularised", "nothing_to_learn", "ambiguous")
    report = {"model": repr(model), **row, **{name: getattr(stop, name) for name in told}}

    def lines() -> Iterator[str]:
        yield repr(model)
        yield from lines_of_stop(stop)
        if wider is not None:
            yield f"window {wider:g} times wider at psi_n = {row['required_psi_n']:.6g}"

    deliver(report, lines(), out, json, columns=lambda: {k: [float(v)] for k, v in row.items()})


@app.command("over-time")
@of_law
def over_time_command(
    law: dict[str, Any],
    psi_p: Annotated[float, typer.Option(help="features per dimension, p/d > 0")],
    psi_n: Annotated[float, typer.Option(help="samples per dimension, n/d > 0")],
    ts: Annotated[
        str,
        typer.Option(
            help="times of the process: low:high:points, geometric, or numbers with commas"
        ),
    ],
    loss_weights: Annotated[
        str | None, typer.Option(help="weights of the losses, comma separated; equal by default")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="of the stopping windows, in units of the loss")
    ] = 0.01,
    out: Out = None,
    json: Json = False,
) -> None:
    """Timescales and best times along the process, and what one stopping time for all of it costs.

    --process names the kind of process, at any of its times; without it it is that of --t.
    """
    from ..surveys.diffusion_times import over_time

    check_out(out, (*TABLES, *PICTURES, ".nc"))
    times = _grid("ts", ts)
    if law["process"] is None and law["t"] is None:
        law["t"] = times[0]
    shares = None if loss_weights is None else numbers("loss_weights", loss_weights)
    found = over_time(
        RandomFeatureModel(psi_p, psi_n, **law),
        times,
        shares,
        tolerance=tolerance,
        progress=not json,
    )
    columns = columns_along("t", found)
    scalars = {str(name): float(found[name]) for name in found.data_vars if not found[name].dims}
    statement = {"statement": found.attrs["statement"]}
    shown = ("tau_gen_spectrum", "tau_star", "tau_mem_spectrum", "window_lower", "window_upper")
    losses = ("test_star", "test_shared")
    table = {name.removesuffix("_spectrum"): columns[name] for name in ("t", *shown, *losses)}
    deliver(
        {"model": found.attrs["model"], **scalars, **statement, **columns},
        chain([found.attrs["model"]], aligned(table), statement.values()),
        out,
        json,
        columns=lambda: columns,
        dataset=lambda: found,
        picture=lambda plotting: plotting.over_time(found),
    )


@app.command("phase-diagram")
@of_law
def phase_diagram_command(
    law: dict[str, Any],
    psi_n: Annotated[
        str, typer.Option(help="low:high:points, spaced geometrically, or numbers with commas")
    ] = "1:1000:64",
    psi_p: Annotated[str, typer.Option(help="likewise")] = "1:1000:64",
    tau: Annotated[
        str, typer.Option(help="training budget; of tables several, with commas")
    ] = "inf",
    tolerance: Annotated[
        float, typer.Option(help="of the stopping window, in units of the loss")
    ] = 0.01,
    threshold: Annotated[
        float, typer.Option(help="share of its limit at which the gap counts as open")
    ] = 0.1,
    times: Annotated[str, typer.Option(help="training time drawn as contours")] = "tau_star",
    out: Out = None,
    json: Json = False,
) -> None:
    """Regions, timescales and best times over psi_n and psi_p;
    an interrupted run with --out continues.
    """
    from ..surveys.phase import phase_diagram
    from ..surveys.phase_dataset import CELL_STATUS, REGIONS

    check_out(out, (*PICTURES, ".nc"))
    budgets = numbers("tau", tau)
    if out is not None and out.suffix in PICTURES and len(budgets) > 1:
        raise ValueError(
            f"tau must be one number for a picture, got {tau}; a .nc file takes several"
        )
    if out is not None and out.suffix in PICTURES:
        from ..plotting.phases import check_times

        check_times(times)
    p, n = _grid("psi_p", psi_p), _grid("psi_n", psi_n)
    require_memory(PER_POINT * len(p) * len(n), f"{len(p)} × {len(n)} cells", "take fewer points")
    found = phase_diagram(
        p,
        n,
        tau=budgets if len(budgets) > 1 else budgets[0],
        **law,
        tolerance=tolerance,
        threshold=threshold,
        checkpoint=partial_of(out),
        progress=not json,
    )
    values = {str(name): found[name].values for name in found.variables}

    def lines() -> Iterator[str]:
        yield found.attrs["model"].replace("psi_p=1, psi_n=1, ", "")
        for budget in budgets:
            region = (found.sel(tau=budget) if len(budgets) > 1 else found).region
            shares = (f"{name} {float((region == i).mean()):.1%}" for i, name in enumerate(REGIONS))
            yield f"tau = {budget:g}: " + ", ".join(shares)
        for code in sorted(set(np.ravel(found.status.values).tolist())):
            yield f"{int((found.status == code).sum())} cells: {CELL_STATUS[code]}"

    draw = lambda plotting: plotting.phase_diagram(found, times=times)
    deliver(
        {**values, "tau": budgets},
        lines(),
        out,
        json,
        partial=partial_of(out),
        dataset=lambda: found,
        picture=draw,
    )


def _grid(name: str, text: str) -> np.ndarray | list[float]:
    """Numbers with commas, or low:high:points."""
    if ":" not in text:
        return numbers(name, text)
    try:
        low, high, points = text.split(":")
        ends, count = (float(low), float(high)), int(points)
    except ValueError as e:
        raise ValueError(
            f"{name} must be low:high:points or numbers separated by commas, got {text!r:.100}"
        ) from e
    if not (0 < ends[0] < ends[1] < np.inf and count >= 2):
        raise ValueError(
            f"{name} must be low:high:points with 0 < low < high and at least 2 points, got "
            f"{text!r}"
        )
    require_memory(PER_POINT * count, f"{count} points of {name}", "take fewer points")
    return np.geomspace(*ends, count)
