"""Spectra from products alone, against the eigenvalues of the same matrices;
one answer on any number of devices.
"""

import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf
from rfspec.empirical import feature_operator, gaussian_operator, matrix_free, memory_plan
from rfspec.empirical.features import features_of_samples
from rfspec.empirical.lanczos import christoffel, gauss, jackson
from rfspec.empirical.matrix_free import matrix_free_spectrum
from rfspec.empirical.normal_rows import _store

KINDS = ["gaussian", "features"]
MODEL = rf.RandomFeatureModel(20.0, 5.0, 0.05, covariance=rf.Atoms([0.5, 1.5], [0.5, 0.5]))
KEY = jax.random.key(1)


def operator(kind, model, d, **options):
    make = gaussian_operator if kind == "gaussian" else feature_operator
    return make(KEY, model, d, **options)


def whole(A):
    """The matrix of random rows, drawn again from its keys."""
    return np.asarray(_store(A)).reshape(-1, A.columns)[: A.rows]


def dense(kind, op):
    """U formed from the operator's own blocks."""
    W, X = whole(op.W), (op.spread * whole(op.X)).T
    if kind == "gaussian":
        ge, F = op.constants, W / np.sqrt(W.shape[1])
        G = np.sqrt(ge.kappa2) * F @ X + np.sqrt(ge.v2) * whole(op.Omega)
        return G @ G.T / X.shape[1] + ge.b2 * F @ F.T + ge.s2 * np.eye(W.shape[0])
    C = np.moveaxis(np.asarray(op.layers), (2, 0), (0, 3)).reshape(
        2, -1, op.layers.shape[0] * op.X.block
    )
    C = C[:, : op.W.rows, : op.X.rows]
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    return (C[0] @ C[0].T + (unit @ unit.T) * (C[1] @ C[1].T)) / op.X.rows + np.diag(
        op.W.join(op.diagonal)
    )


@pytest.fixture(scope="module", params=KINDS)
def large(request):
    """A spectrum at p = 2,000 and the eigenvalues of its U."""
    kind = request.param
    model = rf.RandomFeatureModel(40.0, 5.0, 0.05, covariance=MODEL.covariance)
    sp = matrix_free_spectrum(KEY, model, 50, kind=kind, order=60, store=True)
    op = (gaussian_operator if kind == "gaussian" else feature_operator)(
        jax.random.fold_in(KEY, 0), model, 50
    )
    return sp, np.linalg.eigvalsh(dense(kind, op))


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_matrix(kind):
    """Stored or drawn anew, one vector or many; three blocks of which the last has padding."""
    stored, anew = (operator(kind, MODEL, 12, block=100, store=store) for store in (True, False))
    U = dense(kind, stored)
    assert 0.1 * (least := np.linalg.eigvalsh(U)[0]) < stored.floor < least * (1 + 1e-12)
    V = np.random.default_rng(0).normal(size=(240, 3))
    scale = np.abs(U).max() * 240**0.5
    for op in (stored, anew):
        assert np.abs(np.asarray(op(V)) - U @ V).max() < 1e-14 * scale
    assert np.abs(np.asarray(stored(V[:, 0])) - U @ V[:, 0]).max() < 1e-14 * scale


def test_layers_left_out_are_what_the_error_says():
    """Against all layers for the same W and X, at p = 240; the error comes from 64 rows."""
    op = operator("features", MODEL, 12, block=100, store=True)
    exact = np.asarray(
        features_of_samples(
            MODEL, jnp.asarray(whole(op.W)), jnp.asarray((op.spread * whole(op.X)).T), op.mu0
        )[0]
    )
    U = dense("features", op)
    off = np.linalg.norm(exact - U) / np.sqrt(op.W.rows)
    assert np.abs(np.diag(exact - U)).max() < 1e-13
    assert off < op.error < 2 * off


