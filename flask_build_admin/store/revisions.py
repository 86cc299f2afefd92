"""A revision: the columns of it in the host's table, and one as it is read."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..exceptions import ConfigurationError
from ..representation import Document
from .mapping import column_of, python_type
from .warnings import BuildWarning

#: What the columns hold, but for the id of the build: that is as its model has it.
_TYPES = {
    "id": int,
    "at": datetime,
    "actor": str,
    "reason": str,
    "batch": str,
    "before": dict,
    "after": dict,
}

#: The longest name of a batch, in characters: that of a UUID.
MAX_BATCH = 36

#: The pattern of such a name, and what is wrong with any other.
BATCH, INVALID_BATCH = f"[!-~]{{1,{MAX_BATCH}}}", f"not 1 to {MAX_BATCH} visible characters"

#: The largest id that a revision can have.
MAX_REVISION_ID = 2**63 - 1

#: The default number of revisions in a list.
DEFAULT_REVISIONS = 50


class BuildRevisionMixin:
    """The columns of a table of revisions, for a model of the host's.

    ``class BuildRevision(BuildRevisionMixin, Base): __tablename__ = "build_revisions"``

    The table must be in the database of the builds. A host may add columns that need no value, and
    redeclare any of these: ``build_id`` if the ids of its builds are no integers, ``reason`` with
    another length. Revisions are inserted as rows: defaults of columns apply, events of the mapper
    are not called. No revision is ever changed, and only ``BuildStore.prune`` deletes any.
    """

    # Not annotated at run time: a dataclass base would take what is Mapped for its fields.
    if TYPE_CHECKING:
        id: Mapped[int]
        build_id: Mapped[Any]
        at: Mapped[datetime]
        actor: Mapped[str | None]
        reason: Mapped[str | None]
        batch: Mapped[str | None]
        before: Mapped[Document]
        after: Mapped[Document]

    #: Ascending in the order of the changes of one build. It stands before the host's columns.
    id = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, sort_order=-1
    )
    #: The id of the build, as its model has it. No foreign key: a revision outlives its build.
    build_id = mapped_column(sa.BigInteger, index=True, nullable=False)
    #: When the change was made: UTC, in whole seconds.
    at = mapped_column(sa.DateTime(timezone=True), nullable=False)
    #: ``str()`` of what ``BuildAdmin(actor=…)`` returned; NULL if there is none.
    actor = mapped_column(sa.Text, nullable=True)
    #: ``?reason=`` of the change. A reason that is longer than the column is refused.
    reason = mapped_column(sa.String(1000), nullable=True)
    #: What the changes of several builds that were made at once have in common; NULL: nothing.
    batch = mapped_column(sa.String(MAX_BATCH), index=True, nullable=True)
    #: The whole build before the change. A member whose attribute is None is null.
    before = mapped_column(sa.JSON, nullable=False)
    #: The whole build after the change.
    after = mapped_column(sa.JSON, nullable=False)


class Revision(NamedTuple):
    """One change of one build."""

    #: The id of the build, as the member ``id`` has it.
    build_id: Any
    #: The name of who changed it; None if unknown.
    actor: str | None
    #: Why; None if no reason was given.
    reason: str | None
    #: The members that differ, each with its value ``before`` and ``after``.
    changes: Document
    #: None if the change is only previewed, or not recorded.
    id: int | None = None
    #: When the change was made, in UNIX epoch seconds; None as ``id``.
    at: int | None = None
    #: What it has in common with the other changes of a batch; None: it is a change of its own.
    batch: str | None = None
    #: The contradictions in the changed build, if that was asked: of a preview, for example.
    warnings: Sequence[BuildWarning] = ()
    #: What was changed by others before the next revision, or until now, as ``changes`` has it.
    #: None if the revision was not read from the history.
    changed_outside: Document | None = None
    #: What does not stand any more of what the revision changed, and was changed by no later one:
    #: the value that it gave to each member, and that of now. None if that was not asked.
    overwritten: Document | None = None

    @property
    def document(self) -> Document:
        """The revision as JSON; the preview of one has ``warnings``, but no ``id``."""
        names = ("id", "build_id", "at", "actor", "reason", "batch", "changes")
        unknown = {"id", "at", "batch"} if self.id is None else set()
        document = {name: getattr(self, name) for name in names if name not in unknown}
        if self.id is None:
            document["warnings"] = [one.document for one in self.warnings]
        for name in ("changed_outside", "overwritten"):
            if (value := getattr(self, name)) is not None:
                document[name] = value
        return document


class RevisionFilter(NamedTuple):
    """Which revisions are meant."""

    #: Only those of one build, by its id as the model has it.
    build_id: Any = None
    #: Only those of one batch.
    batch: str | None = None
    #: Only those of one actor.
    actor: str | None = None
    #: Only those made later than this UNIX epoch second.
    after: int | None = None
    #: Only those made earlier than this UNIX epoch second.
    before: int | None = None

    def fits(self, revision: Revision) -> bool:
        """Check a revision, but for its build: a collation may find "MONA" for "mona"."""
        at = revision.at or 0
        return (
            self.batch in (None, revision.batch)
            and self.actor in (None, revision.actor)
            and (self.after is None or at > self.after)
            and (self.before is None or at < self.before)
        )


class RecordedChange(NamedTuple):
    """One revision as it was read, with what it records."""

    id: int
    revision: Revision
    #: The id of the build, as the model has it.
    build_id: Any
    #: The build before and after the change, as it was dumped.
    before: Document
    after: Document
    #: The id of the next revision of the build; None: there was none.
    next_id: int | None


def columns_of(model: type[Any], id_column: sa.Column[Any] | None) -> dict[str, sa.Column[Any]]:
    """Return the columns of the host's table of revisions, by their names in the mixin.

    :param id_column: of the builds, if their id is a column.
    :raises ConfigurationError: the model is not made with ``BuildRevisionMixin``, or cannot hold
        the revisions of these builds.
    """
    columns: dict[str, sa.Column[Any]] = {}
    for name in ("build_id", *_TYPES):
        if (column := column_of(model, name)) is None:
            raise ConfigurationError(
                f"{model.__name__} has no column {name!r}: make it with BuildRevisionMixin."
            )
        columns[name] = column
    if problems := [*_misfits(model.__name__, columns, id_column)]:
        raise ConfigurationError("\n".join(problems))
    return columns


def _misfits(
    model: str, columns: dict[str, sa.Column[Any]], id_column: sa.Column[Any] | None
) -> Iterator[str]:
    held, needed = python_type(columns["build_id"]), python_type(id_column)
    if held is not needed and object not in (held, needed):
        yield (
            f"{model}.build_id holds {held.__name__}, but the id of a build is"
            f" {needed.__name__}: declare it anew, of the type of that id, with index=True."
        )
    for name, kind in _TYPES.items():
        if (held := python_type(columns[name])) not in (kind, object):
            yield (
                f"{model}.{name} holds {held.__name__}, not {kind.__name__}: leave it to"
                " BuildRevisionMixin, or declare it of a type that does."
            )
    # A model need not say how the database gives the id, and a host may always have an actor
    # and a reason. But most revisions have no batch.
    given = {column for name, column in columns.items() if name != "batch"}
    for column in columns["id"].table.columns:
        needs_none = column.nullable or column.default or column.server_default
        if column not in given and not needs_none:
            yield (
                f"{model}.{column.key} is NOT NULL, but not every revision has a value for it:"
                " let it be nullable, or give it a default."
            )
    batch = columns["batch"].type
    length = batch.length if isinstance(batch, sa.String) else None
    if length is not None and length < MAX_BATCH:
        yield (
            f"{model}.batch holds {length} characters, but a batch may have {MAX_BATCH}:"
            " leave it to BuildRevisionMixin, or declare it at least as long."
        )
