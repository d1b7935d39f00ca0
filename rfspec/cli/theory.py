"""Commands of the exact theory."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from ..files.checkpoint import forget
from ..files.io import to_json, write_csv, write_dataset, write_json
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_scalar
from .options import (
    PER_POINT,
    PICTURES,
    TABLES,
    Json,
    Out,
    app,
    check_out,
    draw_to,
    geometric_times,
    numbers,
    of_law,
    of_model,
    partial_of,
    require_memory,
    write_table,
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
                "share": float(b.loss_drop) / total if total else np.nan,  # where nothing is learnt
            }
            for b in sp.bulks
        ],
        "separated": bool(sp.separated),
        "reason": sp.reason,
        "error": sp.error,
    }
    if out is not None and out.suffix == ".json":
        write_json(out, report)
    elif out is not None and out.suffix == ".csv":
        from ..plotting.densities import inside

        x = np.concatenate([inside(float(b.lower), float(b.upper), points) for b in sp.bulks])
        write_csv(out, {"lambda": x, "density": sp.density(x), "cdf": sp.cdf(x)})
    elif out is not None:
        draw_to(out, lambda plotting: plotting.spectrum(sp, points=points))
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(f"{model!r}")
    typer.echo(
        f"{'part':<22}{'lower edge':>16}{'upper edge':>16}{'mass':>12}{'loss drop':>12}{'share':>8}"
    )
    for b in report["bulks"][::-1]:
        numbers = f"{float(b['lower']):16.10g}{float(b['upper']):16.10g}{float(b['mass']):12.8f}"
        typer.echo(f"{b['part']:<22}{numbers}{float(b['loss_drop']):12.6f}{b['share']:8.1%}")
    typer.echo(f"{'atom':<22}{float(sp.atom.location):16.10g}{'':16}{float(sp.atom.mass):12.8f}")
    typer.echo(
        f"error of the distribution {float(sp.error):.1e}" + (f"; {sp.reason}" if sp.reason else "")
    )


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
    rows = [
        {
            "rule": ts.rule,
            "part": part,
            "fast": getattr(ts.fast, part),
            "slow": getattr(ts.slow, part),
        }
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
        write_json(out, report)
    elif out is not None:
        write_csv(out, {name: [row[name] for row in rows] for name in rows[0]})
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(
        f"{model!r}\n{'rule':<10}{'part':<12}{'fast end':>14}{'slow end':>14}   (tau = k eta/d^2)"
    )
    for row in rows:
        typer.echo(
            f"{row['rule']:<10}{row['part']:<12}{float(row['fast']):14.6g}{float(row['slow']):14.6g}"
        )
    for ts in results:
        name = {"population": "tau_gen", "sample": "tau_mem"}
        times = ", ".join(f"{name[p]} = {float(getattr(ts.slow, p)):.6g}" for p in name)
        typer.echo(f"{ts.rule}: {times}" + (f"; {ts.reason}" if ts.reason else ""))


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
    columns = {
        n: np.asarray(getattr(curve, n))
        for n in ("tau", "train", "test", "gap", "score_error", "error")
    }
    columns |= {f"drop_{part}": np.asarray(drop) for part, drop in curve.drops.items()}
    settings = {"step": step, "momentum": momentum}
    report = {"model": repr(model), **settings, **columns}
    if out is not None and out.suffix in PICTURES:
        draw_to(out, lambda plotting: plotting.learning_curve(curve, stop=early_stopping(model)))
    elif out is not None:
        attributes = {"model": repr(model), **{k: v for k, v in settings.items() if v is not None}}
        variables = {name: (("tau",), values, "1") for name, values in columns.items()}
        write_table(out, report, variables, columns, attributes)
    if json:
        typer.echo(to_json(report))
        return
    typer.echo(
        f"{model!r}\n{'tau':>14}{'train':>14}{'test':>14}"
        f"{'gap':>14}{'score error':>14}{'error':>10}"
    )
    for row in zip(
        *(columns[n] for n in ("tau", "train", "test", "gap", "score_error", "error")), strict=True
    ):
        typer.echo("".join(f"{float(x):14.8g}" for x in row[:-1]) + f"{float(row[-1]):10.1e}")


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
    row = {
        "tau": stop.tau,
        "tau_error": stop.tau_error,
        "window_lower": stop.window.lower,
        "window_upper": stop.window.upper,
        "tolerance": tolerance,
        "train": stop.train,
        "test": stop.test,
        "score_error": stop.score_error,
        "test_limit": stop.test_limit,
        "error": stop.error,
    }
    if wider is not None:
        row["required_psi_n"] = required(
            model, "n", for_window=wider * float(stop.width), tolerance=tolerance
        ).value
    told = {
        name: bool(getattr(stop, name)) for name in ("regularised", "nothing_to_learn", "ambiguous")
    }
    report = {"model": repr(model), **row, **told}
    if out is not None:
        write_table(out, report, {}, {name: [float(value)] for name, value in row.items()}, {})
    if json:
        typer.echo(to_json(report))
        return
    lower, upper = float(stop.window.lower), float(stop.window.upper)
    typer.echo(f"{model!r}")
    off = float(stop.tau * stop.tau_error) if np.isfinite(float(stop.tau)) else 0.0
    typer.echo(f"best training time   tau = {float(stop.tau):.8g} ± {off:.1e} (k eta/d^2)")
    typer.echo(f"losses there         test {float(stop.test):.8f}, train {float(stop.train):.8f}")
    typer.echo(f"score error there    {float(stop.score_error):.8g}")
    typer.echo(
        f"safe window          [{lower:.6g}, {upper:.6g}], test loss within {tolerance:g} of its "
        "minimum"
    )
    typer.echo(
        f"test loss at the end {float(stop.test_limit):.8f}"
        + (f"; {stop.advice}" if stop.advice else "")
    )
    if wider is not None:
        typer.echo(f"window {wider:g} times wider at psi_n = {row['required_psi_n']:.6g}")


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
    columns = {"t": found.t.values}
    for name in ("tau_gen", "tau_mem"):
        columns |= {
            f"{name}_{rule}": found[name].sel(rule=rule).values for rule in found.rule.values
        }
    columns |= {
        str(name): found[name].values for name in found.data_vars if found[name].dims == ("t",)
    }
    scalars = {str(name): float(found[name]) for name in found.data_vars if not found[name].dims}
    report = {
        "model": found.attrs["model"],
        **scalars,
        "statement": found.attrs["statement"],
        **columns,
    }
    if out is not None and out.suffix in PICTURES:
        draw_to(out, lambda plotting: plotting.over_time(found))
    elif out is not None and out.suffix == ".nc":
        write_dataset(out, found)
    elif out is not None:
        write_table(out, report, {}, columns, {})
    if json:
        typer.echo(to_json(report))
        return
    shown = (
        "t",
        "tau_gen_spectrum",
        "tau_star",
        "tau_mem_spectrum",
        "window_lower",
        "window_upper",
        "test_star",
    )
    typer.echo(found.attrs["model"])
    typer.echo("".join(f"{name.removesuffix('_spectrum'):>14}" for name in (*shown, "test_shared")))
    for row in zip(*(columns[name] for name in (*shown, "test_shared")), strict=True):
        typer.echo("".join(f"{float(x):14.6g}" for x in row))
    typer.echo(found.attrs["statement"])


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
    from ..surveys.phase_dataset import REGIONS, STATUS

    check_out(out, (*PICTURES, ".nc"))
    budgets = numbers("tau", tau)
    if out is not None and out.suffix in PICTURES and len(budgets) > 1:
        raise ValueError(
            f"tau must be one number for a picture, got {tau}; a .nc file takes several"
        )
    if out is not None and out.suffix in PICTURES:
        from ..plotting.phases import check_times

        check_times(times)
    partial, p, n = partial_of(out), _grid("psi_p", psi_p), _grid("psi_n", psi_n)
    require_memory(PER_POINT * len(p) * len(n), f"{len(p)} × {len(n)} cells", "take fewer points")
    found = phase_diagram(
        p,
        n,
        tau=budgets if len(budgets) > 1 else budgets[0],
        **law,
        tolerance=tolerance,
        threshold=threshold,
        checkpoint=partial,
        progress=not json,
    )
    if out is not None and out.suffix in PICTURES:
        draw_to(out, lambda plotting: plotting.phase_diagram(found, times=times))
    elif out is not None:
        write_dataset(out, found)
    forget(partial)
    if json:
        columns = {name: found[name].values for name in found.data_vars}
        typer.echo(
            to_json(
                {
                    "psi_p": found.psi_p.values,
                    "psi_n": found.psi_n.values,
                    "tau": budgets,
                    **columns,
                }
            )
        )
        return
    typer.echo(found.attrs["model"].replace("psi_p=1, psi_n=1, ", ""))
    for budget in budgets:
        region = (found.sel(tau=budget) if len(budgets) > 1 else found).region
        shares = (f"{name} {float((region == i).mean()):.1%}" for i, name in enumerate(REGIONS))
        typer.echo(f"tau = {budget:g}: " + ", ".join(shares))
    for code in sorted(set(np.ravel(found.status.values).tolist())):
        typer.echo(f"{int((found.status == code).sum())} cells: {STATUS[code]}")


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