def test_distribution_moments_and_densities_are_within_their_errors(large):
    sp, values = large
    scores = [(sp.moment(k), np.mean(values**k)) for k in (1, 2, 3, -1)]
    x = np.geomspace(1e-3, 40.0, 200)
    scores.append((sp.cdf(x), np.searchsorted(values, x, side="right") / values.size))
    for width in (0.1, 0.3):
        kernel = np.exp(-(np.log(x[:, None] / values) ** 2) / (2 * width**2)) / (
            np.sqrt(2 * np.pi) * width
        )
        scores.append((sp.density(x, width), kernel.mean(1) / x))
    for (value, error), exact in scores:
        z = (value - exact) / (error + 1e-12 * np.max(np.abs(exact)))
        # eight probes: t-distributed with seven degrees of freedom, where all is sampling
        assert np.abs(z).max() < 7.0
        assert np.sqrt(np.mean(z**2)) < 2.5
    assert sp.moment(0) == pytest.approx((1.0, 0.0), abs=1e-14)
    assert sp.nodes.shape == sp.weights.shape == (8, 60)


def test_kernel_polynomial_has_the_moments_of_the_matrix(large):
    """The same damped Chebyshev series from the eigenvalues;
    only the probes' scatter separates the two.
    """
    sp, values = large
    low, high = sp.nodes.min(), sp.nodes.max()
    c, h = (low + high) / 2, 0.51 * (high - low)
    k = np.arange(2 * sp.order)
    y = np.linspace(-0.9, 0.9, 100)
    moments = np.mean(np.cos(k[:, None] * np.arccos((values - c) / h)), axis=1)
    terms = np.where(k == 0, 1.0, 2.0) * jackson(k.size) * moments
    exact = terms @ np.cos(k[:, None] * np.arccos(y)) / (np.pi * h * np.sqrt(1 - y**2))
    value, error = sp.kernel_polynomial(c + h * y)
    z = (value - exact) / error
    assert np.sqrt(np.mean(z**2)) < 2.5
    fine = np.cos(np.pi * (np.arange(2000) + 0.5) / 2000)
    integral = np.mean(sp.kernel_polynomial(c + h * fine).value * np.pi * h * np.sqrt(1 - fine**2))
    assert integral == pytest.approx(1.0, abs=1e-10)


def test_shares_between_gaps(large):
    """Atom (smeared for features) and bulks:
    between them nothing is left open but the scatter of the probes.
    """
    sp, values = large
    wide = np.argsort(np.diff(np.log(values)))[-1]
    cut = np.sqrt(values[wide] * values[wide + 1])
    for a, b in ((0.0, cut), (cut, 100.0)):
        share, error = sp.count(a, b)
        assert error < 0.02
        assert abs(share - np.mean((values > a) & (values <= b))) < 5 * error
    assert np.mean(sp._open(np.array([cut, 100.0])), axis=0).max() < 1e-6


def lanczos(points, v, order):
    """Diagonal and off-diagonal of T, written out."""
    Q, a, b = [v], [], []
    for _ in range(order):
        w = points * Q[-1]
        a.append(w @ Q[-1])
        for _ in range(2):
            w = w - np.array(Q).T @ (np.array(Q) @ w)
        b.append(np.linalg.norm(w))
        Q.append(w / b[-1])
    return np.array(a), np.array(b[:-1])


def signs(rng, size):
    return rng.choice([-1.0, 1.0], size) / np.sqrt(size)


def test_bound_of_the_distribution_function():
    """|F_v - S| ≤ 1/Σ p_k² at every x, for Lanczos on a measure known exactly; tight at a node."""
    rng = np.random.default_rng(0)
    points = np.sort(
        np.concatenate([np.full(200, 0.01), rng.uniform(1, 2, 80), rng.uniform(30, 50, 20)])
    )
    a, b = lanczos(points, signs(rng, points.size), 12)
    nodes, weights = (part[0] for part in gauss(a[None], b[None]))
    x = np.geomspace(5e-3, 60.0, 4000)
    exact = np.searchsorted(points, x, side="right") / points.size
    found = np.sum(weights * (nodes <= x[:, None]), axis=1)
    left_open = christoffel(a, b, x)
    assert np.all(np.abs(exact - found) <= left_open + 1e-13)
    assert np.abs(exact - found).max() > 0.01
    assert np.allclose(christoffel(a, b, nodes), weights, rtol=1e-6)


