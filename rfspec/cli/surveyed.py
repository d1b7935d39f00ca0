"""Commands of many models at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ..files.tables import aligned
from ..io.long_form import long_form
from ..io.writing import for_json
from ..models.model import RandomFeatureModel
from .data_files import require_memory
from .options import (
    GRID,
    MODEL,
    OUTPUT,
    PER_POINT,
    TRAINING,
    Json,
    PsiN,
    PsiP,
    Tolerance,
    app,
    numbers,
    of_law,
    option,
)
from .output import PICTURES, TABLES, deliver, file_in, partial_of


@app.command("over-time")
@of_law
def over_time_command(
    law: dict[str, Any],
    psi_p: PsiP,
    psi_n: PsiN,
    ts: Annotated[str, option(MODEL, f"times of the process: {GRID}")],
    loss_weights: Annotated[
        str | None,
        option(TRAINING, "weights of the losses, comma separated; equal by default"),
    ] = None,
    tolerance: Tolerance = 0.01,
    out: Annotated[Path | None, file_in(*TABLES, *PICTURES)] = None,
    json: Json = False,
) -> None:
    """Timescales and best times along the process, and what one stopping time for all of it costs.

    --process names the kind of process, at any of its times; without it it is that of --t.
    """
    from ..surveys.diffusion_times import over_time

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
    columns, _, scalars = long_form(found)
    times_shown = ("tau_star", "tau_mem_loss", "tau_mem_spectrum", "window_lower", "window_upper")
    shown = ("t", *times_shown, "test_star", "test_shared")
    table = {name: columns[name] for name in shown}
    deliver(
        scalars | columns,
        chain([found.attrs["model"]], aligned(table), [found.attrs["statement"]]),
        out,
        json,
        about=found.attrs,
        table=lambda: found,
        picture=lambda plotting: plotting.over_time(found),
    )


@app.command("phase-diagram")
@of_law
def phase_diagram_command(
    law: dict[str, Any],
    psi_n: Annotated[str, option(MODEL, f"samples per dimension: {GRID}")] = "1:1000:64",
    psi_p: Annotated[str, option(MODEL, "features per dimension, likewise")] = "1:1000:64",
    tau: Annotated[
        str, option(TRAINING, "training budget; of tables several, with commas")
    ] = "inf",
    tolerance: Tolerance = 0.01,
    threshold: Annotated[
        float, option(TRAINING, "share of its limit at which the gap counts as open")
    ] = 0.1,
    times: Annotated[str, option(OUTPUT, "training time drawn as contours")] = "tau_star",
    out: Annotated[Path | None, file_in(*TABLES, *PICTURES)] = None,
    json: Json = False,
) -> None:
    """Regions, timescales and best times over psi_n and psi_p;
    an interrupted run with --out continues.
    """
    from ..surveys.outputs import CELL_STATUS, REGIONS
    from ..surveys.phase import phase_diagram

    budgets = numbers("tau", tau)
    if out is not None and out.suffix in PICTURES:
        _check_picture(tau, budgets, times)
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

    def lines() -> Iterator[str]:
        yield found.attrs["model"].replace("psi_p=1, psi_n=1, ", "")
        for budget in budgets:
            region = (found.sel(tau=budget) if len(budgets) > 1 else found).region
            shares = (f"{name} {float((region == i).mean()):.1%}" for i, name in enumerate(REGIONS))
            yield f"tau = {budget:g}: " + ", ".join(shares)
        for code in sorted(set(np.ravel(found.status.values).tolist())):
            yield f"{int((found.status == code).sum())} cells: {CELL_STATUS[code]}"

    deliver(
        for_json(found, {}) | {"tau": budgets},
        lines(),
        out,
        json,
        about=found.attrs,
        partial=partial_of(out),
        table=lambda: found,
        picture=lambda plotting: plotting.phase_diagram(found, times=times),
    )


def _check_picture(tau: str, budgets: list[float], times: str) -> None:
    from ..plotting.phases import check_times

    if len(budgets) > 1:
        raise ValueError(f"tau must be one number for a picture, got {tau}; a table takes several")
    check_times(times)


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
