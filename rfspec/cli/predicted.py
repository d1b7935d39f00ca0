"""The command that predicts training on a file of data, and checks itself on a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..files.io import to_json
from ..training.learning_curves import learning_curve
from ..training.timescales import RULES
from .options import (
    PICTURES,
    TABLES,
    Json,
    Out,
    Seed,
    app,
    check_out,
    draw_to,
    of_training,
    random_key,
    read_samples,
    write_table,
)

SHOWN = 4  # every fourth training time of a curve goes into the printed table


@app.command("predict")
@of_training
def predict_command(
    how: dict[str, Any],
    data: Annotated[Path, typer.Argument(help=".npy, .npz or .csv file of samples in rows")],
    psi_p: Annotated[float, typer.Option(help="features per dimension, p/d > 0")],
    key: Annotated[str | None, typer.Option(help="array of a .npz file that holds several")] = None,
    shrinkage: Annotated[
        str | None, typer.Option(help="of the covariance: ledoit_wolf or oas")
    ] = None,
    trace: Annotated[
        float | None, typer.Option(help="rescale the data to this Tr Σ/d; by default they are not")
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="the same as --trace 1")] = False,
    nodes: Annotated[
        int, typer.Option(help="eigenvalues that the covariance is compressed to; 0 keeps all")
    ] = 32,
    tolerance: Annotated[
        float, typer.Option(help="of the stopping window, in units of the loss")
    ] = 0.01,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="predict from a part of the data, and measure on random features of it"
        ),
    ] = False,
    share: Annotated[float, typer.Option(help="of the samples held out, with --check")] = 0.2,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Training times, best stopping time and window of random features trained on given data."""
    from ..surveys import prediction

    check_out(out, (*TABLES, *PICTURES))
    if normalise and trace is not None:
        raise ValueError(f"give one of normalise and trace, got both, trace = {trace:g}")
    trace = 1.0 if normalise else trace
    options: dict[str, Any] = {
        "shrinkage": shrinkage,
        "trace": trace,
        "nodes": nodes or None,
        "tolerance": tolerance,
    }
    X, options = read_samples(data, key), {**how, **options, "progress": not json}
    checked = (
        prediction.held_out(random_key(seed), X, psi_p, share=share, **options) if check else None
    )
    found = prediction.predict(X, psi_p, **options) if checked is None else checked.prediction
    report = (
        report_of(found)
        if checked is None
        else {**report_of(found), "check": report_of_check(checked)}
    )
    if out is not None:
        write_prediction(out, found, checked, report)
    if json:
        typer.echo(to_json(report))
        return
    for line in lines_of(found) + ([] if checked is None else lines_of_check(checked)):
        typer.echo(line)


def write_prediction(out: Path, found: Any, checked: Any, report: dict[str, Any]) -> None:
    """The report as JSON, the predicted losses (and those measured) as columns or a picture."""
    if out.suffix == ".json":
        write_table(out, report, {}, {}, {})
        return
    curve = learning_curve(found.model, found.tau) if checked is None else checked.predicted
    measured = None if checked is None else checked.measured
    if out.suffix in PICTURES:
        curves = (
            {"predicted": curve} if measured is None else {"predicted": curve, "measured": measured}
        )
        draw_to(out, lambda plotting: plotting.learning_curve(curves, stop=found.stop))
    else:
        write_table(out, report, {}, _columns(curve, measured), {})


def _columns(predicted: Any, measured: Any) -> dict[str, Any]:
    """Losses over τ."""
    columns = {
        "tau": predicted.tau,
        "train": predicted.train,
        "test": predicted.test,
        "error": predicted.error,
    }
    if measured is not None:
        columns |= {"measured_train": measured.train, "measured_test": measured.test}
    return {name: np.asarray(values) for name, values in columns.items()}


