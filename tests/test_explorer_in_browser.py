"""Both explorers in a real browser without a window: Chromium of the system."""

import asyncio
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

import rfspec as rf
from rfspec.explorer import page as explorer
from rfspec.explorer import scripts, state
from rfspec.explorer.server import server_of
from rfspec.explorer.state import Settings

# filters of warnings are those of all threads, the server's too
QUIET = pytest.mark.filterwarnings("ignore")
pytestmark = [pytest.mark.slow, pytest.mark.browser, QUIET]
# what Chromium needs where it runs as root, and where shared memory is small
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
STATIC = Path(__file__).parents[1] / "docs" / "explorer" / "index.html"
NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 420, "height": 900}
# milliseconds for what may have to compile on a machine that is busy
PATIENCE = 120_000


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "these tests need a browser: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Window:
    """A page, what it asked for, and what it complained of."""

    def __init__(self, browser, size, address):
        self.page = browser.new_page(viewport=size)
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda said: said.type in ("error", "warning") and self.errors.append(said.text),
        )
        self.page.goto(address)

    def hosts(self):
        remote = (urlsplit(url) for url in self.requests)
        return {url.hostname for url in remote if url.scheme not in ("data", "blob", "file")}


# --------------------------------------------------------------------------------------------------
# the page that needs no server


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def static(chromium, request):
    window = Window(chromium, request.param, STATIC.as_uri())
    yield window
    assert window.errors == []
    assert window.hosts() == set()
    window.page.close()


def test_the_static_page_follows_its_sliders(static):
    page = static.page
    numbers, picture = page.locator("#numbers"), page.locator("#picture")
    assert "44.69" in numbers.inner_text()
    before = picture.screenshot()
    page.locator("#psiN").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('psiN-shown').textContent === '11.3'")
    page.wait_for_function("!document.getElementById('numbers').innerText.includes('44.69')")
    assert picture.screenshot() != before
    upper = float(rf.spectrum(rf.RandomFeatureModel(64.0, 11.3, 0.01)).edges[-1])
    assert f"{upper:.4g}" in numbers.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_the_static_page_shows_every_kind_of_model(static):
    page = static.page
    for activation in ("erf", "sin", "relu", "tanh"):
        page.select_option("#activation", activation)
        page.select_option("#covariance", "2")
        page.wait_for_function("document.querySelectorAll('#numbers tr').length > 4")
        assert page.locator("#message").inner_text() == ""
        page.select_option("#covariance", "1")
        page.wait_for_function("document.querySelectorAll('#numbers tr').length <= 5")
    assert not page.locator("#two").is_visible()


# --------------------------------------------------------------------------------------------------
# the page of `rfspec explore`


@pytest.fixture(scope="module")
def served():
    """The address of a server that runs beside the tests."""
    ready, servers = threading.Event(), []

    def run():
        asyncio.set_event_loop(asyncio.new_event_loop())
        servers.append(server_of(Settings(), port=0))
        ready.set()
        servers[0].io_loop.start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{servers[0].port}/"
    servers[0].io_loop.add_callback(servers[0].io_loop.stop)
    thread.join(30)


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def window(chromium, served, request):
    window = Window(chromium, request.param, served)
    wait_for_pictures(window.page, "132.8")
    yield window
    assert window.errors == []
    assert window.hosts() == {"127.0.0.1"}
    window.page.close()


def wait_for_pictures(page, best_time):
    page.get_by_text(best_time, exact=True).wait_for(timeout=PATIENCE)
    for name in ("spectrum", "losses"):
        page.get_by_alt_text(name).wait_for(timeout=PATIENCE)


def image(page, name):
    return page.get_by_alt_text(name).get_attribute("src")


def press(page, key, times):
    """Move the first slider, ψ_p."""
    handle = page.locator(".noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def test_pictures_follow_a_slider(window):
    page = window.page
    before = image(page, "spectrum"), image(page, "losses")
    press(page, "ArrowRight", 6)
    model = rf.RandomFeatureModel(128.0, 8.0, 0.01)
    page.get_by_text("psi_p=128.0").wait_for(timeout=PATIENCE)
    wait_for_pictures(page, f"{float(rf.early_stopping(model).tau):.4g}")
    after = image(page, "spectrum"), image(page, "losses")
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_downloads_are_the_numbers_and_the_picture(window, tmp_path):
    page = window.page
    content = {}
    for form in ("CSV", "PNG", "PDF"):
        with page.expect_download(timeout=PATIENCE) as waiting:
            page.locator("#spectrum").get_by_text(form, exact=True).click()
        assert waiting.value.suggested_filename == f"spectrum.{form.lower()}"
        waiting.value.save_as(tmp_path / waiting.value.suggested_filename)
        content[form] = (tmp_path / f"spectrum.{form.lower()}").read_bytes()
    assert content["PNG"].startswith(b"\x89PNG")
    assert content["PDF"].startswith(b"%PDF")
    spectral = state.spectral_of(Settings())
    assert content["CSV"].decode() == scripts.csv_of(spectral, Settings())


def test_the_place_is_shown_before_the_regions_and_moves_in_them(window):
    page = window.page
    place = page.get_by_alt_text("phase diagram")
    expect(place).to_be_visible(timeout=PATIENCE)
    without = image(page, "phase diagram")
    # the regions are there once their numbers are
    csv = page.locator("#place").get_by_role("button", name="CSV")
    expect(csv).to_be_enabled(timeout=PATIENCE)
    before = image(page, "phase diagram")
    assert before != without or Settings().law in explorer._known_diagrams
    press(page, "ArrowRight", 6)
    page.get_by_text("psi_p=128.0").wait_for(timeout=PATIENCE)
    expect(place).not_to_have_attribute("src", before, timeout=PATIENCE)
    assert csv.is_enabled()


def test_failures_are_sentences(window, monkeypatch):
    page = window.page

    def failing(settings):
        raise rf.ConvergenceError("the edges could not all be found")

    monkeypatch.setattr(state, "spectral_of", failing)
    press(page, "ArrowRight", 1)
    page.get_by_text("The edges could not all be found.").wait_for(timeout=PATIENCE)
    monkeypatch.undo()
    press(page, "ArrowLeft", 1)
    page.get_by_text("The edges could not all be found.").wait_for(state="hidden", timeout=PATIENCE)
    assert np.all([image(page, name) for name in ("spectrum", "losses")])
