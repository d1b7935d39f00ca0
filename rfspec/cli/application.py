"""The application: its commands enter themselves, and show flags as flags."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..files.io import origin
from .output import OUTPUT


def _flags(parameters: list[Any]) -> list[Any]:
    # a flag takes no value
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        if "--help" in parameter.opts:
            parameter.rich_help_panel = OUTPUT
    return parameters


class Command(TyperCommand):
    """A command whose flags are shown without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _flags(super().get_params(ctx))


class Commands(TyperGroup):
    """The group of all commands, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _flags(super().get_params(ctx))


class Application(typer.Typer):
    """An application of such commands."""

    def command(self, name: str | None = None, **known: Any) -> Callable[..., Any]:
        return super().command(name, cls=Command, **known)


app = Application(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _versions(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"{origin()}, Python {platform.python_version()}")
        raise typer.Exit
    return wanted


@app.callback()
def _application(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="versions of rfspec, JAX and Python",
            rich_help_panel=OUTPUT,
            callback=_versions,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Exact spectra and timescales of random-feature score models of diffusion."""
