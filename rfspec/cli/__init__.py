"""The command `rfspec`: the library's functions with their arguments as options."""

from __future__ import annotations

import io
import sys
import warnings

import jax
import typer

from ..resolvent.solver import ConvergenceError
from . import doctor, explored, predicted, sampled, surveyed, theory  # noqa: F401  the commands enter themselves
from .application import app

LONGEST = 1000  # characters of a message


def main() -> None:
    """Run the command.

    What is wrong with the input is one sentence on stderr and exit status 2; what only the numbers,
    the disk or the memory can tell is one and exit status 1. A warning is a sentence too.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # names of files may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = lambda message, *_: typer.echo(
        f"warning: {_sentence(message)}", err=True
    )
    try:
        app()
    except ConvergenceError as e:
        _fail(str(e), 1)
    except OSError as e:
        _fail(
            str(e)
            if e.errno is None
            else f"{e.filename or 'the output'} could not be used: {e.strerror}",
            1,
        )
    except (ValueError, NotImplementedError) as e:
        _fail(str(e), 2)
    except MemoryError as e:
        _fail(f"memory must hold what is asked for: {e or 'it does not'}", 1)
    except jax.errors.JaxRuntimeError as e:
        if "RESOURCE_EXHAUSTED" not in str(e):
            raise
        _fail(f"memory must hold what is asked for: {e}", 1)


def _fail(message: str, status: int) -> None:
    typer.echo(f"error: {_sentence(message)}", err=True)
    sys.exit(status)


def _sentence(message: object) -> str:
    """On one line of printable characters, not too long."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(message).split()))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
