"""Charts as SVG, by pygal, without script. Loaded with pygal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pygal
from pygal import PluginImportFixer
from pygal.style import Style

# It looks for maps at every import of the process from now on, by a way that Python gave up.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, PluginImportFixer)]

_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#56635f",
    foreground_strong="#56635f",
    foreground_subtle="#d9e0dd",
    guide_stroke_color="#d0d8d5",
    major_guide_stroke_color="#d0d8d5",
    colors=("#12877b", "#d08a1c", "#c8453f", "#5b7fd0", "#9a6cb8", "#7a8783"),
    font_family="system-ui, sans-serif",
    label_font_size=11,
    major_label_font_size=11,
    legend_font_size=12,
    title_font_size=14,
    opacity=".85",
    stroke_width=2.5,
)
_MOST_LABELS, _FEWER_LABELS = 6, 4
_WIDE, _NARROW = 720, 400
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)
_DARK = """<style>@media (prefers-color-scheme: dark) {
text { fill: #a3b1ad !important }
.guides path, .axis > .line { stroke: #3d4a47 !important }
}</style></svg>"""
_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)

Values = Sequence[float | None]


@contextmanager
def narrow(*, wanted: bool) -> Iterator[None]:
    """Draw for a telephone, where `wanted`: as many letters, in half the width."""
    token = _narrow.set(wanted)
    try:
        yield
    finally:
        _narrow.reset(token)


def lines(labels: Sequence[str], series: Mapping[str, Values], unit: Callable[[float], str]) -> str:
    """Return a line for each series, one value for each label; None leaves a gap."""
    chart = pygal.Line(**_common(unit), show_dots=len(labels) < 60, dots_size=2.5)
    return _drawn(chart, labels, series)


def bars(labels: Sequence[str], series: Mapping[str, Values], unit: Callable[[float], str]) -> str:
    """Return bars, those of one label on top of each other."""
    return _drawn(pygal.StackedBar(**_common(unit), spacing=6), labels, series)


def sideways(
    labels: Sequence[str], series: Mapping[str, Values], unit: Callable[[float], str]
) -> str:
    """Return lying bars, the first label on top, with room for long labels."""
    common = _common(unit) | {"height": 90 + 22 * len(labels) * len(series)}
    common |= {"truncate_label": 34, "show_minor_x_labels": True}
    chart = pygal.HorizontalBar(**common, spacing=4)
    return _drawn(chart, list(reversed(labels)), {k: v[::-1] for k, v in series.items()})


def _common(unit: Callable[[float], str]) -> dict[str, Any]:
    return {
        "style": _STYLE,
        "js": [],
        "height": 240,
        "width": _WIDE,
        "margin": 8,
        "legend_at_bottom": True,
        "legend_box_size": 10,
        "show_minor_x_labels": False,
        "truncate_label": 20,
        "truncate_legend": 40,
        "value_formatter": unit,
        "min_scale": 3,
        "max_scale": 6,
        "no_data_text": "no data",
        "disable_xml_declaration": True,
        "pretty_print": False,
    }


def _drawn(chart: Any, labels: Sequence[str], series: Mapping[str, Values]) -> str:
    many = _MOST_LABELS
    if _narrow.get():
        chart.config(width=_NARROW)
        many = _FEWER_LABELS
    chart.config(x_labels_major_every=max(1, -(-len(labels) // many)))
    chart.config(legend_at_bottom_columns=max(1, min(len(series), 3)))
    chart.x_labels = list(labels)
    for name, values in series.items():
        chart.add(name, list(values))
    # Without its own scripts it still writes their settings.
    drawn = _SCRIPT.sub("", str(chart.render(is_unicode=True))).rstrip()
    return drawn.removesuffix("</svg>") + _DARK
