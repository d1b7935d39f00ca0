"""The page of sliders, and how it follows them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
from matplotlib.figure import Figure

from . import pictures, scripts, state, widgets
from .state import Losses, Settings, Spectral

TEMPLATE = Path(__file__).with_name("page.html")
# what a sentence on the page says, rather than a stack trace on the terminal
TOLD = (ArithmeticError, MemoryError, RuntimeError, ValueError)
# seconds without a move after which the regions of the phase diagram are computed
REST = 0.5
# seconds after which the page says that it computes
SLOW = 0.7
COMPILING = (
    "Compiling: the first picture of a kind of covariance takes up to a minute, the next ones "
    "follow at once."
)
COMPUTING = "Computing."
# phase diagrams that are kept
REMEMBERED = 64
GREYED = {"opacity": "0.35", "filter": "grayscale(1)"}
# pictures are computed one after the other, the latest settings first; regions beside them
_following = ThreadPoolExecutor(1, "explorer")
_surveying = ThreadPoolExecutor(1, "explorer-regions")


class Drawn:
    """A picture on the page with its files: the last one that could be made."""

    def __init__(self, name: str, csv: Callable[[Any], str]):
        self.name, self.csv = name, csv
        self.figure: Figure | None = None
        self.content: Any = None
        self.pane = pn.pane.PNG(None, alt_text=name, sizing_mode="scale_width", margin=0)
        stem = name.replace(" ", "_")
        self.files = [
            pn.widgets.FileDownload(
                callback=partial(self._file, form),
                filename=f"{stem}.{form}",
                label=form.upper(),
                width=72,
                margin=(2, 6, 2, 0),
                disabled=True,
            )
            for form in ("png", "pdf", "csv")
        ]

    def show(self, figure: Figure, content: Any, png: bytes) -> None:
        self.figure, self.content = figure, content
        self.pane.param.update(object=png, styles={})
        for button in self.files:
            button.disabled = content is None and button.label == "CSV"

    def grey(self) -> None:
        self.pane.styles = GREYED

    def _file(self, form: str) -> io.BytesIO:
        if self.figure is None or (form == "csv" and self.content is None):
            raise ValueError("the picture must be there before its files")
        if form == "csv":
            return io.BytesIO(self.csv(self.content).encode())
        return io.BytesIO(pictures.as_bytes(self.figure, form, pictures.FILE))


class Page:
    """One visitor's page."""

    def __init__(self, start: Settings):
        self.sliders = widgets.sliders_at(start)
        self.scale = pn.widgets.RadioButtonGroup(
            options={"linear height": "linear", "log height": "log"}, value="linear"
        )
        self.budget = widgets.budgets()
        self.message = pn.pane.HTML(
            "", stylesheets=[widgets.MESSAGE], sizing_mode="stretch_width", margin=0
        )
        self.spectrum, self.losses, self.place = (
            Drawn(name, self._csv_of) for name in scripts.PICTURES
        )
        self.numbers = pn.pane.HTML("", stylesheets=[widgets.TABLE], sizing_mode="stretch_width")
        self.which = pn.widgets.RadioButtonGroup(options=list(scripts.PICTURES))
        self.script = pn.widgets.TextAreaInput(visible=False)
        self.code = pn.pane.HTML("", stylesheets=[widgets.CODE], sizing_mode="stretch_width")
        # of the pictures on the page
        self.shown: Settings = start
        self.results: tuple[Spectral, Losses] | None = None
        # what the mark in the phase diagram lies on
        self._background: tuple[Any, ...] = ()
        self._moves = 0
        self._followed = 0
        self._following = False

    def _csv_of(self, content: Any) -> str:
        return scripts.csv_of(content, self.shown)

    @property
    def settings(self) -> Settings:
        """Where the sliders stand."""
        return Settings(**{name: widget.value for name, widget in self.sliders.items()})

    def view(self) -> Any:
        """What the server shows."""
        for slider in (*self.sliders.values(), self.scale):
            slider.param.watch(self._moved, "value")
        self.budget.param.watch(self._budget_moved, "value")
        self.which.param.watch(lambda _: self._tell_script(), "value")
        pn.state.onload(self._moved)
        page = pn.Template(TEMPLATE.read_text(encoding="utf-8"))
        below = lambda drawn, *more: pn.Column(
            drawn.pane, pn.FlexBox(*drawn.files, *more), sizing_mode="stretch_width", margin=0
        )
        items = {
            "controls": pn.Column(*self.sliders.values(), sizing_mode="stretch_width", margin=0),
            "message": self.message,
            "spectrum": below(self.spectrum, self.scale),
            "losses": below(self.losses),
            "place": pn.Column(self.budget, below(self.place), sizing_mode="stretch_width"),
            "numbers": self.numbers,
            "script": pn.Column(
                pn.FlexBox(self.which, widgets.copy_button(self.script)),
                self.code,
                self.script,
                sizing_mode="stretch_width",
                margin=0,
            ),
        }
        for name, item in items.items():
            page.add_panel(name, item)
        return page

    # ----------------------------------------------------------------------------------------------
    # following the sliders

    async def _moved(self, *_: Any) -> None:
        widgets.show_those_of(self.sliders, self.sliders["covariance"].value)
        self._moves += 1
        # moves that come while a picture is made are followed by one picture, of the last of them
        if self._following:
            return
        self._following = True
        try:
            while self._followed != self._moves:
                self._followed = self._moves
                await self._follow()
        finally:
            self._following = False
        await self._survey()

    async def _follow(self) -> None:
        settings = None
        try:
            settings = self.settings
            await self._draw(settings)
        except TOLD as e:
            if self.shown != settings:
                self.spectrum.grey()
            for stale in (self.losses, self.place):
                stale.grey()
            self.numbers.styles = GREYED
            self._say(_sentence(e), "error")

    async def _draw(self, settings: Settings) -> None:
        spectral, figure, png, warned = await self._patiently(
            _spectrum_drawn, settings, self.scale.value
        )
        self.shown = settings
        self.spectrum.show(figure, spectral, png)
        losses, figure, png = await self._patiently(_losses_drawn, settings, spectral)
        _compiled.add(settings.covariance)
        self.losses.show(figure, losses, png)
        self.results = spectral, losses
        self._tell_numbers()
        self._tell_script()
        self._say(" ".join([*warned, *state.notes_of(spectral, losses)]), "note")
        await self._draw_place()

    async def _draw_place(self) -> None:
        law, budget = self.shown.law, self.budget.value
        diagram = _known_diagrams.get(law)
        background = law, budget, diagram is None
        before = self.place.figure if background == self._background else None
        figure, png = await _in(_following, _place_drawn, self.shown, diagram, budget, before)
        self._background = background
        self.place.show(figure, None if diagram is None else diagram.sel(tau=budget), png)

    async def _budget_moved(self, *_: Any) -> None:
        await self._draw_place()
        self._tell_script()

    async def _survey(self) -> None:
        # once the sliders rest
        moves = self._moves
        await asyncio.sleep(REST)
        law = self.shown.law
        if moves != self._moves:
            return
        try:
            if law not in _known_diagrams:
                _remember(law, await _in(_surveying, state.diagram_of, law))
        except TOLD as e:
            self.place.grey()
            self._say(f"Without regions: {_sentence(e)}", "note")
            return
        # they may have come from another visitor's page since the place was drawn
        if self.shown.law == law and self._without_regions:
            await self._draw_place()

    @property
    def _without_regions(self) -> bool:
        return not self._background or self._background[-1]

    async def _patiently(self, f: Callable[..., Any], *args: Any) -> Any:
        # the page says so when an answer takes longer than a user notices
        answer = asyncio.ensure_future(_in(_following, f, *args))
        done, _ = await asyncio.wait([answer], timeout=SLOW)
        if not done:
            self._say(COMPILING if args[0].covariance not in _compiled else COMPUTING, "busy")
        return await answer

    # ----------------------------------------------------------------------------------------------
    # words

    def _say(self, words: str, kind: str) -> None:
        self.message.param.update(object=widgets.message_of(words, kind), visible=bool(words))

    def _tell_numbers(self) -> None:
        if self.results is None:
            return
        spectral, losses = self.results
        head = ("part", "lower edge", "upper edge", "mass", "loss drop")
        bulks = widgets.table_of(head, state.bulk_rows(spectral.spectrum))
        times = widgets.table_of(("training time τ = kη/d²", ""), state.time_rows(losses))
        self.numbers.param.update(object=bulks + times, styles={})

    def _tell_script(self) -> None:
        if self.results is None:
            return
        made = {
            "spectrum": lambda: scripts.spectrum_script(self.shown, self.scale.value),
            "losses": lambda: scripts.losses_script(self.shown, self.results[1]),
            "phase diagram": lambda: scripts.diagram_script(self.shown, self.budget.value),
        }
        self.script.value = made[self.which.value]()
        self.code.object = widgets.code_of(self.script.value)


