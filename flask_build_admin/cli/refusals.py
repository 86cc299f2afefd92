"""How a command ends without its work done: sentences on standard error, and an exit code."""

from collections.abc import Iterable

import click

from .. import exceptions
from ..store import BatchFailure
from ..wording import escape

#: The exit code of a refusal; any other is 1, and wrong usage is 2.
EXIT_CODES: dict[type[exceptions.BuildAdminError], int] = {
    exceptions.PreconditionFailed: 3,
    exceptions.UndoConflict: 3,
    exceptions.BuildNotFound: 4,
    exceptions.RevisionNotFound: 4,
    exceptions.DatabaseUnavailable: 5,
    exceptions.DatabaseError: 5,
}

#: Of several exit codes, the first of these that is among them.
_ORDER = (5, 3, 4, 1)


class Refusal(click.ClickException):
    """A command ends without its work done: sentences on standard error, one per line."""

    def __init__(self, *lines: str, exit_code: int = 1) -> None:
        super().__init__("\n".join(map(escape, lines)))
        self.exit_code = exit_code  # type: ignore[misc]


def refusal_of(error: exceptions.BuildAdminError) -> Refusal:
    """Return the refusal by which a command ends."""
    return Refusal(*problems_of(error), exit_code=_exit_code(error))


def problems_of(error: exceptions.BuildAdminError) -> list[str]:
    """Return what is wrong, one line per member."""
    lines = [str(error)] if error.fields is None else exceptions.list_problems(error.fields)
    return [*map(escape, lines)]


def exit_code_of(failures: Iterable[BatchFailure]) -> int:
    """Return the exit code of a command for several builds, some of which were refused."""
    codes = {_exit_code(failure.error) for failure in failures}
    return next((code for code in _ORDER if code in codes), 0)


def _exit_code(error: Exception) -> int:
    return next((EXIT_CODES[kind] for kind in EXIT_CODES if type(error) is kind), 1)
