"""The command that predicts training on a file of data, and checks itself on a part of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..files.tables import aligned
from ..models.from_data import FromData
from ..models.model import USUAL_DEGREE
from ..numerics.checks import random_key
from ..training.learning_curves import LearningCurve, learning_curve
from .data_files import read_samples
from .options import (
    LAW,
    MODEL,
    SAMPLING,
    TRAINING,
    Json,
    PsiP,
    Seed,
    Tolerance,
    app,
    of_training,
    option,
    taking,
)
from .output import PICTURES, TABLES, deliver, file_in

if TYPE_CHECKING:
    from ..surveys.held_out_data import HeldOut
    from ..surveys.predicted import Prediction
    from ..surveys.steps import Steps
    from ..surveys.verdict import Verdict

SHOWN = 4  # every fourth training time of a curve goes into the printed table


def _stepping(
    learning_rate: Annotated[
        float | None, option(TRAINING, "step size on A: prints the answer in steps and epochs")
    ] = None,
    optimizer: Annotated[
        str, option(TRAINING, "gd, momentum, nesterov or sgd, with --learning-rate")
    ] = "gd",
    momentum: Annotated[float, option(TRAINING, "of momentum and nesterov")] = 0.9,
    batch_size: Annotated[
        int | None, option(TRAINING, "samples in a step, all by default; an epoch is n of them")
    ] = None,
) -> dict[str, Any]:
    return {
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "momentum": momentum,
        "batch_size": batch_size,
    }


def _checking(
    check: Annotated[
        bool,
        option(
            SAMPLING,
            "predict from parts of the data too, and measure on random features of them",
            "--check",
        ),
    ] = False,
    share: Annotated[float, option(SAMPLING, "of the samples held out, with --check")] = 0.2,
    repeats: Annotated[int, option(SAMPLING, "splits and draws of the features, with --check")] = 4,
    seed: Seed = 0,
) -> dict[str, Any]:
    return {"check": check, "share": share, "repeats": repeats, "seed": seed}


@app.command("predict")
@of_training
@taking((_stepping, _checking), ("method", "checking"), lambda **known: _halves(known))
def predict_command(
    how: dict[str, Any],
    method: dict[str, Any],
    checking: dict[str, Any],
    data: Annotated[Path, typer.Argument(help=".npy, .npz or .csv file of samples in rows")],
    psi_p: PsiP,
    key: Annotated[str | None, option(LAW, "array of a .npz file that holds several")] = None,
    shrinkage: Annotated[str | None, option(LAW, "of the covariance: ledoit_wolf or oas")] = None,
    trace: Annotated[
        float | None, option(LAW, "rescale the data to this Tr Σ/d; by default they are not")
    ] = None,
    normalise: Annotated[bool, option(LAW, "the same as --trace 1", "--normalise")] = False,
    nodes: Annotated[
        int, option(LAW, "eigenvalues that the covariance is compressed to; 0 keeps all")
    ] = 32,
    degree: Annotated[
        int,
        option(MODEL, "highest Hermite degree that is followed at the data's d; 1 for the limit"),
    ] = USUAL_DEGREE,
    tolerance: Tolerance = 0.01,
    out: Annotated[Path | None, file_in(*TABLES, *PICTURES)] = None,
    json: Json = False,
) -> None:
    """Training times, best stopping time and window of random features trained on given data,
    and how far to believe them.
    """
    from ..surveys.held_out_data import held_out
    from ..surveys.prediction import predict

    if normalise and trace is not None:
        raise ValueError(f"give one of normalise and trace, got both, trace = {trace:g}")
    law = {"shrinkage": shrinkage, "trace": 1.0 if normalise else trace, "nodes": nodes or None}
    X, options = read_samples(data, key), {**how, **law, "degree": degree, "tolerance": tolerance}
    options["progress"] = not json
    checked = None
    if checking.pop("check"):
        checked = held_out(
            random_key("seed", checking.pop("seed")), X, psi_p, **checking, **options
        )
    found = predict(X, psi_p, **options) if checked is None else checked.of_all_rows
    steps = None if method["learning_rate"] is None else found.steps(**method)
    curves = lambda: curves_of(found, checked)
    deliver(
        report_of(found, steps, checked),
        lines_of(found, steps, checked),
        out,
        json,
        model=found.model,
        units=dict.fromkeys(("measured_train", "measured_test"), "loss"),
        table=lambda: losses_of(**curves()),
        picture=lambda plotting: plotting.learning_curve(curves(), stop=found.stop),
    )


def _halves(known: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    # the options of the method, and those of the check
    names = inspect.signature(_stepping).parameters
    return {n: known.pop(n) for n in names}, known


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
        if np.ndim(measured.standard_error.test):
            errors = measured.standard_error
            columns |= {
                "measured_train_error": errors.train,
                "measured_test_error": errors.test,
            }
    return {name: np.asarray(values) for name, values in columns.items()}


def report_of(
    found: Prediction, steps: Steps | None = None, checked: HeldOut | None = None
) -> dict[str, Any]:
    """A prediction for machines, what was measured, and how far to believe it."""
    covariance = found.model.covariance
    assert isinstance(covariance, FromData)
    report: dict[str, Any] = {
        "model": repr(found.model),
        "theory": found.theory,
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
    if steps is not None:
        report["steps"] = {**steps._asdict(), "epochs": list(steps.epochs)}
    if checked is not None:
        report["check"] = report_of_check(checked)
    return report | {"verdict": report_of_verdict(found.verdict)}


def report_of_check(checked: HeldOut) -> dict[str, Any]:
    """What was measured, for machines."""
    return {
        "n_test": checked.n_test,
        "n_train": checked.prediction.n,
        "repeats": len(checked.draws),
        "tau": checked.tau,
        "tau_error": checked.tau_error,
        "test": checked.test,
        "test_error": checked.test_error,
        "test_at_predicted_tau": checked.measured_at_stop,
        "test_at_predicted_tau_error": checked.measured_at_stop_error,
        "predicted_tau": checked.predicted_tau,
        "predicted_tau_error": checked.predicted_tau_error,
        "predicted_test": checked.predicted_test,
        "predicted_test_error": checked.predicted_test_error,
        "curve": losses_of(checked.predicted, checked.measured),
    }


def report_of_verdict(verdict: Verdict) -> dict[str, Any]:
    """How far to believe it, for machines: the numbers and the sentences."""
    numbers = verdict._asdict()
    numbers["degrees"] = [degree._asdict() for degree in verdict.degrees]
    if verdict.check is not None:
        check = verdict.check._asdict()
        numbers["check"] = {
            name: value._asdict() if hasattr(value, "_asdict") else value
            for name, value in check.items()
        }
    return {**numbers, "late": verdict.late, "sentences": list(verdict.sentences)}


def lines_of(
    found: Prediction, steps: Steps | None = None, checked: HeldOut | None = None
) -> Iterator[str]:
    """A prediction for a terminal, what was measured, and last how far to believe it."""
    yield from found.lines()
    if steps is not None:
        yield steps.text
    if checked is not None:
        yield from checked.lines()
        columns = losses_of(checked.predicted, checked.measured)
        names = ("tau", "train", "measured_train", "test", "measured_test")
        yield from aligned({name: columns[name][::SHOWN] for name in names}, plain="16.6g")
    yield found.verdict.text
