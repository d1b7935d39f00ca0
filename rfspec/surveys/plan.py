"""What a survey computes: its cells, cut into blocks, and its outputs with their axes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from ..files.checkpoint import fingerprint
from ..models.stored import stored
from ..numerics.types import Real
from ..resolvent.solver import ConvergenceError
from ..spectra.contents import MOST_BULKS
from ..spectra.support import PARTS
from ..training.timescales import RULES
from .cells import BUDGETS, LIMITS, Asked, Cells
from .grid import Models
from .outputs import FAILED, OF_RULE, OUTPUTS, Output
from .programs import Engine, room
from .recipes import Alike, Recipes

# axes that outputs may have beside those of the grid
AXES = ("tau", "rule", "part", "edge", "bulk")
# what may go wrong in one cell
FAILURES = (ArithmeticError, ConvergenceError, jax.errors.JaxRuntimeError)
# cells among which the first with a model is looked for
FIRST = 4096
Block = dict[str, np.ndarray]


class Variable(NamedTuple):
    """A variable of the dataset, with what it holds where nothing has been computed."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    fill: Any
    attributes: dict[str, Any]


class Options(NamedTuple):
    """What is asked for beside models and outputs.

    `tau`: budgets; `one_tau`: whether they are one number, and no axis. `chunk`: cells of a block.
    `coarse`: whether continuous laws are held on coarse grids.
    """

    tau: np.ndarray
    one_tau: bool
    tolerance: Real
    threshold: Real
    chunk: int
    coarse: bool = False


