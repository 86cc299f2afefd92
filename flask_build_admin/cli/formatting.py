"""Builds as text for a terminal: within its width, and without control characters."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any
from unicodedata import combining, east_asian_width

import click

from ..representation import Document
from ..schema import UnixTime
from ..store import BuildWarning, Revision
from ..wording import escape, format_date, is_seen

#: The least width of a cell that is cut, in columns.
_MIN_WIDTH = 3


def format_json(value: Any, indent: int | None = None) -> str:
    """Return a JSON value with what is invisible escaped, on one line unless there is an indent."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(
        char if is_seen(char) or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def format_build(build: Document, times: Collection[str]) -> Iterator[str]:
    """Return a build, one member per line. ``times``: the members to print as a date, too."""
    width = max(map(_width, build), default=0)
    for member, value in build.items():
        yield f"{_fit(escape(member), width)}  {format_value(member, value, times)}"


def format_changes(
    changes: Mapping[str, Mapping[str, Any]], times: Collection[str]
) -> Iterator[str]:
    """Return the members that differ, each with its value before in red and after in green.

    :param times: the members to print as a date, too.
    """
    for member, change in changes.items():
        for sign, side, colour in (("-", "before", "red"), ("+", "after", "green")):
            line = f"{sign} {escape(member)}: {format_value(member, change[side], times)}"
            yield click.style(line, fg=colour)


def format_warnings(warnings: Iterable[BuildWarning]) -> Iterator[str]:
    """Return the contradictions in a build, in yellow."""
    for one in warnings:
        yield click.style(f"warning: {escape(one.warning)}", fg="yellow")


def format_outside(
    introduction: str, changes: Mapping[str, Mapping[str, Any]], times: Collection[str]
) -> str:
    """Return the members that somebody else has changed, on one line."""
    listed = []
    for member, change in changes.items():
        values = " → ".join(format_value(member, one, times) for one in change.values())
        listed.append(f"{escape(member)}: {values}")
    return click.style(f"{introduction}: {', '.join(listed)}", fg="yellow")


def format_value(member: str, value: Any, times: Collection[str]) -> str:
    """Return a value of a member as JSON; a time as a date, too."""
    text = format_json(value)
    # 0 is "not yet", and beyond the last date of UnixTime there is none to print.
    if member in times and type(value) is int and 0 < value <= UnixTime.latest:
        return f"{text} ({format_date(value)})"
    return text


def format_revision(revision: Revision, *, of_build: bool = False) -> str:
    """Return when, by whom and why a revision was made, on one line.

    :param of_build: whether to name its build, too.
    """
    build = f"build {revision.build_id}  " if of_build else ""
    actor = "nobody known" if revision.actor is None else revision.actor
    reason = "" if revision.reason is None else f": {revision.reason}"
    return escape(f"{revision.id}  {build}{format_date(revision.at or 0)}  {actor}{reason}")


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None
) -> Iterator[str]:
    """Return rows below a head, within ``columns`` if given.

    The last cells are cut first, and the first, which names the build, never.
    """
    cells = [[escape(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    over = 0 if columns is None else sum(widths) + 2 * (len(widths) - 1) - columns
    for number in reversed(range(1, len(widths))):
        given = min(max(over, 0), max(widths[number] - _MIN_WIDTH, 0))
        widths[number] -= given
        over -= given
    for row in cells:
        yield "  ".join(map(_fit, row, widths)).rstrip()


def _fit(text: str, width: int) -> str:
    """Pad or cut text to a width in columns."""
    if _width(text) <= width:
        return text + " " * (width - _width(text))
    widths = accumulate(map(_width, text))
    cut = text[: next(number for number, reached in enumerate(widths) if reached >= width)]
    return cut + "…" + " " * (width - _width(cut) - 1)


def _width(text: str) -> int:
    return sum(
        0 if combining(char) else 1 + (east_asian_width(char) in {"W", "F"}) for char in text
    )
