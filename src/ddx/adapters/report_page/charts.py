"""Charts as SVG, by pygal, without script. Loaded with pygal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pygal
from pygal.style import Style

_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#56635f",
    foreground_strong="#56635f",
    foreground_subtle="#d9e0dd",
    colors=("#0f6b62", "#c77d0a", "#a3201d", "#4b6bb0", "#7a5195"),
    font_family="system-ui, sans-serif",
    label_font_size=11,
    major_label_font_size=11,
    legend_font_size=12,
    title_font_size=14,
    opacity=".85",
    stroke_width=2.5,
)
_MOST_LABELS = 6
_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)

Values = Sequence[float | None]


def lines(labels: Sequence[str], series: Mapping[str, Values], unit: Callable[[float], str]) -> str:
    """Return a line for each series, one value for each label; None leaves a gap."""
    chart = pygal.Line(**_common(labels, unit), show_dots=len(labels) < 60, dots_size=2.5)
    return _drawn(chart, labels, series)


def bars(labels: Sequence[str], series: Mapping[str, Values], unit: Callable[[float], str]) -> str:
    """Return bars, those of one label on top of each other."""
    return _drawn(pygal.StackedBar(**_common(labels, unit), spacing=6), labels, series)


def _common(labels: Sequence[str], unit: Callable[[float], str]) -> dict[str, Any]:
    return {
        "style": _STYLE,
        "js": [],
        "height": 240,
        "width": 720,
        "margin": 8,
        "legend_at_bottom": True,
        "legend_box_size": 10,
        "show_minor_x_labels": False,
        "x_labels_major_count": min(_MOST_LABELS, max(1, len(labels))),
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
    chart.x_labels = list(labels)
    for name, values in series.items():
        chart.add(name, list(values))
    # Without its own scripts it still writes their settings.
    return _SCRIPT.sub("", str(chart.render(is_unicode=True)))
