"""The command that opens the page of sliders."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import LAW, MODEL, OUTPUT, app, option

MISSING = 'the explorer needs panel: python -m pip install "rfspec[explore]"'


@app.command("explore")
def explore_command(
    psi_p: Annotated[float, option(MODEL, "features per dimension to begin with, p/d > 0")] = 64.0,
    psi_n: Annotated[float, option(MODEL, "samples per dimension to begin with, n/d > 0")] = 8.0,
    t: Annotated[float, option(MODEL, "diffusion time to begin with, t > 0", "--t")] = 0.01,
    activation: Annotated[str, option(MODEL, "tanh, erf, sin, relu or gelu")] = "tanh",
    weight_decay: Annotated[float, option(MODEL, "γ >= 0 of the penalty γ|A|²/(dp)")] = 0.0,
    covariance: Annotated[
        str, option(LAW, "isotropic, two atoms or power law to begin with")
    ] = "isotropic",
    trace: Annotated[float, option(LAW, "Tr Σ/d > 0")] = 1.0,
    port: Annotated[int, option(OUTPUT, "of the page on this machine; 0 for any free one")] = 5006,
    show: Annotated[
        bool, option(OUTPUT, "open the page in a browser, or not", "--show/--no-browser")
    ] = True,
) -> None:
    """A local page of sliders: spectrum, losses and place in the phase diagram follow at once."""
    try:
        from ..explorer.server import server_of
    except ModuleNotFoundError as e:
        if (e.name or "").split(".")[0] not in ("panel", "bokeh", "param"):
            raise
        raise ValueError(MISSING) from e
    from ..explorer.state import Settings

    start = Settings(
        psi_p=psi_p,
        psi_n=psi_n,
        t=t,
        activation=activation,
        covariance=covariance,
        trace=trace,
        weight_decay=weight_decay,
    )
    server = server_of(start, port=port, show=show)
    typer.echo(f"http://127.0.0.1:{server.port}, for this machine alone; Ctrl-C ends it")
    server.run_until_shutdown()
