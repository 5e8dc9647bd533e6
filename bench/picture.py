"""Charts as one SVG, in light and dark: cost over size, both on logarithmic scales, a line for each figure and broker.

Pure: numbers in, text out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH = 330  # of a chart
LEFT, RIGHT, TOP = 48, 10, 40
PLOT_HEIGHT = 150
LEGEND_ROW, LEGEND_COLUMNS = 14, 2
COLUMNS = 3
COLORS = ("#2f7ed8", "#d9822b", "#3f9c5a", "#b04fb0")  # by figure
DASHES = ("", "5 3", "1 3")  # by broker

_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #333 }
.title { font-weight: 600; font-size: 12px }
.grid { stroke: #ddd } .frame { stroke: #999; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #ccc } .grid { stroke: #3a3a3a } .frame { stroke: #777 }
}
"""


class Line(NamedTuple):
    """`points`: (size, cost), in order; `color` and `dash` are places in COLORS and DASHES."""

    name: str
    points: Sequence[tuple[float, float]]
    color: int
    dash: int


class Chart(NamedTuple):
    """One small picture. `sizes` are the marks of its axis."""

    title: str
    sizes: Sequence[float]
    lines: Sequence[Line]


def decades(values: Sequence[float]) -> range:
    """The exponents of the powers of ten that the values lie between: at least one decade."""
    least, most = min(values), max(values)
    low = math.floor(math.log10(least))
    return range(low, max(low + 1, math.ceil(math.log10(most))) + 1)


def draw(charts: Sequence[Chart]) -> str:
    """The whole picture; charts without a point are left out."""
    shown = [chart for chart in charts if any(line.points for line in chart.lines)]
    columns = max(1, min(COLUMNS, len(shown)))
    named = max((sum(bool(line.points) for line in chart.lines) for chart in shown), default=0)
    chart_height = TOP + PLOT_HEIGHT + 32 + -(-named // LEGEND_COLUMNS) * LEGEND_ROW + 10
    width, height = columns * WIDTH, max(1, -(-len(shown) // columns)) * chart_height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
    ]
    for at, chart in enumerate(shown):
        parts.append(f'<g transform="translate({at % columns * WIDTH} {at // columns * chart_height})">')
        parts += _chart(chart)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(chart: Chart) -> list[str]:
    costs = decades([cost for line in chart.lines for _, cost in line.points])
    first, last = math.log10(min(chart.sizes)), math.log10(max(chart.sizes))
    across = WIDTH - LEFT - RIGHT
    bottom = TOP + PLOT_HEIGHT

    def place(size: float, cost: float) -> tuple[float, float]:
        x = LEFT + across * (math.log10(size) - first) / (last - first or 1)
        y = bottom - PLOT_HEIGHT * (math.log10(cost) - costs[0]) / (costs[-1] - costs[0])
        return round(x, 1), round(y, 1)

    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(chart.title)}</text>']
    for exponent in costs:
        _, y = place(min(chart.sizes), 10.0**exponent)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + across}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end">{10.0**exponent:,g}</text>')
    for size in chart.sizes:
        x, _ = place(size, 10.0 ** costs[0])
        anchor = "start" if size == min(chart.sizes) else "end" if size == max(chart.sizes) else "middle"
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="{anchor}">{size:,g}</text>')
    parts.append(f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{across}" height="{PLOT_HEIGHT}"/>')
    for line in chart.lines:
        if not line.points:
            continue
        look = f'stroke="{COLORS[line.color % len(COLORS)]}" stroke-dasharray="{DASHES[line.dash % len(DASHES)]}"'
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in line.points))
        parts.append(f'<polyline fill="none" stroke-width="2" {look} points="{path}"/>')
    return parts + _legend(chart.lines, bottom + 32)


def _legend(lines: Sequence[Line], y: int) -> list[str]:
    parts = []
    for at, line in enumerate(line for line in lines if line.points):
        x, row = LEFT + at % LEGEND_COLUMNS * 140, y + at // LEGEND_COLUMNS * LEGEND_ROW
        look = f'stroke="{COLORS[line.color % len(COLORS)]}" stroke-dasharray="{DASHES[line.dash % len(DASHES)]}"'
        parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{row - 4}" y2="{row - 4}" stroke-width="2" {look}/>')
        parts.append(f'<text x="{x + 27}" y="{row}">{escape(line.name)}</text>')
    return parts
