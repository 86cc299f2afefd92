"""How builds look on a terminal: one line each, in its width, and nothing that it would obey."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any
from unicodedata import combining, east_asian_width

import click

from .body import Document
from .revision import Revision

#: Seconds, by the letter of the unit.
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}

#: Columns that a cell of a table is never cut below.
_LEAST = 3


def printable(text: str) -> str:
    """Escape what a terminal would obey and not show: controls, and marks of direction."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def told(value: Any, indent: int | None = None) -> str:
    """Write a JSON value that no terminal obeys, and every parser reads.

    :param indent: of the members, a line each; None: all on one line.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def lines(build: Document) -> Iterator[str]:
    """Write a build, a member a line, in the order it has."""
    width = max(map(_width, build), default=0)
    for member, value in build.items():
        yield f"{_fit(printable(member), width)}  {told(value)}"


def difference(changes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Write the members that differ, each as it was and as it is, in red and green."""
    for member, change in changes.items():
        for sign, side, colour in (("-", "before", "red"), ("+", "after", "green")):
            line = f"{sign} {printable(member)}: {told(change[side])}"
            yield click.style(line, fg=colour)


def headline(revision: Revision) -> str:
    """Write when, by whom and why a revision was made, on one line."""
    at = datetime.fromtimestamp(revision.at or 0, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    actor = "nobody known" if revision.actor is None else revision.actor
    reason = "" if revision.reason is None else f": {revision.reason}"
    return printable(f"{revision.id}  {at}  {actor}{reason}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None) -> Iterator[str]:
    """Write rows below a head.

    :param columns: that no line has more than, if they are not very few; None: as many as needed.
        The last cells give way first, and the first, which says what a row is about, never.
    """
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    over = 0 if columns is None else sum(widths) + 2 * (len(widths) - 1) - columns
    for number in reversed(range(1, len(widths))):
        given = min(max(over, 0), max(widths[number] - _LEAST, 0))
        widths[number] -= given
        over -= given
    for row in cells:
        yield "  ".join(map(_fit, row, widths)).rstrip()


def age(seconds: int) -> str:
    """Write a time span by its two largest units: ``2h 5m``."""
    parts: list[str] = []
    left = max(seconds, 0)
    for unit, size in UNITS.items():
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _fit(text: str, width: int) -> str:
    """Pad or cut a text to a width in columns."""
    if _width(text) <= width:
        return text + " " * (width - _width(text))
    widths = accumulate(map(_width, text))
    cut = text[: next(number for number, reached in enumerate(widths) if reached >= width)]
    return cut + "…" + " " * (width - _width(cut) - 1)


def _width(text: str) -> int:
    return sum(
        0 if combining(char) else 1 + (east_asian_width(char) in {"W", "F"}) for char in text
    )