class Plan:
    """All that a survey does, but for where its blocks go."""

    def __init__(
        self,
        models: Models,
        outputs: Mapping[str, Output],
        rules: Sequence[str],
        options: Options,
    ):
        self.models, self.options = models, options
        self.outputs = {**outputs, "status": OUTPUTS["status"]}
        taken = sorted(set(models.coordinates) & {*self.outputs, *AXES})
        if taken:
            raise ValueError(
                "what makes a process or covariance must not be named as an output or its axis, "
                f"got {', '.join(taken)}"
            )
        self.recipes = Recipes(models, coarse=options.coarse)
        needs = {need for output in self.outputs.values() for need in output.needs}
        needs |= {need for rule in rules for need in OF_RULE[rule]}
        if BUDGETS in needs and np.any(np.isinf(options.tau)):
            needs.add(LIMITS)
        self.asked = Asked(
            tau=options.tau,
            tolerance=options.tolerance,
            threshold=options.threshold,
            rules=tuple(rules),
            needs=frozenset(needs),
            bulks=self._bulks(),
        )
        self.shape = tuple(models.sizes.values())
        self.of_block = _shape_of_blocks(self.shape, options.chunk)
        self.blocks_along = tuple(
            -(-n // k) for n, k in zip(self.shape, self.of_block, strict=True)
        )
        self.blocks = int(np.prod(self.blocks_along, dtype=int))
        self.size = int(np.prod(self.shape, dtype=int))

    def _bulks(self) -> int:
        # room in the outputs; 1 where no output has bulks
        if not any(output.axis in ("edge", "bulk") for output in self.outputs.values()):
            return 1
        recipes = self.models.for_room()
        found = [r for r in self.recipes.of(recipes) if r is not None]
        return max((room(r.spectral) for r in found), default=MOST_BULKS)

    def place(self, block: int) -> tuple[slice, ...]:
        """Where a block lies in the grid."""
        along = np.unravel_index(block, self.blocks_along) if self.shape else ()
        return tuple(
            slice(int(i) * k, min(int(i) * k + k, n))
            for i, k, n in zip(along, self.of_block, self.shape, strict=True)
        )

    def cells_in(self, block: int) -> int:
        """How many cells a block has."""
        return int(np.prod([s.stop - s.start for s in self.place(block)], dtype=int))

    def _cells(self, block: int) -> np.ndarray:
        ranges = [np.arange(s.start, s.stop) for s in self.place(block)]
        if not ranges:
            return np.zeros(1, int)
        return np.ravel_multi_index(np.meshgrid(*ranges, indexing="ij"), self.shape).ravel()

    def begin(self, block: int, engine: Engine) -> Callable[[], Block]:
        """Start computing a block; what comes back waits for its outputs, arrays on the grid."""
        cells = self._cells(block)
        groups = [
            Cells(self.asked, alike, engine)
            for alike in self.recipes.alike(self.models.numbers(cells))
        ]
        shape = tuple(s.stop - s.start for s in self.place(block))

        def finish() -> Block:
            table = {
                name: np.full((cells.size, *self._more(output)), output.outside)
                for name, output in self.outputs.items()
            }
            for group in groups:
                for name, values in self._values(group).items():
                    table[name][group.alike.places] = values.reshape(-1, *table[name].shape[1:])
            return {name: a.reshape(*shape, *a.shape[1:]) for name, a in table.items()}

        return finish

    def _values(self, cells: Cells) -> Block:
        # where a batch fails its cells are computed one by one, so that none stops the others
        try:
            return {name: np.asarray(output.of(cells)) for name, output in self.outputs.items()}
        except FAILURES as error:
            count = cells.alike.places.size
            if count == 1:
                warnings.warn(f"the computation of a cell has failed: {error}", stacklevel=2)
                return self._failed()
            halves = np.arange(count // 2), np.arange(count // 2, count)
            parts = [
                self._values(Cells(self.asked, _part(cells.alike, half), cells.engine))
                for half in halves
            ]
            return {name: np.concatenate([p[name] for p in parts]) for name in self.outputs}

    def _failed(self) -> Block:
        # the outputs of one cell
        nothing = {
            name: np.full(
                (1, *([self.lengths[output.axis]] if output.axis else [])), output.outside
            )
            for name, output in self.outputs.items()
        }
        return nothing | {"status": np.array([FAILED])}

    def _more(self, output: Output) -> tuple[int, ...]:
        if output.axis == "tau" and self.options.one_tau:
            return ()
        return (self.lengths[output.axis],) if output.axis else ()

    @property
    def lengths(self) -> dict[str, int]:
        """Lengths of the axes that outputs may have beside those of the grid."""
        bulks = self.asked.bulks
        lengths = self.asked.tau.size, len(self.asked.rules), len(PARTS), 2 * bulks, bulks
        return dict(zip(AXES, lengths, strict=True))

    @property
    def variables(self) -> dict[str, Variable]:
        """The variables of the dataset, by name."""
        grid = tuple(self.models.sizes)

        def variable(output: Output) -> Variable:
            more = self._more(output)
            fill = np.asarray(output.outside)
            attributes = {**output.attributes, "long_name": output.meaning}
            dims = (*grid, output.axis) if more else grid
            return Variable(dims, (*self.shape, *more), fill, attributes)

        return {name: variable(output) for name, output in self.outputs.items()}

    @property
    def coordinates(self) -> dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]:
        """The coordinates of the dataset, by name: dimensions, values and attributes."""
        used = {dim for variable in self.variables.values() for dim in variable.dims}
        texts = lambda values: np.array(values, dtype=object)
        tau = {"units": "1", "long_name": "training time tau = k eta / d^2"}
        more: dict[str, Any] = {
            "tau": (("tau",), self.asked.tau, tau),
            "rule": (("rule",), texts(self.asked.rules or RULES), {"long_name": "rule of times"}),
            "part": (("part",), texts(PARTS), {"long_name": "part of the spectrum"}),
        }
        along = {name: entry for name, entry in more.items() if name in used}
        if self.options.one_tau and any(o.axis == "tau" for o in self.outputs.values()):
            along["tau"] = ((), float(self.asked.tau[0]), tau)
        return {**self.models.coordinates, **along}

    @cached_property
    def identity(self) -> str:
        """A digest of all that the numbers depend on."""
        asked = self.asked
        numbers = asked.tau, asked.tolerance, asked.threshold, self.options.chunk, asked.bulks
        return fingerprint(
            self.models.identity(), tuple(self.outputs), asked.rules, numbers, self.shape
        )

    @property
    def attributes(self) -> dict[str, Any]:
        """Texts and numbers that say what was computed."""
        return {
            "source": f"rfspec {version('rfspec')}, jax {jax.__version__}, "
            f"{jax.devices()[0].device_kind}",
            "reference": "arXiv 2505.17638; exact losses from two-point functions are beyond it",
            **self._first_model(),
            "tolerance": float(self.options.tolerance),
            "threshold": float(self.options.threshold),
        }

    def _first_model(self) -> dict[str, str]:
        # that of the first cell that has one
        cells = np.arange(min(self.size, FIRST))
        numbers = self.models.numbers(cells)
        for i in np.flatnonzero(numbers.inside):
            model = self.models.model(int(numbers.recipe[i]))
            if model is not None:
                psi_p, psi_n, decay = (float(column[i]) for column in numbers[:3])
                of_cell = model.replace(psi_p=psi_p, psi_n=psi_n, weight_decay=decay)
                others = ", ".join(self.models.sizes) or "nothing else"
                is_ = f"that of the first cell; others have their {others}"
                return {"model": repr(of_cell), **stored(of_cell), "rfspec_model_is": is_}
        return {"model": "None"}


def _shape_of_blocks(shape: tuple[int, ...], chunk: int) -> tuple[int, ...]:
    # the last axes whole, one in equal parts, the first one by one
    sizes, room_left = [], chunk
    for n in reversed(shape):
        parts = -(-n // max(1, min(n, room_left)))
        sizes.append(-(-n // parts))
        room_left //= n
    return tuple(reversed(sizes))


def _part(alike: Alike, rows: np.ndarray) -> Alike:
    cut = jax.tree.map(lambda a: a[rows], alike)
    return cut._replace(spectral=cut.eq) if alike.eq is alike.spectral else cut
