"""Sweeps in stores: bounded memory, resuming with the same bits, parts, executors, clusters."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray

import rfspec as rf

PAPER = {"psi_p": np.geomspace(1.0, 1e3, 11), "psi_n": np.geomspace(0.5, 500.0, 9), "t": 0.05}
KILLED = """
import os, signal, sys
import numpy as np, rfspec as rf
from rfspec.surveys import stores
put = stores.InZarr.put
def dies(store, block, outputs):
    if block == 3:
        store.arrays["tau_gen"][store.plan.place(block)] = outputs["tau_gen"]
        os.kill(os.getpid(), signal.SIGKILL)
    put(store, block, outputs)
stores.InZarr.put = dies
grid = dict(psi_p=np.geomspace(1.0, 1e3, 11), psi_n=np.geomspace(0.5, 500.0, 9), t=0.05)
rf.sweep(grid, ["paper", "constants"], out=sys.argv[1], chunk=18)
"""


def test_a_killed_sweep_continues_with_the_same_bits(tmp_path, monkeypatch):
    """SIGKILL falls between two variables of a block."""
    whole = rf.sweep(PAPER, ["paper", "constants"], out=tmp_path / "whole.zarr", chunk=18)
    command = [sys.executable, "-c", KILLED, tmp_path / "cut.zarr"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = xarray.open_zarr(tmp_path / "cut.zarr", chunks=None, consolidated=False)
    assert np.sum(left.status == -1) == (11 - 3 * 2) * 9
    again = rf.sweep(PAPER, ["paper", "constants"], out=tmp_path / "cut.zarr", chunk=18)
    for name in whole.data_vars:
        assert whole[name].values.tobytes() == again[name].values.tobytes()
    with pytest.raises(ValueError, match="out must be a zarr store of a sweep with the same arg"):
        rf.sweep(PAPER, "paper", out=tmp_path / "cut.zarr", chunk=18)


def test_two_calls_fill_a_store_in_parts(tmp_path):
    kwargs = {"outputs": "paper", "out": tmp_path / "s.zarr", "chunk": 9}
    half = rf.sweep(PAPER, part=(0, 2), **kwargs)
    assert np.array_equal(half.status, np.repeat([[0], [-1]] * 6, 9, axis=1)[:11])
    rf.sweep(PAPER, part=(1, 2), **kwargs)
    whole = rf.sweep(PAPER, **kwargs)
    xarray.testing.assert_identical(
        whole.load().drop_attrs(), rf.sweep(PAPER, "paper", chunk=9).drop_attrs()
    )


def test_an_executor_fills_a_store(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        swept = rf.sweep(PAPER, "paper", out=tmp_path / "s.zarr", chunk=9, client=pool)
    assert np.all(swept.status == 0)
    assert np.array_equal(swept.tau_mem, rf.sweep(PAPER, "paper", chunk=9).tau_mem)


def test_a_store_of_many_cells_takes_little_memory(tmp_path):
    psi = np.geomspace(1.0, 1e3, 2000)
    grid = {"psi_p": psi, "psi_n": psi, "t": 0.1}
    tracemalloc.start()
    swept = rf.sweep(grid, ["constants"], out=tmp_path / "s.zarr", part=(7, 2000), chunk=2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6 < 8 * psi.size**2
    assert int(swept.status[7].sum()) == 0
    assert int(swept.status[8].sum()) == -2000


WORKER = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_goes_on_when_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    grid = {"psi_p": np.geomspace(1.0, 1e3, 24), "psi_n": np.geomspace(0.5, 5e2, 24), "t": 0.05}
    out = tmp_path / "s.zarr"
    with distributed.LocalCluster(**WORKER) as cluster, distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(
                rf.sweep, grid, ["edges", "losses"], tau=10.0, out=out, chunk=24, client=client
            )
            while not any((out / "status").glob("c/*/*")):
                time.sleep(0.05)
            os.kill(pids[0], signal.SIGKILL)
            swept = run.result(timeout=500)
    assert np.all(swept.status == 0)
    whole = rf.sweep(grid, ["edges", "losses"], tau=10.0, chunk=24)
    for name in ("edges", "test"):
        assert np.array_equal(swept[name], whole[name], equal_nan=True)
