"""Small pieces of HTML: escaped text, tables, numbers."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

NOTHING = "–"  # noqa: RUF001 - an en dash: where there is no number


Cell = str | int | float | None


def escaped(value: Cell) -> str:
    """A value as HTML."""
    return html.escape(NOTHING if value is None else str(value))


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed digits, a dash for none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def table(
    header: Sequence[Cell],
    rows: Iterable[Sequence[Cell]],
    *,
    texts: int = 1,
    strong: Iterable[int] = (),
) -> str:
    """A table; the first ``texts`` columns hold text (left), the rest numbers (right). ``strong``: rows to stress."""
    stressed = set(strong)
    head = "".join(f"<th{'' if n < texts else _NUMBER}>{escaped(c)}</th>" for n, c in enumerate(header))
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td{'' if n < texts else _NUMBER}>{escaped(c)}</td>" for n, c in enumerate(row))
        lines.append(f"<tr{_STRONG if index in stressed else ''}>{cells}</tr>")
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def section(title: str, *parts: str, intro: str = "") -> str:
    """A titled part of a page; nothing when it has no content."""
    content = "\n".join(p for p in parts if p)
    if not content:
        return ""
    words = f"<p>{intro}</p>\n" if intro else ""
    return f"<section><h2>{html.escape(title)}</h2>\n{words}{content}</section>\n"


def figure(content: str, caption: str, *, kind: str = "wide") -> str:
    """A drawing with a caption; ``kind`` is its class in the style sheet."""
    return f'<figure class="{kind}">{content}<figcaption>{html.escape(caption)}</figcaption></figure>'


_NUMBER = ' class="n"'
_STRONG = ' class="strong"'
