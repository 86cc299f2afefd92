"""What was measured, as tables for the terminal and for Markdown, and what it was to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .turns import Quartiles


class Table(NamedTuple):
    """Rows of text under a title."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def text(self) -> str:
        """Answer the table for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *padded])

    def markdown(self) -> str:
        """Answer the table for a page."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


class Goal(NamedTuple):
    """Something that the blueprint is to reach."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    #: Whether it can be told on a busy machine, from a few rounds.
    robust: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        at_most = self.measured <= self.limit
        return self.measured >= self.limit if self.at_least else at_most


def goal_table(goals: list[Goal]) -> Table:
    """Tell which goals are met."""
    rows = [
        (
            goal.what,
            f"{goal.measured:.2f}",
            f"{'at least' if goal.at_least else 'at most'} {goal.limit:.2f}",
            "met" if goal.met else "missed",
        )
        for goal in goals
    ]
    return Table("Goals", ("goal", "measured", "to be", ""), rows)


def written(quartiles: Quartiles, digits: int = 2) -> str:
    """Write a median with its quartiles."""
    low, median, high = quartiles
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def milliseconds(seconds: Quartiles) -> str:
    """Write a time with its quartiles."""
    return written(seconds.scaled(1000), 3)
