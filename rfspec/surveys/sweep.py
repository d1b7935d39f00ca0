"""Many models at once: any outputs of any grid of them, on one machine or on many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.checkpoint import forget
from ..files.io import check_target, write_dataset
from ..numerics.checks import fraction, integer, real_scalar
from ..numerics.types import Given
from ..training.arguments import training_times
from ..training.early_stopping import THRESHOLD
from ..training.timescales import RULES
from .filling import fill, fill_on, progress_bar
from .grid import models_of
from .outputs import EVERY, GROUPS, Output
from .plan import Options, Plan
from .stores import InMemory, InZarr, Store

if TYPE_CHECKING:
    import xarray

TITLE = "Sweep over random-feature score models of diffusion"
# cells of a block
CHUNK = 1024


def sweep(
    models: Given,
    outputs: Given,
    *,
    out: str | Path | None = None,
    tau: Given = None,
    tolerance: float = 0.01,
    threshold: float = THRESHOLD,
    part: Given = None,
    client: Any = None,
    chunk: int = CHUNK,
    progress: bool = False,
) -> xarray.Dataset:
    r"""Outputs by name of every model of a grid or list, on all devices, resumable.

    Only what the outputs need is computed. A cell that fails is flagged, and stops no other.

    Parameters
    ----------
    models : mapping or list of RandomFeatureModel
        By name, arguments of ``rf.RandomFeatureModel``: one value, or a list, which becomes a
        dimension of this name in the order of the mapping. `process`, `covariance`, `activation`
        and `target` may be lists too, or mappings from labels; a `process` or `covariance` that is
        a function, such as ``rf.PowerLaw``, is made of the arguments of its own names, which stand
        beside it and may be lists. A list of models has the one dimension "model".
    outputs : str or list of str
        "edges" (with edge_error, bulks), "masses" (mass, atom, atom_mass), "parts" (part_lower,
        part_upper, part_mass, merged, separated), "drops" (loss_drop, loss_drop_error), the rules
        "paper", "spectrum" and "loss" (tau_gen and tau_mem; tau_satellite, tau_mem_error),
        "tau_star" (tau_star_error, train_star, test_star, score_error_star), "window"
        (window_lower, window_upper, window_lower_error, window_upper_error), "losses" (train, test,
        gap, score_error at `tau`), "limits" (train_limit, test_limit), "constants" (mu0, mu1,
        kappa2, b2, v2, s2), or one variable by its name, also error (of the losses) and region.
    out : path, optional
        A .zarr store, whose blocks are written as they are done, or a .nc file. A run that was
        killed continues there. Without it the dataset is in memory only.
    tau : float or array, shape (K,), optional
        Training budgets τ = kη/d², 0 ≤ τ ≤ ∞, of losses and region; ∞ if not given.
    tolerance : float
        ε of the stopping window, absolute, in units of the loss.
    threshold : float
        Share of its limit at which the generalisation gap counts as open (rule "loss").
    part : pair of int, optional
        (i, n): only the blocks i, i + n, i + 2n, ... of a .zarr store, 0 ≤ i < n, so that n
        processes fill it.
    client : optional
        A ``dask.distributed.Client``, or any executor with ``submit``, whose workers fill a .zarr
        store that they all can reach.
    chunk : int
        Cells of a block, which is what a killed run loses at most twice over.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        The outputs over the dimensions of the grid, and status of every cell; each has its unit and
        its meaning as attributes (`units`, `long_name`), and flags theirs. A store is read when it
        is looked at; its cells that nobody has computed yet have status -1.

    Raises
    ------
    ValueError
        If the models, an output or an option is not as above, or `out` is of another sweep. What
        only some cells have out of range is flagged there.
    OSError
        If `out` cannot be written.

    Notes
    -----
    The numbers are those of ``rf.spectrum``, ``rf.timescales``, ``rf.early_stopping`` and
    ``rf.learning_curve``, and beyond arXiv 2505.17638 where these are.

    Examples
    --------
    >>> import rfspec as rf
    >>> grid = {"t": [0.01, 0.1], "psi_p": 64.0, "psi_n": [8.0, 16.0, -1.0]}
    >>> found = rf.sweep(grid, ["paper", "mu1"])
    >>> print(found.tau_mem.sel(rule="paper", t=0.01).values.round())
    [ 37039. 117894.     nan]
    >>> found.status.values.tolist()
    [[0, 0, 1], [0, 0, 1]]
    """
    arguments = {
        "models": models,
        "outputs": outputs,
        "tau": tau,
        "tolerance": tolerance,
        "threshold": threshold,
        "chunk": chunk,
    }
    first, every = (0, 1) if part is None else _checked_part(part)
    path = _checked_path(out, part, client)
    plan = _plan(**arguments)
    partial = None if path is None else path.with_name(path.name + ".partial")
    store: Store
    if path is None or path.suffix == ".nc":
        store = InMemory(plan, partial, title=TITLE)
    else:
        store = InZarr(plan, path, title=TITLE)
    missing = store.missing()
    missing = [block for block in missing if block % every == first]
    with progress_bar(plan, missing, "sweep", progress) as bar:
        if client is None:
            fill(plan, store, missing, bar)
        else:
            fill_on(client, _fill_on_worker, {**arguments, "out": str(path)}, missing, bar)
    found = store.dataset()
    if path is not None and path.suffix == ".nc":
        write_dataset(path, found)
        forget(partial)
    return found


def _plan(
    *, models: Given, outputs: Given, tau: Given, tolerance: Any, threshold: Any, chunk: Any
) -> Plan:
    options = Options(
        tau=budgets(tau),
        one_tau=np.ndim(tau) == 0,
        tolerance=real_scalar("tolerance", tolerance, above=0.0),
        threshold=fraction("threshold", threshold),
        chunk=integer("chunk", chunk),
    )
    return Plan(models_of(models), *_chosen(outputs), options)


def _fill_on_worker(arguments: Mapping[str, Any], blocks: Sequence[int], token: str) -> int:
    # in a process of its own
    path = Path(arguments["out"])
    plan = _plan(**{name: value for name, value in arguments.items() if name != "out"})
    store = InZarr(plan, path, title=TITLE)
    # a worker that died may have put some of them
    still = set(store.missing()) & set(blocks)
    fill(plan, store, sorted(still))
    return sum(plan.cells_in(block) for block in blocks)


def _chosen(outputs: Given) -> tuple[dict[str, Output], tuple[str, ...]]:
    names = [outputs] if isinstance(outputs, str) else outputs
    rule = f"outputs must be of {', '.join(dict.fromkeys([*GROUPS, *EVERY]))}"
    if not isinstance(names, Sequence) or not names:
        raise ValueError(f"{rule}, got {outputs!r:.100}")
    for name in names:
        if not isinstance(name, str) or name not in {*GROUPS, *EVERY}:
            raise ValueError(f"{rule}, got {name!r:.100}")
    wanted = [member for name in names for member in GROUPS.get(name, (name,))]
    rules = [rule for rule in RULES if rule in names]
    if not rules and {"tau_gen", "tau_mem"} & set(wanted):
        rules = list(RULES)
    return {name: EVERY[name] for name in wanted if name != "status"}, tuple(rules)


def budgets(tau: Given) -> np.ndarray:
    """Training budgets as an array of one dimension; ∞ if none are given."""
    times = training_times(np.inf if tau is None else tau)
    if np.ndim(times) > 1:
        raise ValueError(
            f"tau must be a number or a list of them, got an array of shape {np.shape(times)}"
        )
    return np.ravel(times)


def _checked_path(out: Given, part: Given, client: Any) -> Path | None:
    try:
        path = None if out is None else Path(out).absolute()
    except TypeError as e:
        raise ValueError(f"out must be a path that ends in .zarr or .nc, got {out!r:.100}") from e
    if path is not None and path.suffix not in (".zarr", ".nc"):
        raise ValueError(f"out must end in .zarr or .nc, got {str(out)!r:.300}")
    for name, value in (("part", part), ("client", client)):
        if value is not None and (path is None or path.suffix != ".zarr"):
            raise ValueError(f"{name} needs out to be a .zarr store, got {out!r}")
    if part is not None and client is not None:
        raise ValueError("give part or client, not both")
    if client is not None and not hasattr(client, "submit"):
        raise ValueError(
            f"client must be a dask.distributed.Client or an executor with submit, got {client!r}"
        )
    if path is not None and path.suffix == ".nc":
        check_target("out", path)
    return path


def _checked_part(part: Given) -> tuple[int, int]:
    if not isinstance(part, Sequence) or len(part) != 2:
        raise ValueError(f"part must be a pair (i, n) with 0 <= i < n, got {part!r:.100}")
    n = integer("n of part", part[1])
    return integer("i of part", part[0], 0, n - 1), n
