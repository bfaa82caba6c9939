"""Publish rate and resident memory over depth, as an SVG that can be read on a light page and on a dark one.

Owns: the drawing. The rate is on a logarithmic axis, because brokers differ by an order of magnitude; memory begins at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from deep import Point

WIDTH, PANEL_HEIGHT = 760, 230
LEFT, RIGHT, TOP, GAP, BOTTOM = 78, 24, 30, 46, 48
MIB = 1 << 20
# Distinct without colour too.
DASHES = ("none", "7 4", "2 3", "10 3 2 3")

STYLE = """
  .page { fill: #ffffff } .text { fill: #1f2328 } .grid { stroke: #d1d9e0 } .axis { stroke: #59636e }
  .s0 { --c: #0969da } .s1 { --c: #bc4c00 } .s2 { --c: #1a7f37 } .s3 { --c: #8250df }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .text { fill: #f0f6fc } .grid { stroke: #3d444d } .axis { stroke: #9198a1 }
    .s0 { --c: #58a6ff } .s1 { --c: #ff9b50 } .s2 { --c: #56d364 } .s3 { --c: #d2a8ff }
  }
  text { font: 12px system-ui, sans-serif } .title { font-weight: 600 }
  .line { fill: none; stroke: var(--c); stroke-width: 2.2 } .dot { fill: var(--c) }
"""


@dataclass(frozen=True)
class Scale:
    """From values to the length of an axis."""

    low: float
    high: float
    ticks: list[float]
    is_logarithmic: bool = False

    def share(self, value: float) -> float:
        if self.is_logarithmic:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(high: float) -> Scale:
    """From 0, with four to eight round ticks."""
    step = 10.0 ** math.floor(math.log10(max(high, 1.0)))
    while high / step < 4:
        step /= 2
    count = math.ceil(high / step)
    return Scale(0.0, count * step, [index * step for index in range(count + 1)])


def logarithmic(low: float, high: float) -> Scale:
    """Whole decades around the values."""
    first, last = math.floor(math.log10(max(low, 1.0))), math.ceil(math.log10(max(high, 2.0)))
    last = max(last, first + 1)
    return Scale(10.0**first, 10.0**last, [10.0**power for power in range(first, last + 1)], is_logarithmic=True)


def depth_plot(series: list[tuple[str, list[Point]]]) -> str:
    """One line for each named series in each of two panels, one above the other."""
    points = [point for _, of_series in series for point in of_series]
    across = linear(max(point.depth_count for point in points))
    rates = logarithmic(min(point.publish_rate for point in points), max(point.publish_rate for point in points))
    memory = linear(max(point.resident_bytes for point in points) / MIB)
    legend_height = 20 * len(series)
    upper = TOP + legend_height
    lower = upper + PANEL_HEIGHT + GAP
    height = lower + PANEL_HEIGHT + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Publish rate and resident memory over the number of waiting messages">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
    ]
    for index, (name, _) in enumerate(series):
        lines += legend_entry(index, name, 22 + 20 * index)
    lines += panel(upper, "publish rate, messages/s (logarithmic)", across, rates)
    lines += panel(lower, "resident memory of the broker, MiB", across, memory)
    for index, (_, of_series) in enumerate(series):
        lines += curve(index, of_series, upper, across, rates, lambda point: point.publish_rate)
        lines += curve(index, of_series, lower, across, memory, lambda point: point.resident_bytes / MIB)
    lines.append(text((LEFT + WIDTH - RIGHT) / 2, height - 12, "messages waiting", "middle"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def legend_entry(index: int, name: str, y: float) -> list[str]:
    line = f'<line class="line s{index % 4}" stroke-dasharray="{DASHES[index % 4]}" x1="{LEFT}" x2="{LEFT + 36}" y1="{y - 4}" y2="{y - 4}"/>'
    return [line, text(LEFT + 46, y, name)]


def panel(top: float, title: str, across: Scale, upwards: Scale) -> list[str]:
    """Title, grid and the numbers of both axes."""
    bottom, right = top + PANEL_HEIGHT, WIDTH - RIGHT
    lines = [text(LEFT, top - 8, title, "start", "text title")]
    for tick in upwards.ticks:
        y = bottom - PANEL_HEIGHT * upwards.share(tick)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(text(LEFT - 8, y + 4, short(tick), "end"))
    for tick in across.ticks:
        x = LEFT + (right - LEFT) * across.share(tick)
        lines.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        lines.append(text(x, bottom + 18, short(tick), "middle"))
    lines.append(f'<path class="axis" fill="none" d="M{LEFT} {top}V{bottom}H{right}"/>')
    return lines


def curve(
    index: int, points: list[Point], top: float, across: Scale, upwards: Scale, value_of: Callable[[Point], float]
) -> list[str]:
    places = [
        (
            LEFT + (WIDTH - RIGHT - LEFT) * across.share(point.depth_count),
            top + PANEL_HEIGHT * (1 - upwards.share(value_of(point))),
        )
        for point in points
    ]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    kind = f"s{index % 4}"
    line = f'<polyline class="line {kind}" stroke-dasharray="{DASHES[index % 4]}" points="{joined}"/>'
    return [line, *(f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)]


def text(x: float, y: float, content: str, anchor: str = "start", kind: str = "text") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def short(value: float) -> str:
    """1500000 as 1.5 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
