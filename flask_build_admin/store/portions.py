"""How many rows of a list one statement reads, so that large builds need little memory."""

from collections.abc import Collection
from sys import getsizeof
from typing import Any

#: How many builds the first statement reads, while nothing is known of their size. The driver and
#: the session hold all of them at once: a build of 256 KiB of text may need five times as much.
FIRST_BUILDS = 9

#: The most builds that a later statement reads: they may be larger than the last ones.
MAX_PORTION = 24

#: The memory that the rows of a later statement may need, in bytes, if they are like the last ones.
_MEMORY = 1024 * 1024

#: What JSON has values in.
_CONTAINERS = frozenset({dict, list})


def next_portion(rows: Collection[Any], most: int) -> int:
    """Return how many rows to read next: the most, or fewer if they are large.

    :param rows: those that were just read, as lists or dictionaries.
    """
    return max(1, min(most, _MEMORY * len(rows) // (_memory_of(rows) or 1)))


def _memory_of(rows: Collection[Any]) -> int:
    """Estimate the memory of rows, and of all that is in them."""
    memory = 0
    left: list[Any] = [*rows]
    while left:
        one = left.pop()
        values = [*(one.values() if isinstance(one, dict) else one)]
        memory += sum(map(getsizeof, values))
        left += [value for value in values if type(value) in _CONTAINERS]
    return memory
