"""Where the blocks of a survey go: into memory, or into a zarr store that many may fill.

A block is put whole. The status of its cells is written last, so that it tells which blocks are
there.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.checkpoint import INDEX, Checkpoint
from ..files.io import check_target, writing
from .outputs import NOT_YET, STATUS_OF_A_STORE
from .plan import Block, Plan

if TYPE_CHECKING:
    import xarray

# the attribute of a store that tells one sweep from another
IDENTITY = "rfspec_sweep"


class InMemory:
    """Blocks in memory, and in the file of a checkpoint where there is one."""

    def __init__(self, plan: Plan, checkpoint: str | Path | None = None, **attributes: Any):
        self.plan, self.attributes = plan, attributes
        self.saved = Checkpoint(checkpoint, plan.identity if checkpoint is not None else "")
        self.table = {name: np.full(v.shape, v.fill) for name, v in plan.variables.items()}

    def missing(self) -> list[int]:
        """Blocks that are not there yet."""
        there = set()
        for record in self.saved.load():
            block = int(record.pop(INDEX))
            self._place(block, record)
            there.add(block)
        return [i for i in range(self.plan.blocks) if i not in there]

    def put(self, block: int, outputs: Block) -> None:
        """Keep a block."""
        self._place(block, outputs)
        self.saved.append({INDEX: block, **outputs})

    def _place(self, block: int, outputs: Mapping[str, np.ndarray]) -> None:
        place = self.plan.place(block)
        for name, values in self.table.items():
            values[place] = outputs[name]

    def dataset(self) -> xarray.Dataset:
        """What is there."""
        import xarray

        variables = {
            name: (v.dims, self.table[name], v.attributes)
            for name, v in self.plan.variables.items()
        }
        attributes = {**self.attributes, **self.plan.attributes}
        return xarray.Dataset(variables, self.plan.coordinates, attributes)


class InZarr:
    """Blocks as chunks of a zarr store, each in files of its own that are never half-written."""

    def __init__(self, plan: Plan, path: Path, **attributes: Any):
        import zarr

        self.plan, self.path = plan, path
        check_target("out", path, folder=True)
        if not path.exists():
            self._create(attributes)
        try:
            group = zarr.open_group(path, mode="r+")
        except (OSError, ValueError) as e:
            raise ValueError(f"out must be a zarr store of a sweep or new, got {path}") from e
        if group.attrs.get(IDENTITY) != plan.identity:
            raise ValueError(
                f"out must be a zarr store of a sweep with the same arguments, got {path} of "
                "another one: remove it or give another path"
            )
        self.arrays: dict[str, Any] = {name: group[name] for name in plan.variables}

    def _create(self, attributes: Mapping[str, Any]) -> None:
        # whole or not at all, also where many processes begin at once
        temporary = self.path.with_name(f".rfspec-{secrets.token_hex(8)}.zarr")
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._fill(temporary, attributes)
                os.rename(temporary, self.path)
            except OSError:
                if not self.path.exists():
                    raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _fill(self, path: Path, attributes: Mapping[str, Any]) -> None:
        import zarr

        plan = self.plan
        about = {IDENTITY: plan.identity, **attributes, **plan.attributes}
        group = zarr.create_group(path, attributes=about, zarr_format=3)
        for name, v in plan.variables.items():
            status = name == "status"
            group.create_array(
                name,
                shape=v.shape,
                chunks=(*plan.of_block, *v.shape[len(plan.shape) :]) or "auto",
                dtype=v.fill.dtype,
                fill_value=NOT_YET if status else v.fill[()],
                dimension_names=v.dims,
                attributes={**v.attributes, **(STATUS_OF_A_STORE if status else {})},
            )
        for name, (dims, values, attrs) in plan.coordinates.items():
            array = np.asarray(values)
            made = group.create_array(
                name,
                shape=array.shape,
                dtype=str if array.dtype == object else array.dtype,
                dimension_names=dims,
                attributes=attrs,
            )
            made[...] = array

    def missing(self) -> list[int]:
        """Blocks that are not there yet."""
        # status is written last, and a chunk of it is a file
        chunks = self.path / "status" / "c"
        along = self.plan.blocks_along
        key = lambda i: "/".join(map(str, np.unravel_index(i, along))) if along else ""
        return [i for i in range(self.plan.blocks) if not (chunks / key(i)).is_file()]

    def put(self, block: int, outputs: Block) -> None:
        """Keep a block."""
        place = self.plan.place(block) or ...
        with writing(self.path):
            for name, array in self.arrays.items():
                if name != "status":
                    array[place] = outputs[name]
            self.arrays["status"][place] = outputs["status"]

    def dataset(self) -> xarray.Dataset:
        """What is there, read when it is looked at."""
        import xarray

        names = set(self.plan.coordinates)
        found = xarray.open_zarr(self.path, chunks=None, consolidated=False)
        return found.set_coords(names)


Store = InMemory | InZarr
