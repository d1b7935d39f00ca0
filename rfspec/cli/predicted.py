"""The command that predicts training on a file of data, and checks itself on a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..files.tables import aligned
from ..models.from_data import FromData
from ..training.learning_curves import LearningCurve, learning_curve
from ..training.timescales import RULES
from .data_files import read_samples
from .options import Json, Out, Seed, app, of_training, random_key
from .output import PICTURES, TABLES, check_out, deliver, lines_of_stop

if TYPE_CHECKING:
    from ..surveys.held_out_data import HeldOut
    from ..surveys.prediction import Prediction

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
    from ..surveys.held_out_data import held_out
    from ..surveys.prediction import predict

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
    checked = held_out(random_key(seed), X, psi_p, share=share, **options) if check else None
    found = predict(X, psi_p, **options) if checked is None else checked.prediction
    report, lines = report_of(found), lines_of(found)
    if checked is not None:
        report["check"] = report_of_check(checked)
        lines = chain(lines, lines_of_check(checked))
    curves = lambda: curves_of(found, checked)
    deliver(
        report,
        lines,
        out,
        json,
        columns=lambda: losses_of(**curves()),
        picture=lambda plotting: plotting.learning_curve(curves(), stop=found.stop),
    )


def curves_of(found: Prediction, checked: HeldOut | None) -> dict[str, LearningCurve]:
    """The predicted curve, and that measured if there is one."""
    if checked is None:
        return {"predicted": learning_curve(found.model, found.tau)}
    return {"predicted": checked.predicted, "measured": checked.measured}


def losses_of(predicted: LearningCurve, measured: LearningCurve | None = None) -> dict[str, Any]:
    """Both losses over τ, with what was measured beside them."""
    columns = {name: getattr(predicted, name) for name in ("tau", "train", "test", "error")}
    if measured is not None:
        columns |= {"measured_train": measured.train, "measured_test": measured.test}
    return {name: np.asarray(values) for name, values in columns.items()}


def report_of(found: Prediction) -> dict[str, Any]:
    """A prediction for machines."""
    covariance = found.model.covariance
    assert isinstance(covariance, FromData)
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
        "stop": found.stop.columns(),
        "wider": {
            "factor": found.factor,
            "psi_n": None if found.wider is None else found.wider.value,
            "more_samples": found.more,
        },
        "reasons": found.reasons,
    }


def report_of_check(checked: HeldOut) -> dict[str, Any]:
    """What was measured, for machines."""
    return {
        "n_test": checked.n_test,
        "tau": checked.tau,
        "test": checked.test,
        "test_at_predicted_tau": checked.measured_at_stop,
        "curve": losses_of(checked.predicted, checked.measured),
    }


def lines_of(found: Prediction) -> Iterator[str]:
    """A prediction for a terminal."""
    sigma, covariance = found.sigma, found.model.covariance
    assert isinstance(covariance, FromData)
    yield repr(found.model)
    yield (
        f"data                 n = {found.n}, d = {found.d}, psi_n = {float(found.model.psi_n):.6g}"
    )
    yield (
        f"covariance           trace/d {sigma.trace:.6g}, rank {sigma.rank}, "
        f"effective rank {sigma.effective_rank:.4g}"
    )
    yield (
        f"{'':21}eigenvalues {sigma.smallest:.4g} to {sigma.largest:.4g}, "
        f"condition {sigma.condition:.4g}"
    )
    if covariance.shrinkage > 0:
        yield f"{'':21}shrinkage {float(covariance.shrinkage):.4g}"
    if covariance.compression_error > 0:
        off = f"their distribution is off by {float(covariance.compression_error):.1e} of the trace"
        yield f"{'':21}compressed to {len(covariance.values)} eigenvalues, {off}"
    times = {
        name: [getattr(found.times.get(rule), name, np.nan) for rule in RULES]
        for name in ("tau_gen", "tau_mem")
    }
    reasons = [found.reasons.get(rule, "") for rule in RULES]
    yield from aligned({"rule": list(RULES), **times, " reason": [f"  {r}" for r in reasons]})
    yield from lines_of_stop(found.stop)
    wide = f"window {found.factor:g} times wider"
    if found.wider is None or found.more is None:
        yield f"{wide} none: {found.reasons['wider']}"
    else:
        count = f"{found.more} more samples" if found.more > 0 else f"{-found.more} samples fewer"
        yield f"{wide} with {count}, psi_n = {found.wider.value:.6g}"


def lines_of_check(checked: HeldOut) -> Iterator[str]:
    """Predicted and measured losses for a terminal."""
    yield (
        f"checked on {checked.n_test} samples held out; the prediction above is from the other "
        f"{checked.prediction.n}"
    )
    columns = losses_of(checked.predicted, checked.measured)
    names = ("tau", "train", "measured_train", "test", "measured_test")
    yield from aligned({name: columns[name][::SHOWN] for name in names}, plain="16.6g")
    stop = checked.prediction.stop
    yield f"best training time   predicted {float(stop.tau):.6g}, measured {checked.tau:.6g}"
    yield f"test loss there      predicted {float(stop.test):.6f}, measured {checked.test:.6f}"
    yield f"measured test loss at the predicted best time {checked.measured_at_stop:.6f}"