def report_of(found: Any) -> dict[str, Any]:
    """A prediction for machines."""
    stop, covariance = found.stop, found.model.covariance
    return {
        "model": repr(found.model),
        "n": found.n,
        "d": found.d,
        "psi_n": found.model.psi_n,
        "sigma": {
            **found.sigma._asdict(),
            "shrinkage": covariance.shrinkage,
            "nodes": len(covariance.values),
            "compression_error": covariance.compression_error,
        },
        "tau_gen": {rule: times.tau_gen for rule, times in found.times.items()},
        "tau_mem": {rule: times.tau_mem for rule, times in found.times.items()},
        "stop": {
            "tau": stop.tau,
            "window_lower": stop.window.lower,
            "window_upper": stop.window.upper,
            "tolerance": stop.tolerance,
            "train": stop.train,
            "test": stop.test,
            "test_limit": stop.test_limit,
            "error": stop.error,
        },
        "wider": {
            "factor": found.factor,
            "psi_n": None if found.wider is None else found.wider.value,
            "more_samples": found.more,
        },
        "reasons": found.reasons,
    }


def report_of_check(checked: Any) -> dict[str, Any]:
    """What was measured, for machines."""
    return {
        "n_test": checked.n_test,
        "tau": checked.tau,
        "test": checked.test,
        "test_at_predicted_tau": checked.measured_at_stop,
        "curve": _columns(checked.predicted, checked.measured),
    }


def lines_of(found: Any) -> list[str]:
    """A prediction for a terminal."""
    stop, sigma, covariance = found.stop, found.sigma, found.model.covariance
    lines = [
        repr(found.model),
        f"data                 n = {found.n}, d = {found.d}, psi_n = "
        f"{float(found.model.psi_n):.6g}",
        f"covariance           trace/d {sigma.trace:.6g}, rank {sigma.rank}, effective rank "
        f"{sigma.effective_rank:.4g}",
        f"{'':21}eigenvalues {sigma.smallest:.4g} to {sigma.largest:.4g}, condition "
        f"{sigma.condition:.4g}",
    ]
    if covariance.shrinkage > 0:
        lines.append(f"{'':21}shrinkage {float(covariance.shrinkage):.4g}")
    if covariance.compression_error > 0:
        off = f"their distribution is off by {float(covariance.compression_error):.1e} of the trace"
        lines.append(f"{'':21}compressed to {len(covariance.values)} eigenvalues, {off}")
    lines.append(f"{'rule':<21}{'tau_gen':>14}{'tau_mem':>14}   (tau = k eta/d^2)")
    for rule in RULES:
        times = found.times.get(rule)
        values = (np.nan, np.nan) if times is None else (float(times.tau_gen), float(times.tau_mem))
        reason = f"   {found.reasons[rule]}" if rule in found.reasons else ""
        lines.append(f"{rule:<21}" + "".join(f"{value:14.6g}" for value in values) + reason)
    window = f"[{float(stop.window.lower):.6g}, {float(stop.window.upper):.6g}]"
    lines += [
        f"best training time   tau = {float(stop.tau):.6g}",
        f"losses there         test {float(stop.test):.6f}, train {float(stop.train):.6f}",
        f"safe window          {window}, test loss within {float(stop.tolerance):g} of its minimum",
        f"test loss at the end {float(stop.test_limit):.6f}"
        + (f"; {stop.advice}" if stop.advice else ""),
    ]
    wide = f"window {found.factor:g} times wider "
    if found.wider is None:
        return [*lines, f"{wide}none: {found.reasons['wider']}"]
    count = f"{found.more} more samples" if found.more > 0 else f"{-found.more} samples fewer"
    return [*lines, f"{wide}with {count}, psi_n = {found.wider.value:.6g}"]


def lines_of_check(checked: Any) -> list[str]:
    """Predicted and measured losses for a terminal."""
    lines = [
        f"checked on {checked.n_test} samples held out; the prediction above is from the other "
        f"{checked.prediction.n}",
        f"{'tau':>12}{'train':>12}{'measured':>12}{'test':>12}{'measured':>12}",
    ]
    columns = _columns(checked.predicted, checked.measured)
    names = ("tau", "train", "measured_train", "test", "measured_test")
    rows = zip(*(columns[name][::SHOWN] for name in names), strict=True)
    lines.extend(
        f"{float(tau):12.4g}" + "".join(f"{float(x):12.6f}" for x in losses)
        for tau, *losses in rows
    )
    stop = checked.prediction.stop
    return [
        *lines,
        f"best training time   predicted {float(stop.tau):.6g}, measured {checked.tau:.6g}",
        f"test loss there      predicted {float(stop.test):.6f}, measured {checked.test:.6f}",
        f"measured test loss at the predicted best time {checked.measured_at_stop:.6f}",
    ]
