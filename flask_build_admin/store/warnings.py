"""The contradictions in a build, such as an end before the start, in words."""

from collections.abc import Collection, Iterator
from time import time
from typing import NamedTuple

from ..representation import Document
from ..schema import BuildSchema, time_members

#: How far ahead the clock of another server may be, in seconds.
_CLOCK_SKEW = 60

#: Pairs of times: the first cannot be later than the second.
_IN_ORDER = (("started", "finished"), ("created", "started"))


class BuildWarning(NamedTuple):
    """A contradiction in a build. It refuses nothing, unless the host wants that."""

    #: The members that contradict each other, or the one that contradicts the clock.
    members: tuple[str, ...]
    #: What is wrong, in words.
    warning: str

    @property
    def document(self) -> Document:
        """The warning as JSON."""
        return {"members": [*self.members], "warning": self.warning}


class WarningRules:
    """Find the contradictions in the builds of one host.

    :param unfinished: the statuses of unfinished builds; empty: the status is not judged.
    """

    def __init__(self, schema: BuildSchema, unfinished: Collection[str]) -> None:
        self._times = time_members(schema)
        self._unfinished = frozenset(unfinished)

    def of(self, document: Document) -> list[BuildWarning]:
        """Return the warnings of a build. A time that is no whole number is not judged."""
        times = {
            key: value
            for key, value in document.items()
            if key in self._times and type(value) is int
        }
        warnings = [
            BuildWarning((first, second), f"{second} is before {first}")
            for first, second in _IN_ORDER
            if 0 < times.get(second, 0) < times.get(first, 0)
        ]
        latest = time() + _CLOCK_SKEW
        warnings += [
            BuildWarning((key,), f"{key} is in the future")
            for key, second in times.items()
            if second > latest
        ]
        return [*warnings, *self._of_status(document)]

    def _of_status(self, document: Document) -> Iterator[BuildWarning]:
        if not self._unfinished or "finished" not in document:
            return
        members = ("status", "finished")
        status, finished = map(document.get, members)
        if type(status) is not str or type(finished) not in (int, type(None)):
            return
        if status not in self._unfinished and not finished:
            yield BuildWarning(members, "the status is final, but finished is 0")
        elif status in self._unfinished and finished:
            yield BuildWarning(members, "the status is not final, but finished is not 0")
