"""Commands of the exact theory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..files.tables import aligned
from ..io.writing import as_dataset
from ..models.model import RandomFeatureModel
from ..numerics.checks import real_scalar
from ..resolvent.solver import ConvergenceError
from .data_files import require_memory
from .options import (
    OUTPUT,
    PER_POINT,
    TRAINING,
    Json,
    TauMax,
    TauMin,
    Times,
    Tolerance,
    app,
    geometric_times,
    of_model,
    option,
)
from .output import PICTURES, TABLES, deliver, file_in, rows_of

# what may be asked for in terms of psi_n, and the column of the answer
WISHES = {
    "wider": "window {:g} times wider",
    "for_tau": "window up to tau = {:g}",
    "for_gap": "gap of {:g} at the best time",
}
REQUIRED = {
    "wider": "required_psi_n",
    "for_tau": "required_psi_n_for_tau",
    "for_gap": "required_psi_n_for_gap",
}

if TYPE_CHECKING:
    import xarray

    from ..spectra.finite_d import SpectrumAtFiniteD
    from ..training.timescales import Timescales


@app.command("spectrum")
@of_model
def spectrum_command(
    model: RandomFeatureModel,
    points: Annotated[
        int, option(OUTPUT, "densities written to --out, per bulk, or with --d per part")
    ] = 200,
    out: Annotated[Path | None, file_in(*TABLES, *PICTURES)] = None,
    json: Json = False,
) -> None:
    """Edges, bulks, atom, masses and loss drops of the spectrum of U; with --d parts and atom."""
    from ..spectra.finite_d import SpectrumAtFiniteD
    from ..spectra.of_models import spectrum

    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    require_memory(PER_POINT * points, f"{points} points of each bulk", "take fewer points")
    sp = spectrum(model)
    rows = sp.columns()
    report = {
        "atom": sp.atom._asdict(),
        **(_of_finite_d(sp) if isinstance(sp, SpectrumAtFiniteD) else {"bulks": rows_of(rows)}),
        "separated": bool(sp.separated),
        "reason": sp.reason,
        "error": sp.error,
    }

    def densities() -> dict[str, Any]:
        from ..plotting.densities import inside

        ends = zip(rows["lower"], rows["upper"], strict=True)
        x = np.concatenate([inside(float(a), float(b), points) for a, b in ends])
        return {"lambda": x, "density": sp.density(x), "cdf": sp.cdf(x)}

    def everything() -> xarray.Dataset:
        atom = {f"atom_{name}": value for name, value in sp.atom._asdict().items()}
        parts = (sp, densities(), atom)
        first, *others = (as_dataset(part, {}) for part in parts)
        return first.merge(others[0]).merge(others[1])

    def lines() -> Iterator[str]:
        atom = {"part": "atom", "lower": sp.atom.location, "mass": sp.atom.mass}
        yield repr(model)
        yield from aligned(
            {name: [*values[::-1], atom.get(name, np.nan)] for name, values in rows.items()}
        )
        reason = f"; {sp.reason}" if sp.reason else ""
        yield f"error of the distribution {float(sp.error):.1e}{reason}"

    deliver(
        report,
        lines(),
        out,
        json,
        model=model,
        table=densities,
        dataset=everything,
        picture=lambda plotting: plotting.spectrum(sp, points=points),
    )


def _of_finite_d(sp: SpectrumAtFiniteD) -> dict[str, Any]:
    return {
        "parts": rows_of(sp.columns()),
        "support": sp.support._asdict(),
        "mean": sp.mean,
    }


@app.command("timescales")
@of_model
def timescales_command(
    model: RandomFeatureModel,
    rule: Annotated[
        str | None, option(TRAINING, '"loss", "spectrum" or "paper"; all if not given')
    ] = None,
    out: Annotated[Path | None, file_in(*TABLES)] = None,
    json: Json = False,
) -> None:
    """Training times of the population, sample and satellite parts."""
    results, failed = _by_rules(model, rule)
    columns = {
        name: [value for ts in results for value in ts.columns()[name]]
        for name in results[0].columns()
    }
    report: dict[str, Any] = {"times": rows_of(columns)}
    for name in ("tau_gen", "tau_mem", "separated", "reason"):
        report[name] = {ts.rule: getattr(ts, name) for ts in results}
    report["reason"] |= failed

    def by_rule() -> xarray.Dataset:
        import xarray

        each = [as_dataset(ts, {}).drop_vars("rule") for ts in results]
        rules = xarray.DataArray([ts.rule for ts in results], dims="rule", name="rule")
        return xarray.concat(each, dim=rules).assign_attrs(title="Training times by each rule")

    def lines() -> Iterator[str]:
        yield f"{model!r}, times tau = k eta/d^2"
        yield from aligned(columns)
        for ts in results:
            yield f"{ts.rule}: {'; '.join(ts.notes())}"
        for name, reason in failed.items():
            yield f"{name}: {reason}"

    deliver(report, lines(), out, json, model=model, table=lambda: columns, dataset=by_rule)


def _by_rules(
    model: RandomFeatureModel, rule: str | None
) -> tuple[list[Timescales], dict[str, str]]:
    # the recommended rule first, and why another has no times
    from ..training.timescales import RULES, timescales

    results, failed = [], {}
    for name in [rule] if rule else sorted(RULES, key=lambda name: name != "loss"):
        try:
            results.append(timescales(model, name))
        except ConvergenceError as e:
            failed[name] = str(e)
    if not results:
        raise ConvergenceError("; ".join(failed.values()))
    return results, failed


@app.command("curve")
@of_model
def curve_command(
    model: RandomFeatureModel,
    tau_min: TauMin = 1.0,
    tau_max: TauMax = 1e6,
    points: Times = 61,
    step: Annotated[float | None, option(TRAINING, "training time of one step, eta/d^2")] = None,
    momentum: Annotated[
        float, option(TRAINING, "heavy-ball momentum in [0, 1), with --step")
    ] = 0.0,
    out: Annotated[Path | None, file_in(*TABLES, *PICTURES)] = None,
    json: Json = False,
) -> None:
    """Exact train, test and score losses along training, without training."""
    from ..training.early_stopping import early_stopping
    from ..training.learning_curves import learning_curve

    curve = learning_curve(
        model, geometric_times(tau_min, tau_max, points), step, momentum=momentum
    )
    losses = curve.columns()
    drops = {f"drop_{part}": np.asarray(drop) for part, drop in curve.drops.items()}
    columns, settings = losses | drops, {"step": step, "momentum": momentum}
    deliver(
        columns,
        chain([repr(model)], aligned(losses, plain="14.8g")),
        out,
        json,
        model=model,
        about=settings,
        units=dict.fromkeys(drops, "loss"),
        table=lambda: columns,
        picture=lambda plotting: plotting.learning_curve(curve, stop=early_stopping(model)),
    )


@app.command("early-stopping")
@of_model
def early_stopping_command(
    model: RandomFeatureModel,
    tolerance: Tolerance = 0.01,
    wider: Annotated[
        float | None,
        option(TRAINING, "also: the psi_n at which the window is this many times wider"),
    ] = None,
    for_tau: Annotated[
        float | None, option(TRAINING, "also: the psi_n at which the window ends at this tau")
    ] = None,
    for_gap: Annotated[
        float | None,
        option(TRAINING, "also: the psi_n at which test - train loss at the best time is this"),
    ] = None,
    out: Annotated[Path | None, file_in(*TABLES)] = None,
    json: Json = False,
) -> None:
    """The best training time, the window in which stopping is safe, and what more samples give."""
    from ..surveys.predicted import lines_of_stop
    from ..training.early_stopping import early_stopping
    from ..training.scaling import required

    wishes = {"wider": wider, "for_tau": for_tau, "for_gap": for_gap}
    for name, value in wishes.items():
        if value is not None:
            real_scalar(name, value, above=0.0)
    stop = early_stopping(model, tolerance)
    row, units, found = stop.columns(), stop.units(), {}
    for name, value in wishes.items():
        if value is not None:
            wish = {"for_window": value * float(stop.width)} if name == "wider" else {name: value}
            more = required(model, "n", **wish, tolerance=tolerance)
            found[name] = row[REQUIRED[name]] = more.value
    told = {name: getattr(stop, name) for name in ("regularised", "nothing_to_learn", "ambiguous")}

    def lines() -> Iterator[str]:
        yield repr(model)
        yield from lines_of_stop(stop)
        for name, psi_n in found.items():
            yield f"{WISHES[name].format(wishes[name])} at psi_n = {psi_n:.6g}"

    deliver(row | told, lines(), out, json, model=model, units=units, table=lambda: row)
