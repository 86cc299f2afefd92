"""What can go wrong, each with its status and its sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

#: Characters of a sentence that lists members: as far as a line of a terminal or a log goes.
LINE = 500

#: Members and their problems, as they stand under ``fields`` of an answer.
Problems = Mapping[str, list[str]]


class ConfigurationError(TypeError):
    """The blueprint was given something it cannot work with.

    Raised when a :class:`~flask_build_admin.BuildAdmin` is made; its text names the cause and
    the way out.
    """


class BuildError(Exception):
    """A request that is refused. ``str()`` is one plain sentence, fit to be shown to the client.

    :param sentence: what is wrong; the class's own sentence if left out.
    """

    #: The HTTP status code of the contract.
    status: ClassVar[int] = 500
    #: What is said when nothing more is known.
    sentence: ClassVar[str] = "The server failed to handle the request."
    #: Every problem of every member; only :class:`InvalidBuild` has any.
    fields: Problems | None = None

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class MalformedBody(BuildError):
    """The body is no JSON object, or one that two readers may take for two things (RFC 8259)."""

    status = 400
    sentence = "The body is not a JSON object."


class InvalidBuild(BuildError):
    """The document is a JSON object, but no build that can be stored.

    :param fields: the problems, at least one for each member named.
    """

    status = 400

    def __init__(self, fields: Problems) -> None:
        super().__init__(_told(fields))
        self.fields = fields


class InvalidParameter(BuildError):
    """A parameter of the request is unknown, doubled, missing or not of its form.

    :param problems: of each parameter, at least one.
    """

    status = 400

    def __init__(self, problems: Problems) -> None:
        super().__init__(_told(problems))
        #: What is wrong, by the name of the parameter.
        self.problems = problems


class BuildNotFound(BuildError):
    """No build has this id. None is ever created."""

    status = 404
    sentence = "There is no such build."


class RevisionNotFound(BuildError):
    """The build has no revision of this id."""

    status = 404
    sentence = "The build has no such revision."


class BuildConflict(BuildError):
    """The database refuses the row: a constraint, a trigger, the host's version counter."""

    status = 409
    sentence = "The database refuses this build: it breaks one of the table's rules."


class ChangedSince(BuildConflict):
    """A member has another value by now than the revision gave it: it cannot be undone.

    :param members: those that have another value now.
    """

    def __init__(self, members: Sequence[str]) -> None:
        super().__init__(
            f"Changed since that revision: {', '.join(members)}. Undo the later change first, or"
            " put the whole build."
        )
        #: The members that have another value now.
        self.members = members


class PreconditionFailed(BuildError):
    """The build is not, or no longer, the one the client has seen (RFC 9110, section 15.5.13)."""

    status = 412
    sentence = "The build was changed since it was fetched: fetch it again."


class PreconditionRequired(BuildError):
    """The host demands ``If-Match`` (RFC 6585, section 3)."""

    status = 428
    sentence = "If-Match is required: fetch the build and send its ETag back."


class DatabaseUnavailable(BuildError):
    """The database is locked, deadlocked or gone, or asks for another try."""

    status = 503
    sentence = "The database cannot answer now: try again."
    #: Seconds after which another try is worthwhile (RFC 9110, section 10.2.3).
    retry_after: ClassVar[int] = 1


class DatabaseFailure(BuildError):
    """The database failed in a way that another try does not mend: a missing table, say."""

    sentence = "The database failed to handle the request."


def plain(text: str) -> str:
    """Make foreign text fit for a sentence: one line, printable, no ``%``.

    The contract's Go client uses the sentence as a format string, hence the ``%``.
    """
    if text.isprintable() and "%" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "%" else f"\\u{ord(char):04x}" for char in text
    )


def require_names(option: str, names: Collection[str]) -> None:
    """See that an option is given names, and not one name, of which each letter would be one.

    :raises ConfigurationError: it is one.
    """
    if isinstance(names, str):
        raise ConfigurationError(
            f"{option}={names!r} is no collection of names: pass a tuple, {option}=({names!r},)."
        )


def each_of(problems: Problems) -> list[str]:
    """Say what is wrong with each member, or parameter."""
    return [f"{name}: {', '.join(told)}" for name, told in problems.items()]


def _told(problems: Problems) -> str:
    return _listed(each_of(problems))


def _listed(problems: Iterable[str]) -> str:
    shown: list[str] = []
    room = LINE
    left = 0
    for problem in problems:
        told = plain(problem[:LINE])
        if shown and (left or len(told) > room):
            left += 1
            continue
        shown.append(told[:LINE])
        room -= len(told) + 2
    return "; ".join(shown) + (f"; and {left} more" if left else "")
