"""The command `rfspec`: the library's functions with their arguments as options."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import jax
import typer

from ..solver import ConvergenceError
from . import predicted, sampled, theory  # noqa: F401  the commands enter themselves
from .options import app


def _keep_compiled() -> None:
    """Keep compiled kernels between processes, which halves the time of a short command, unless told otherwise."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rfspec"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def main() -> None:
    """Run the command; what is wrong with the input is one sentence on stderr and exit status 2, a warning one too."""
    _keep_compiled()
    warnings.showwarning = lambda message, *_: typer.echo(f"warning: {message}", err=True)
    try:
        app()
    except (ValueError, NotImplementedError, ConvergenceError) as e:
        typer.echo(f"error: {e}", err=True)
        sys.exit(1 if isinstance(e, ConvergenceError) else 2)
