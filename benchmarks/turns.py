"""Rounds that take turns: only what is measured side by side says anything.

What else the machine does in a round falls on all sides of it. It does not fall on all alike: a
server with threads gets more of a busy processor than one without, so figures to be published want
an idle machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from statistics import quantiles
from typing import Generic, NamedTuple, TypeVar

Side = TypeVar("Side")


class Quartiles(NamedTuple):
    """What lies at 25, 50 and 75 per cent."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Quartiles:
        """Take them of some values, of at least two."""
        return cls(*quantiles(values, n=4, method="inclusive"))

    def scaled(self, factor: float) -> Quartiles:
        """Answer them in another unit."""
        return Quartiles(*(factor * value for value in self))


class Turns(NamedTuple, Generic[Side]):
    """What was measured of each side, round by round."""

    measured: dict[Side, list[float]]

    def of(self, side: Side) -> Quartiles:
        """Answer the quartiles of one side."""
        return Quartiles.of(self.measured[side])

    def ratio(self, side: Side, other: Side) -> Quartiles:
        """Answer the quartiles of the ratios of two sides, each within its round."""
        pairs = zip(self.measured[side], self.measured[other], strict=True)
        return Quartiles.of(one / another for one, another in pairs)

    def undisturbed(self, side: Side, other: Side) -> float:
        """Answer the ratio of the least of two sides.

        A busy machine slows many rounds, but quickens none: this can be told from a few.
        """
        return min(self.measured[side]) / min(self.measured[other])


def take_turns(sides: Mapping[Side, Callable[[], float]], rounds: int) -> Turns[Side]:
    """Measure each side once in each round, and begin each round with another side."""
    turns = Turns[Side]({side: [] for side in sides})
    order = deque(sides)
    for _ in range(rounds):
        for side in order:
            turns.measured[side].append(sides[side]())
        order.rotate()
    return turns
