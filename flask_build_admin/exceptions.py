"""What this package raises, each with its HTTP status and its sentence."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any, ClassVar

#: The longest sentence that lists problems, in characters: it fits a line of a log.
LINE = 500

#: The problems of each member of a document, or of each parameter of a query.
Problems = Mapping[str, list[str]]


class ConfigurationError(RuntimeError):
    """The host passed something that cannot work. The text names the cause and how to fix it.

    Raised when a ``BuildAdmin`` is created, or at the first request if it depends on the database.
    """


class BuildAdminError(Exception):
    """A request is refused. ``str()`` is one plain sentence that a client may read."""

    #: The HTTP status code, see docs/contract.md.
    status: ClassVar[int] = 500
    #: The default sentence.
    sentence: ClassVar[str] = "The server failed to handle the request."
    #: All problems of all members, at least one each; only ``InvalidBuild`` has them.
    fields: Problems | None = None

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class InvalidJSON(BuildAdminError):
    """The body is not a JSON object, or two parsers may read it differently (RFC 8259)."""

    status = 400
    sentence = "The body is not a JSON object."


class InvalidBuild(BuildAdminError):
    """The document is a JSON object, but not a build that can be stored."""

    status = 400

    def __init__(self, fields: Problems) -> None:
        super().__init__(_summarize(fields))
        self.fields: Problems = fields


class ImpossibleBuild(InvalidBuild):
    """The change brings warnings, and the host refuses that unless it is forced.

    :param warnings: each with the members that it is of.
    """

    def __init__(self, warnings: Iterable[tuple[Sequence[str], str]]) -> None:
        fields: dict[str, list[str]] = {}
        for members, warning in warnings:
            for name in members:
                fields.setdefault(name, []).append(warning)
        super().__init__(fields)
        found = dict.fromkeys(warning for one in fields.values() for warning in one)
        self.args: tuple[Any, ...] = (
            one_line(f"Refused, unless you force it: {'; '.join(found)}."),
        )


class InvalidParameter(BuildAdminError):
    """A parameter of the query is unknown, repeated, missing or invalid."""

    status = 400

    def __init__(self, problems: Problems) -> None:
        super().__init__(_summarize(problems))
        #: At least one problem for each parameter that is named.
        self.problems = problems


class BuildNotFound(BuildAdminError):
    """No build has this id. None is ever created."""

    status = 404
    sentence = "There is no such build."


class RevisionNotFound(BuildAdminError):
    """The build has no revision with this id."""

    status = 404
    sentence = "The build has no such revision."


class BuildConflict(BuildAdminError):
    """The database refuses the row: a constraint, a trigger, a policy, a version counter."""

    status = 409
    sentence = "The database refuses this build: it breaks one of the table's rules."


class UndoConflict(BuildConflict):
    """A member no longer has the value that the revision gave it, so it cannot be undone."""

    def __init__(self, members: Sequence[str]) -> None:
        super().__init__(
            f"Changed since that revision: {', '.join(members)}. Undo the later change first, or"
            " put the whole build."
        )
        #: The members that have another value now.
        self.members = members


class PreconditionFailed(BuildAdminError):
    """The build is not the one that the client fetched (RFC 9110, section 15.5.13)."""

    status = 412
    sentence = "The build was changed since it was fetched: fetch it again."


class PreconditionRequired(BuildAdminError):
    """The host requires ``If-Match`` (RFC 6585, section 3)."""

    status = 428
    sentence = "If-Match is required: fetch the build and send its ETag back."


class DatabaseUnavailable(BuildAdminError):
    """The database is locked, deadlocked or unreachable, or asks for another try."""

    status = 503
    sentence = "The database cannot answer now: try again."
    #: Seconds to wait before the next try (RFC 9110, section 10.2.3).
    retry_after: ClassVar[int] = 1


class DatabaseError(BuildAdminError):
    """The database failed, and another try does not help: a table is missing, for example."""

    sentence = "The database failed to handle the request."


def plain(text: str) -> str:
    """Escape text for a sentence: the result is printable, on one line, and without ``%``.

    The contract's Go client uses the sentence as a format string, hence the ``%``.
    """
    if text.isprintable() and "%" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "%" else f"\\u{ord(char):04x}" for char in text
    )


def one_line(text: str) -> str:
    """Make text plain, and cut it to the length of a line."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= LINE else f"{line[: LINE - 1]}…"


def list_problems(problems: Problems) -> list[str]:
    """Describe the problems of each member, or parameter, as one line each."""
    return [f"{name}: {', '.join(messages)}" for name, messages in problems.items()]


def _summarize(problems: Problems) -> str:
    lines = list_problems({plain(name)[:100]: problems[name] for name in problems})
    return shorten("; ".join(map(plain, lines)), LINE, placeholder=" …")