def test_bounds_of_negative_moments():
    """On random measures, with an atom at the floor or far above it:
    the truth lies between value and value + error.
    """
    rng, widest = np.random.default_rng(1), 0.0
    for _ in range(60):
        wide, order = rng.uniform(0.5, 9.0), int(rng.integers(4, 40))
        points = np.exp(rng.uniform(0.0, wide, 300)) * np.where(
            rng.random(300) < rng.random(), 1.0, np.exp(-wide)
        )
        points[: int(rng.choice([0, 1, 150]))] = points.min()
        a, b = lanczos(points, v := signs(rng, points.size), order)
        T = np.stack([a, a]), np.stack([b, b])
        below = rng.choice([1.0, 0.9, 0.1])
        known = {"d": 1, "p": 300, "kind": "gaussian", "error": 0.0, "stored": True}
        sp = matrix_free.MatrixFreeSpectrum(
            *gauss(*T), *T, MODEL, **known, floor=float(below * points.min())
        )
        for k in (-1, -2, -3):
            exact, (value, error) = np.sum(v**2 * points**k), sp.moment(k)
            assert value * (1 - 1e-10) <= exact <= (value + error) * (1 + 1e-10)
            widest = max(widest, (exact - value) / exact)
        unknown = matrix_free.MatrixFreeSpectrum(*gauss(*T), *T, MODEL, **known, floor=0.0)
        assert np.isinf(unknown.moment(-1).error)
    assert widest > 0.1


def test_krylov_space_that_ends():
    """n + d + 1 = 25 distinct eigenvalues, 60 products: what has weight is an eigenvalue."""
    model = rf.RandomFeatureModel(16.0, 3.0, 0.05)
    sp = matrix_free_spectrum(KEY, model, 6, order=60, store=True)
    op = gaussian_operator(jax.random.fold_in(KEY, 0), model, 6, block=96)
    values = np.linalg.eigvalsh(np.asarray(op(jnp.eye(96))))
    assert np.all(np.isfinite(sp.nodes))
    assert np.allclose(sp.weights.sum(1), 1.0, atol=1e-13)
    heavy = sp.nodes[sp.weights > 1e-8]
    assert np.min(np.abs(heavy[:, None] - values), axis=1).max() < 1e-9
    x = np.array([0.5 * values[0], 1.0, 2 * values[-1]])
    assert np.abs(sp._open(x)).max() < 1e-9


RUN = """
import sys
import jax
port, rank, kinds = sys.argv[2], int(sys.argv[3]), sys.argv[4:]
if port != "0":
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize("127.0.0.1:" + port, num_processes=2, process_id=rank)
import numpy as np
import rfspec as rf
from rfspec.empirical.matrix_free import matrix_free_spectrum
model, x, out = rf.RandomFeatureModel(16.0, 4.0, 0.05), np.geomspace(2e-2, 30.0, 20), []
for kind in kinds:
    sp = matrix_free_spectrum(jax.random.key(3), model, 12, kind=kind, probes=3, order=24, block=16,
        store=port != "0")
    out += [sp.cdf(x).value, sp.density(x, 0.3).value, sp.kernel_polynomial(x).value]
    out += [np.array([sp.moment(k).value for k in (-1, 1, 2, 3)]), sp.nodes[:, -3:].ravel()]
if rank == 0:
    np.save(sys.argv[1], np.concatenate(out))
print(len(jax.devices()))
"""


def started(out, port, rank, kinds, flags=""):
    # without optimisation compiling takes less than half the time, and that is what these runs
    # spend it on
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags + " --xla_backend_optimization_level=0",
    }
    command = [sys.executable, "-c", RUN, str(out), str(port), str(rank), *kinds]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,
    )