# kinds of covariance whose kernels are there
_compiled: set[str] = set()
_known_diagrams: dict[Settings, Any] = {}


def _remember(law: Settings, diagram: Any) -> None:
    _known_diagrams[law] = diagram
    if len(_known_diagrams) > REMEMBERED:
        del _known_diagrams[next(iter(_known_diagrams))]


def warm_up(start: Settings) -> Future[Any]:
    """Compile what the first picture needs, while the browser starts."""
    return _following.submit(_spectrum_drawn, start, "linear")


def _sentence(error: BaseException | str) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return f"{words[0].upper()}{words[1:]}."


async def _in(executor: ThreadPoolExecutor, f: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(executor, partial(f, *args))


def _spectrum_drawn(settings: Settings, yscale: str) -> tuple[Spectral, Figure, bytes, list[str]]:
    spectral = state.spectral_of(settings)
    figure = pictures.spectrum_picture(spectral, yscale)
    warned = [_sentence(words) for words in state.warnings_of(settings)]
    return spectral, figure, pictures.as_bytes(figure, "png"), warned


def _losses_drawn(settings: Settings, spectral: Spectral) -> tuple[Losses, Figure, bytes]:
    losses = state.losses_of(settings, spectral.spectrum)
    figure = pictures.losses_picture(losses)
    return losses, figure, pictures.as_bytes(figure, "png")


def _place_drawn(
    settings: Settings, diagram: Any, budget: float, before: Figure | None
) -> tuple[Figure, bytes]:
    if before is None:
        figure = pictures.place_picture(settings, diagram, budget)
        png = pictures.as_bytes(figure, "png")
        # nothing but the mark will move
        figure.set_layout_engine("none")
        return figure, png
    return before, pictures.as_bytes(pictures.moved(before, settings), "png")
