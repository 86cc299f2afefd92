"""Revisions: the host's table of them, what a revision holds, and what an undo restores."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import floor, isfinite
from typing import Any, NamedTuple

import sqlalchemy as sa
from marshmallow import missing
from sqlalchemy.orm import mapped_column

from ..exceptions import ConfigurationError, RevisionNotFound, UndoConflict
from ..representation import Document, changed_members, changes_between, encode, same
from ..schema import UnixTime, WholeNumber, to_unix_time
from .codec import BuildCodec, LoadedBuild
from .dberrors import Unreadable, converting_values
from .locking import Database
from .mapping import column_of, mapper_of, python_type
from .portions import FIRST_BUILDS, MAX_PORTION, next_portion
from .transactions import flush_bind, log

_COLUMNS = ("id", "build_id", "at", "actor", "reason", "batch", "before", "after")

#: The longest name of a batch, in characters: that of a UUID.
MAX_BATCH = 36

#: The pattern of such a name, and what is wrong with any other.
BATCH, INVALID_BATCH = f"[!-~]{{1,{MAX_BATCH}}}", f"not 1 to {MAX_BATCH} visible characters"

#: The largest id that a revision can have.
MAX_REVISION_ID = 2**63 - 1

#: How many builds a revision needs the memory of: it has two, which are also read as text.
_BUILDS = 3

#: The default number of revisions in a list.
DEFAULT_REVISIONS = 50


class BuildRevisionMixin:
    """The columns of a table of revisions, for a model of the host's.

    ``class BuildRevision(BuildRevisionMixin, Base): __tablename__ = "build_revisions"``

    The table must be in the database of the builds. A host may add columns that need no value, and
    redeclare any of these: ``build_id`` if the ids of its builds are no integers, ``reason`` with
    another length. Revisions are inserted as rows: defaults of columns apply, events of the mapper
    are not called. No revision is ever changed or deleted.
    """

    # Not annotated as Mapped: a dataclass base would take them for its fields.

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

    @property
    def document(self) -> Document:
        """The revision as JSON; without ``id``, ``at`` and ``batch`` if it is not recorded."""
        names = ("id", "build_id", "at", "actor", "reason", "batch", "changes")
        unknown = {"id", "at", "batch"} if self.id is None else set()
        return {name: getattr(self, name) for name in names if name not in unknown}


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


class BuildHistory:
    """The revisions of all builds, in the host's table, on the connection of the builds.

    So a change and its revision are in one database and in one transaction.

    :param id_column: of the builds, if their id is a column.
    :raises ConfigurationError: the model is not made with ``BuildRevisionMixin``, or cannot hold
        the ids of the builds.
    """

    def __init__(self, model: type[Any], id_column: sa.Column[Any] | None) -> None:
        hint = "a model of yours that is made with BuildRevisionMixin, history=BuildRevision"
        self._mapper = mapper_of(model, "history", hint)
        self._name = model.__name__
        self._columns: dict[str, sa.Column[Any]] = {}
        for name in _COLUMNS:
            if (column := column_of(model, name)) is None:
                raise ConfigurationError(
                    f"{self._name} has no column {name!r}: make it with BuildRevisionMixin."
                )
            self._columns[name] = column
        self._aware = getattr(self._columns["at"].type, "timezone", False)
        self._build_id = self._columns["build_id"]
        self._id = self._columns["id"]
        self._check_columns(id_column)
        self._insert = sa.insert(self._id.table)
        self._select = sa.select(*(column.label(name) for name, column in self._columns.items()))

    def check_bind(self, database: Database) -> None:
        """Check that the session flushes the revisions where it flushes the builds."""
        if flush_bind(database.session, self._mapper) is not database.bind:
            raise ConfigurationError(
                f"{self._name} is in another database than the builds, and they could not be"
                " committed together: give it the bind of the builds."
            )

    def add(
        self,
        database: Database,
        build_id: Any,
        revision: Revision,
        before: Document,
        after: Document,
    ) -> Revision:
        """Insert a revision with the snapshots before and after it. The caller commits.

        :returns: the revision with its ``id`` and ``at``.
        """
        at = datetime.now(UTC).replace(microsecond=0)  # MariaDB would round it, possibly up
        values = {
            "build_id": build_id,
            "at": at if self._aware else at.replace(tzinfo=None),
            "actor": revision.actor,
            "reason": revision.reason,
            "batch": revision.batch,
            "before": before,
            "after": after,
        }
        row = {self._columns[name].key: value for name, value in values.items()}
        try:
            inserted = database.connection.execute(self._insert, row)
        except UnicodeEncodeError:  # nothing was sent yet
            # An administrator whose name the database cannot hold may still repair a build.
            name = revision.actor and revision.actor.encode("ascii", "backslashreplace").decode()
            row[self._columns["actor"].key] = name
            inserted = database.connection.execute(self._insert, row)
        revision_id, *_ = inserted.inserted_primary_key or [None]
        return revision._replace(id=revision_id, at=to_unix_time(at))

    def find(
        self, database: Database, build_id: Any, revision_id: int
    ) -> tuple[Document, Document]:
        """Return the snapshots before and after the change of one revision.

        :raises RevisionNotFound: the build has no such revision, or it cannot be read.
        """
        if not 1 <= revision_id <= MAX_REVISION_ID:
            raise RevisionNotFound
        wanted = sa.literal(revision_id, sa.BigInteger)  # the column may be narrower
        query = self._select.where(self._build_id == build_id, self._id == wanted)
        try:
            with converting_values:
                rows = database.connection.execute(query).all()
                revisions = _revisions_of(database.codec, rows, RevisionFilter(build_id))
        except Unreadable as error:
            _log_unreadable(revision_id, error)
            raise RevisionNotFound("This revision of the build cannot be read.") from error
        if not revisions:
            raise RevisionNotFound
        return rows[0].before, rows[0].after

    def newest(
        self, database: Database, wanted: RevisionFilter, limit: int, below: int | None
    ) -> Iterator[Revision]:
        """Read the newest revisions, of those with an id ``below`` another."""
        query = self._select.where(*self._conditions(wanted)).order_by(self._id.desc())
        size = FIRST_BUILDS // _BUILDS
        while limit > 0:
            asked = min(size, limit)
            ids, revisions, size = self._read(database, query, wanted, asked, below)
            limit -= len(revisions)
            while revisions:
                yield revisions.pop(0)
            if len(ids) < asked:
                return
            below = ids[-1]

    def in_batch(self, database: Database, batch: str) -> list[tuple[int, Any]]:
        """List the revisions of a batch, the newest first, each with the id of its build."""
        query = sa.select(self._id, self._build_id, self._columns["batch"])
        query = query.where(self._columns["batch"] == batch).order_by(self._id.desc())
        rows = database.connection.execute(query).all()
        return [(revision, build) for revision, build, name in rows if name == batch]

    def _conditions(self, wanted: RevisionFilter) -> Iterator[sa.ColumnElement[bool]]:
        for name in ("build_id", "batch", "actor"):
            if (value := getattr(wanted, name)) is not None:
                yield self._columns[name] == value
        if wanted.after is not None:
            yield self._columns["at"] > self._moment(wanted.after)
        if wanted.before is not None:
            yield self._columns["at"] < self._moment(wanted.before)

    def _moment(self, second: int) -> datetime:
        moment = datetime.fromtimestamp(second, UTC)
        return moment if self._aware else moment.replace(tzinfo=None)

    def _read(
        self,
        database: Database,
        query: sa.Select[Any],
        wanted: RevisionFilter,
        limit: int,
        below: int | None,
    ) -> tuple[list[int], list[Revision], int]:
        """Return the ids of some revisions, those that are meant, and how many to read next."""
        if below is not None:
            query = query.where(self._id < sa.literal(below, sa.BigInteger))
        query, connection = query.limit(limit), database.connection
        try:
            with converting_values:
                rows = connection.execute(query).all()
                revisions = _revisions_of(database.codec, rows, wanted)
            ids = [row.id for row in rows]
            size = next_portion([[row.before, row.after] for row in rows], MAX_PORTION // _BUILDS)
        except Unreadable:
            # One by one: a revision that cannot be read hides no other.
            ids = [*connection.scalars(query.with_only_columns(self._id))]
            revisions = [*self._one_by_one(database, wanted, ids)]
            size = FIRST_BUILDS // _BUILDS
        return ids, revisions, size

    def _one_by_one(
        self, database: Database, wanted: RevisionFilter, ids: Iterable[int]
    ) -> Iterator[Revision]:
        for revision_id in ids:
            query = self._select.where(self._id == revision_id)
            try:
                with converting_values:
                    rows = database.connection.execute(query).all()
                    yield from _revisions_of(database.codec, rows, wanted)
            except Unreadable as error:
                _log_unreadable(revision_id, error)

    def _check_columns(self, id_column: sa.Column[Any] | None) -> None:
        held, needed = python_type(self._build_id), python_type(id_column)
        if held is not needed and object not in (held, needed):
            raise ConfigurationError(
                f"{self._name}.build_id holds {held.__name__}, but the id of a build is"
                f" {needed.__name__}: declare it anew, of the type of that id, with index=True."
            )
        own = {*self._columns.values()}
        for column in self._id.table.columns:
            given = column.nullable or column.default or column.server_default
            if column not in own and not given:
                raise ConfigurationError(
                    f"{self._name}.{column.key} needs a value that nobody gives it: let it be"
                    " nullable, or give it a default."
                )


def snapshot(codec: BuildCodec, build: Any, document: Document) -> Document:
    """Return the document of a build with its NULLs, and its fractions of a second."""
    exact: Document = {}
    for key, attribute in codec.sources.items():
        value = getattr(build, attribute, missing)  # a property may lack what it reads
        if value is None:
            exact[key] = None
        elif isinstance(value, datetime) and value.microsecond and _is_whole(codec, key):
            exact[key] = to_unix_time(value) + value.microsecond / 1e6
        elif isinstance(value, float) and isfinite(value) and _is_whole(codec, key):
            exact[key] = value
    return {key: exact.get(key, value) for key, value in document.items()} if exact else document


def dump_snapshot(codec: BuildCodec, recorded: Document) -> Document:
    """Return a snapshot, or a part of one, as the build was dumped, in the order of the schema."""
    document = {}
    for key, member in codec.members.items():
        if key in recorded:
            value = recorded[key]
            if value is None and key in codec.sources:
                value = member.field.serialize(member.name, {member.attribute: None})
            elif type(value) is float and _is_whole(codec, key):
                moment = isinstance(member.field, UnixTime)
                value = floor(value) if moment else int(value)
            document[key] = value
    return document | {key: recorded[key] for key in recorded if key not in document}


def members_to_restore(
    codec: BuildCodec, document: Document, current: Document, before: Document, after: Document
) -> list[str]:
    """List the members that the undo of a revision restores.

    :param document: the build as it is, dumped; ``current`` is its snapshot.
    :param before: the snapshot before the change of the revision; ``after`` the one after it.
    :raises UndoConflict: one of them has another value now than the change gave it.
    """
    fixed = {"id", *codec.protected}
    members = [key for key in changed_members(before, after) if key in before and key not in fixed]
    # A NULL equals the zero that it is dumped as.
    moved = {*changed_members(document, dump_snapshot(codec, after))}
    moved &= {*changed_members(current, after)}
    if conflicts := [key for key in members if key in document and key in moved]:
        raise UndoConflict(conflicts)
    return members


def load_restored(
    codec: BuildCodec, build: Any, document: Document, before: Document, members: list[str]
) -> LoadedBuild:
    """Validate the document of a build with some members as they were in a snapshot."""
    dumped = dump_snapshot(codec, {key: before[key] for key in members})
    loaded = codec.load_values(codec.load(document | dumped), build, document)
    values = {**loaded.values}
    for key in codec.attributes.keys() & {*members}:
        attribute = codec.attributes[key]
        if before[key] is None and (dumped[key] is not None or key in loaded.problems):
            values[attribute] = None
        elif type(before[key]) is float and _is_whole(codec, key):
            second: Any = values.get(attribute)
            part = timedelta(microseconds=round(before[key] % 1 * 1e6))
            values[attribute] = second + part if isinstance(second, datetime) else before[key]
    # A column that may be NULL had it, whatever the member takes.
    problems = {key: loaded.problems[key] for key in loaded.problems if before.get(key) is not None}
    return loaded._replace(values=values, problems=problems)


def _is_whole(codec: BuildCodec, key: str) -> bool:
    """Check whether the field of a member dumps whole numbers of what may have a fraction."""
    return isinstance(codec.members[key].field, UnixTime | WholeNumber)


def _revisions_of(codec: BuildCodec, rows: Iterable[Any], wanted: RevisionFilter) -> list[Revision]:
    """Return the revisions that are meant; raise anything if one of them is malformed."""
    revisions = []
    for row in rows:
        if not _is_wanted(codec, row, wanted):
            continue
        # {**…}: what is no object would pass for an empty one.
        before, after = (dump_snapshot(codec, {**one}) for one in (row.before, row.after))
        changes, at = changes_between(before, after), to_unix_time(row.at)
        build_id = codec.dump_id(row.build_id)
        revision = Revision(build_id, row.actor, row.reason, changes, row.id, at, row.batch)
        encode(revision.document)  # it may have what JSON cannot represent: NaN, bytes
        revisions.append(revision)
    return revisions


def _is_wanted(codec: BuildCodec, row: Any, wanted: RevisionFilter) -> bool:
    # A collation may find "abc" for "ABC", where that of the builds does not.
    if wanted.build_id is not None:
        found, meant = codec.dump_id(row.build_id), codec.dump_id(wanted.build_id)
        if not same(found, meant):
            return False
    return all(getattr(wanted, name) in (None, getattr(row, name)) for name in ("batch", "actor"))


def _log_unreadable(revision_id: int, error: Unreadable) -> None:
    log.warning("revision %r cannot be read: %s", revision_id, error)
