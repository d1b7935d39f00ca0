"""What pages and titles of figures say is so in the numbers kept with them."""

import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "paper_figures"
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def kept():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        recipe = importlib.import_module("recipe")
        yield lambda name: recipe.kept(recipe.load(FOLDER / f"{name}.py"))


def test_tables_of_real_data_are_of_the_kept_numbers(kept):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        digits = importlib.import_module("digits")
    page = (DOCS / "real_data.md").read_text(encoding="utf-8")
    means = {name: kept(figure)["means"] for name, (figure, _) in digits.FIGURES.items()}
    assert digits.filled(page, means) == page


def test_gaussian_data_follow_the_theory_at_their_dimension(kept):
    """Best times and late losses, at the small t where the limit fails."""
    means = kept("beyond_real_digits")["means"].sel(t=[0.01, 0.1])
    late = means.isel(tau=-1)
    for kind in ("train", "test"):
        off = np.abs(late[f"finite_{kind}"] / late[f"gaussian_{kind}"] - 1.0)
        assert float(off.max()) < 0.01
    later = means.finite_best_tau / means.gaussian_best_tau
    assert float(np.abs(np.log(later)).max()) < np.log(1.08)
    in_the_limit = late.limit_test / late.gaussian_test
    assert float(in_the_limit.max()) > 1.3


def test_the_test_loss_peaks_where_features_are_as_many_as_noisy_samples(kept):
    exact = kept("malign_fig05_draws")["exact"]
    for m in (1.0, 2.0, 4.0, 16.0):
        peak = exact.test.sel(m=m).idxmax("psi_p")
        assert float(peak) == pytest.approx(8.0 * m, rel=0.2)
    # without end where the noise is averaged
    assert np.all(np.diff(exact.test.sel(m=np.inf)[exact.psi_p.values > 8.0]) > 0)


def test_the_best_ridge_makes_larger_models_better(kept):
    envelope = kept("malign_fig06_ridge")["envelope"]
    # twelve λ a decade find a minimum of curvature f'' in ln λ to f'' h²/8, with h = 0.19
    assert np.all(np.diff(envelope.test.transpose("m", "psi_p")) < 1e-4)


def test_samples_of_the_double_descent_are_on_its_line(kept):
    tables = kept("malign_fig02_double_descent")
    exact, sampled = tables["exact"], tables["gaussian"]
    for kind in ("train", "test"):
        line = np.interp(np.log(sampled.psi_p), np.log(exact.psi_p), exact[kind])
        error = np.hypot(sampled[f"{kind}_error"], 0.01 * line)
        np.testing.assert_array_less(np.abs(sampled[kind] - line), 4 * error)


def test_gradients_in_the_exponent_are_those_of_differences(kept):
    tables = kept("beyond_covariance_exponent")
    differences = tables["differences"].slope
    exact = tables["exact"].slope.interp(exponent=differences.exponent)
    both = np.isfinite(exact) & np.isfinite(differences)
    assert int(both.sum()) > 8
    np.testing.assert_allclose(exact.values[both], differences.values[both], rtol=1e-4)


def test_a_rare_class_is_memorised_first(kept):
    tables = kept("beyond_classes")
    for name in ("times_64", "times_512"):
        onset = tables[name].onset
        assert np.all(onset[:, 1] < onset[:, 0] / 1.5)
    assert np.all(np.diff(tables["times_512"].onset, axis=0) > 0)
    peak = tables["times_64"].onset.idxmax("psi_n")
    np.testing.assert_array_less(np.abs(np.log(peak / 30)), 0.2)
    table = (DOCS / "classes.md").read_text(encoding="utf-8")
    for onset in tables["times_512"].onset.sel(psi_n=8.0, method="nearest").values:
        assert f"| {onset:,.0f} |" in table


def test_samples_of_classes_are_on_their_lines(kept):
    tables = kept("beyond_classes")
    exact, sampled = tables["exact"], tables["sampled"]
    for kind in ("train", "test"):
        line = np.exp(np.log(exact[kind]).interp(tau=sampled.tau))
        # 1/d of a loss for what is systematic
        error = np.hypot(sampled[f"{kind}_error"], line / 16)
        np.testing.assert_array_less(np.abs(sampled[kind] - line), 4 * error)
