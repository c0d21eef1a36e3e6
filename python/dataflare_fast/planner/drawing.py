"""The plan as a picture: an SVG that notebooks show, without any dependency.

Data runs from the top to the bottom. Labels and notes are those of the text of `explain`; the plan gives the
edges. Not here: what stands in the text (`rust/plan/src/explain.rs`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html import escape
from typing import Final

__all__ = ["NodeLabel", "draw", "node_labels"]

_WIDTH: Final = 260
_HEIGHT: Final = 46
_ACROSS: Final = 24
_DOWN: Final = 46
_LETTERS: Final = 38
_NODE: Final = re.compile(r"#(\d+) (.*)")
_SEEN: Final = " (see above)"


@dataclass(slots=True)
class NodeLabel:
    """What the text says of a node.

    Args:
        title: its line.
        notes: the lines below it.
        exchange: how rows come to it from other workers.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    exchange: str | None = None


def draw(text: str, plan_json: str) -> str:
    """Draws a plan.

    Args:
        text: of `explain`.
        plan_json: the plan.

    Returns:
        An `<svg>` element.
    """
    nodes = json.loads(plan_json)["nodes"]
    labels = node_labels(text)
    levels: list[int] = []
    for node in nodes:
        levels.append(max((levels[one] + 1 for one in node["inputs"]), default=0))
    rows: dict[int, list[int]] = {}
    for number, level in enumerate(levels):
        rows.setdefault(level, []).append(number)
    widest = max((len(row) for row in rows.values()), default=1)
    width = widest * (_WIDTH + _ACROSS) + _ACROSS
    height = len(rows) * (_HEIGHT + _DOWN) + _ACROSS
    place = {
        number: (
            (width - len(row) * (_WIDTH + _ACROSS) + _ACROSS) / 2 + index * (_WIDTH + _ACROSS),
            _ACROSS / 2 + level * (_HEIGHT + _DOWN),
        )
        for level, row in rows.items()
        for index, number in enumerate(row)
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="max-width: 100%; font: 12px system-ui, sans-serif" '
        'fill="none" stroke="currentColor" role="img">'
    ]
    for number, node in enumerate(nodes):
        label = labels.get(number, NodeLabel(node["operator"]))
        parts += [_edge(place[one], place[number], label.exchange) for one in node["inputs"]]
    for number, node in enumerate(nodes):
        label = labels.get(number, NodeLabel(node["operator"]))
        parts.append(_box(place[number], node["operator"], label))
    parts.append("</svg>")
    return "".join(parts)


def node_labels(text: str) -> dict[int, NodeLabel]:
    """What the text of `explain` says of each node, by its number."""
    labels: dict[int, NodeLabel] = {}
    current = NodeLabel("")
    for line in text.splitlines():
        content = line.strip()
        if (found := _NODE.fullmatch(content)) is not None:
            if not found[2].endswith(_SEEN):
                current = labels.setdefault(int(found[1]), NodeLabel(found[2]))
        elif content.startswith("- "):
            current.notes.append(content[2:])
        elif content.startswith("~ "):
            current.exchange = content[2:]
    return labels


def _edge(above: tuple[float, float], below: tuple[float, float], exchange: str | None) -> str:
    x1, y1 = above[0] + _WIDTH / 2, above[1] + _HEIGHT
    x2, y2 = below[0] + _WIDTH / 2, below[1]
    middle = (y1 + y2) / 2
    dashes = "" if exchange is None else ' stroke-dasharray="4 3"'
    path = f'<path d="M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2}"{dashes}/>'
    if exchange is None:
        return path
    text = f'<text x="{x2 + 6}" y="{y2 - 8}" stroke="none" fill="currentColor" font-size="10">'
    return f"<g>{path}{text}{escape(_short(exchange))}</text></g>"


def _box(at: tuple[float, float], operator: str, label: NodeLabel) -> str:
    x, y = at
    title = label.title.removeprefix(operator).strip()
    note = label.notes[0] if label.notes else ""
    lines = [operator if not title else f"{operator}: {title}", note]
    hover = "\n".join([label.title, *label.notes])
    texts = "".join(
        f'<text x="{x + 10}" y="{y + 19 + 17 * number}" stroke="none" fill="currentColor" '
        f'opacity="{1 if number == 0 else 0.65}">{escape(_short(line))}</text>'
        for number, line in enumerate(lines)
        if line
    )
    return (
        f"<g><title>{escape(hover)}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7" '
        f'fill="{_COLOURS.get(operator, _PLAIN)}" fill-opacity="0.18"/>{texts}</g>'
    )


_PLAIN: Final = "#8a8f98"
_COLOURS: Final = {
    "source": "#2f7d4f",
    "sink": "#2f7d4f",
    "watermark": "#b7791f",
    "aggregate": "#2b6cb0",
    "session": "#2b6cb0",
    "join": "#2b6cb0",
    "top_rows": "#2b6cb0",
    "sort": "#2b6cb0",
    "head": "#2b6cb0",
}
"""Ends green, event time amber, what keeps state blue."""


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