def finished(processes):
    for process in processes:
        text, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        yield text.split()[-1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Numbers of one process with one device, in the order of KINDS."""
    out = tmp_path_factory.mktemp("alone") / "out.npy"
    assert list(finished([started(out, 0, 0, KINDS)])) == ["1"]
    return np.load(out)


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(alone, tmp_path):
    out = tmp_path / "out.npy"
    flags = "--xla_force_host_platform_device_count=8"
    assert list(finished([started(out, 0, 0, KINDS, flags)])) == ["8"]
    assert np.allclose(np.load(out), alone, rtol=1e-10, atol=1e-14)


def test_two_processes_give_what_one_gives(alone, tmp_path):
    """Over loopback, with stored blocks where the process alone draws them anew."""
    out = tmp_path / "out.npy"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [started(out, port, rank, ["gaussian"]) for rank in (0, 1)]
    assert list(finished(both)) == ["2", "2"]
    assert np.allclose(np.load(out), alone[: alone.size // 2], rtol=1e-10, atol=1e-14)


def test_a_key_determines_everything():
    spectra = [
        matrix_free_spectrum(key, MODEL, 5, order=8, probes=probes)
        for key, probes in ((KEY, 2), (KEY, 4), (jax.random.key(2), 2), (jax.random.PRNGKey(1), 2))
    ]
    assert np.array_equal(spectra[0].nodes, spectra[3].nodes)
    assert np.allclose(spectra[0].nodes, spectra[1].nodes[:2], rtol=1e-10)
    assert not np.allclose(spectra[0].nodes, spectra[2].nodes, rtol=1e-3)


def test_probes_in_groups_are_the_same_probes(monkeypatch):
    together = matrix_free_spectrum(KEY, MODEL, 5, order=8, probes=4)
    monkeypatch.setattr(memory_plan.Need, "plan", lambda *_: (False, 2))
    apart = matrix_free_spectrum(KEY, MODEL, 5, order=8, probes=4, progress=True)
    assert (together.stored, apart.stored) == (True, False)
    assert np.allclose(together.nodes, apart.nodes, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_into_memory_is_refused_or_drawn_anew(kind, monkeypatch):
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    monkeypatch.setattr(memory_plan, "available", lambda: 2e9)
    with pytest.raises(
        ValueError, match=r"memory must hold .* GiB .* got 1\.86 GiB free: take store=False"
    ):
        matrix_free_spectrum(KEY, model, 2000, kind=kind, store=True)
    monkeypatch.setattr(memory_plan, "available", lambda: 2e7)
    with pytest.raises(ValueError, match="take a smaller d, order or block, or more devices"):
        matrix_free_spectrum(KEY, model, 2000, kind=kind)
    need = matrix_free.predict(kind, 1562, 12496, 99968, 100, 256, matrix_free.mesh_of_all())
    assert need.plan(8, None, 64 * 2**30)[0] is True
    assert need.plan(8, None, 8 * 2**30) == (False, 8)
    assert 10 < need.blocks / 2**30 < 22


@pytest.mark.usefixtures("given_anything")
def test_bad_input():
    good = {"kind": "gaussian", "order": 8}
    for change, text in [
        ({"kind": "dense"}, "kind must be one of features, gaussian, got 'dense'"),
        ({"probes": 1}, "probes must be an integer of at least 2, got 1"),
        ({"order": 2.5}, "order must be an integer of at least 4, got 2.5"),
        ({"order": 101}, "order must be at most p = 100, got 101"),
        ({"block": 0}, "block must be an integer of at least 1, got 0"),
        ({"store": "disk"}, "store must be True, False or None, got 'disk'"),
    ]:
        with pytest.raises(ValueError, match=text):
            matrix_free_spectrum(KEY, MODEL, 5, **{**good, **change})
    with pytest.raises(ValueError, match="d must be an integer of at least 1, got 0"):
        matrix_free_spectrum(KEY, MODEL, 0)
    with pytest.raises(ValueError, match=r"key must be a jax\.random\.key"):
        matrix_free_spectrum("7", MODEL, 5)
    sp = matrix_free_spectrum(KEY, MODEL, 5, order=8, probes=2)
    for call, text in [
        (lambda: sp.density([-1.0]), "x must be greater than 0, got -1"),
        (lambda: sp.density([1.0], width=0.0), "width must be a finite real number greater than 0"),
        (lambda: sp.cdf([np.nan]), "x must be finite real numbers, got nan"),
        (lambda: sp.count(2.0, 1.0), "b must be greater than a = 2, got 1"),
        (lambda: sp.moment(1.5), "k must be an integer, got 1.5"),
        (
            lambda: gaussian_operator(KEY, MODEL, 5)(np.ones(7)),
            r"v must be of shape \(p,\) or \(p, k\) with p = 100",
        ),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
