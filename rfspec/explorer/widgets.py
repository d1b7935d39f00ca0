"""The sliders and what they say: everything of the page that knows Panel but computes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np
import panel as pn

from .state import ACTIVATIONS, BUDGETS, COVARIANCES, Settings, shown

# which sliders belong to one covariance only
OF_COVARIANCE = {"two atoms": ("ratio", "share"), "power law": ("exponent", "cutoff")}
MESSAGE = """
p { margin: 0; padding: 8px 12px; border-left: 4px solid #888; background: #f3f3f3; }
p.busy { border-color: #0072B2; background: #e8f1f8; }
p.error { border-color: #D55E00; background: #fbece2; }
"""
TABLE = """
table { border-collapse: collapse; width: 100%; font-size: 12.5px; margin-bottom: 10px; }
th { text-align: right; font-weight: 600; border-bottom: 1px solid #999; padding: 3px 4px; }
td { text-align: right; border-bottom: 1px solid #e4e4e4; padding: 3px 4px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
"""
CODE = """
pre { background: #f5f5f5; padding: 10px 12px; margin: 4px 0; overflow-x: auto; font-size: 13px;
  line-height: 1.4; }
"""


def geometric(low: float, high: float, per_factor: int, factor: float = 10.0) -> list[float]:
    """Numbers of three digits, so many for each factor, from `low` to about `high`."""
    steps = round(np.log(high / low) / np.log(factor) * per_factor)
    exact = low * factor ** (np.arange(steps + 1) / per_factor)
    return [float(f"{x:.3g}") for x in exact]


GRIDS = {
    "psi_p": ("features per dimension ψ_p = p/d", geometric(0.5, 1024.0, 6, 2.0)),
    "psi_n": ("samples per dimension ψ_n = n/d", geometric(0.5, 1024.0, 6, 2.0)),
    "t": ("diffusion time t", geometric(1e-3, 3.17, 24)),
    "trace": ("data variance Tr Σ/d", geometric(0.1, 10.0, 12)),
    "ratio": ("larger over smaller eigenvalue", geometric(1.1, 1000.0, 24)),
    "share": ("share of the larger", [round(0.02 * k, 2) for k in range(1, 50)]),
    "exponent": ("exponent a of k^(-a)", [round(0.1 * k, 1) for k in range(1, 31)]),
    "cutoff": ("share cut off at the top", geometric(1e-4, 0.5, 12)),
    "weight_decay": ("weight decay γ", [0.0, *geometric(1e-6, 1.0, 6)]),
}


def sliders_at(start: Settings) -> dict[str, Any]:
    """A widget for each of the settings, at its starting value, by name."""
    found: dict[str, Any] = {
        "activation": pn.widgets.Select(
            label="activation σ", options=list(ACTIVATIONS), value=start.activation
        ),
        "covariance": pn.widgets.Select(
            label="covariance Σ", options=list(COVARIANCES), value=start.covariance
        ),
    }
    for name, (title, grid) in GRIDS.items():
        value = float(getattr(start, name))
        # a starting value that is on no grid joins it
        options = {f"{x:g}": x for x in sorted({*grid, value})}
        found[name] = pn.widgets.DiscreteSlider(label=title, options=options, value=value)
    for widget in found.values():
        inside = isinstance(widget, pn.widgets.DiscreteSlider)
        widget.param.update(sizing_mode="stretch_width", margin=(2, 2) if inside else (2, 12))
    show_those_of(found, start.covariance)
    return found


def show_those_of(sliders: dict[str, Any], covariance: str) -> None:
    """Hide the sliders of other covariances."""
    for kind, names in OF_COVARIANCE.items():
        for name in names:
            sliders[name].visible = kind == covariance


def budgets() -> Any:
    """The slider of the training budget."""
    options = {shown(tau) if np.isinf(tau) else f"{tau:.0e}": tau for tau in BUDGETS}
    return pn.widgets.DiscreteSlider(
        label="training budget τ", options=options, value=1e4, sizing_mode="stretch_width"
    )


def table_of(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table as HTML."""
    line = lambda cells, tag: "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{line(head, 'th')}</tr>{body}</table>"


def message_of(words: str, kind: str) -> str:
    """A sentence as HTML, a note, "busy" or an "error"."""
    return f'<p role="status" class="{kind}">{escape(words)}</p>'


def code_of(script: str) -> str:
    """Lines of Python as HTML."""
    return f"<pre>{escape(script)}</pre>"


def copy_button(text: Any) -> Any:
    """A button that copies the value of a hidden widget."""
    button = pn.widgets.Button(label="Copy", width=90)
    # the clipboard is only there on a page that is local or encrypted
    button.js_on_click(args={"text": text}, code="navigator.clipboard?.writeText(text.value)")
    return button
