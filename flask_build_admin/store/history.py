"""The history: the revisions that are added to the host's table, and the lists of them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ..exceptions import ConfigurationError, RevisionNotFound
from ..representation import Document, changes_between, encode, same
from ..schema import UnixTime, to_unix_time
from .codec import BuildCodec
from .dberrors import UnknownValue, Unreadable, comparing_values, converting_values
from .locking import Database
from .mapping import mapper_of, python_type, same_text
from .portions import FIRST_BUILDS, MAX_PORTION, next_portion
from .revisions import (
    MAX_REVISION_ID,
    RecordedChange,
    Revision,
    RevisionFilter,
    columns_of,
)
from .servers import require_ordered_ids
from .snapshots import dump_snapshot
from .transactions import flush_bind, log

#: How many builds a revision needs the memory of: it has two, which are also read as text.
_BUILDS = 3

#: How far apart the clocks of the servers may be, and how long a transaction may last that makes a
#: revision, in seconds. The ids of revisions are in the order of ``at`` but for that.
_CLOCK_SKEW = 3600

#: How far back the first look for an older revision goes, in ids.
_STEP = 1024


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
        self._columns = columns_of(model, id_column)
        self._aware = getattr(self._columns["at"].type, "timezone", False)
        self._build_id = self._columns["build_id"]
        self._id = self._columns["id"]
        self._insert = sa.insert(self._id.table)
        self._listed: dict[str, sa.Select[Any]] = {}

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
        require_ordered_ids(database.connection, self._id)
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
        row = {
            self._columns[name].key: value
            for name, value in values.items()
            if value is not None or self._columns[name].nullable  # else it has a default
        }
        try:
            inserted = database.connection.execute(self._insert, row)
        except UnicodeEncodeError:  # nothing was sent yet
            # An administrator whose name the database cannot hold may still repair a build.
            name = revision.actor and revision.actor.encode("ascii", "backslashreplace").decode()
            row[self._columns["actor"].key] = name
            inserted = database.connection.execute(self._insert, row)
        key = inserted.inserted_primary_key  # with the columns by which the host partitions it
        return revision._replace(id=getattr(key, self._id.key, None), at=to_unix_time(at))

    def find(
        self, database: Database, build_id: Any, revision_id: int
    ) -> tuple[Document, Document]:
        """Return the snapshots before and after the change of one revision.

        :raises RevisionNotFound: the build has no such revision, or it cannot be read.
        """
        if not 1 <= revision_id <= MAX_REVISION_ID:
            raise RevisionNotFound
        wanted = sa.literal(revision_id, sa.BigInteger)  # the column may be narrower
        query = self._select(database).where(self._build_id == build_id, self._id == wanted)
        try:
            with converting_values:
                rows = database.connection.execute(query).all()
                revisions = _changes_of(database.codec, rows, RevisionFilter(build_id))
        except Unreadable as error:
            _log_unreadable(revision_id, error)
            raise RevisionNotFound("This revision of the build cannot be read.") from error
        if not revisions:
            raise RevisionNotFound
        return rows[0].before, rows[0].after

    def newest(
        self, database: Database, wanted: RevisionFilter, limit: int, below: int | None
    ) -> Iterator[list[RecordedChange]]:
        """Read the newest revisions in portions, of those with an id ``below`` another."""
        query = self._select(database).where(*self._conditions(wanted)).order_by(self._id.desc())
        if wanted.after is not None:
            query = query.where(self._id > self._last_id(database, wanted.after - _CLOCK_SKEW))
        size = FIRST_BUILDS // _BUILDS
        while limit > 0:
            asked = min(size, limit)
            ids, changes, size = self._read(database, query, wanted, asked, below)
            limit -= len(changes)
            yield changes
            if len(ids) < asked:
                return
            below = ids[-1]

    def next_ids(self, database: Database, revision_ids: Collection[int]) -> dict[int, int]:
        """Return the id of the next revision of the same build, of each that has one by now."""
        query = self._select(database).where(self._id.in_(revision_ids))
        query = query.with_only_columns(self._id, self._next_id(database))
        rows = database.connection.execute(query).all() if revision_ids else ()
        return {revision: following for revision, following in rows if following is not None}

    def snapshots_before(
        self, database: Database, revision_ids: Collection[int]
    ) -> dict[int, Document]:
        """Return the dumped build before each revision, if that can be read."""
        query = sa.select(self._id, self._columns["before"]).where(self._id.in_(revision_ids))
        connection, codec = database.connection, database.codec
        try:
            with converting_values:
                rows = connection.execute(query).all() if revision_ids else ()
                return {revision: dump_snapshot(codec, {**before}) for revision, before in rows}
        except Unreadable:
            found: dict[int, Document] = {}
            if len(revision_ids) > 1:
                for one in revision_ids:
                    found |= self.snapshots_before(database, [one])
            return found

    def in_batch(self, database: Database, batch: str) -> list[tuple[int, Any]]:
        """List the revisions of a batch, the newest first, each with the id of its build."""
        query = sa.select(self._id, self._build_id, self._columns["batch"])
        query = query.where(self._columns["batch"] == batch).order_by(self._id.desc())
        try:
            with comparing_values:
                rows = database.connection.execute(query).all()
        except UnknownValue:
            return []
        return [(revision, build) for revision, build, name in rows if name == batch]

    def old(self, database: Database, before: int, above: int, limit: int) -> Sequence[int]:
        """List the first revisions that are made earlier, but for the newest of each build.

        :param before: UNIX epoch second.
        :param above: only revisions with a greater id.
        """
        later = self._later(database).exists()
        query = sa.select(self._id).where(
            self._id > sa.literal(above, sa.BigInteger),
            self._columns["at"] < self._moment(before),
            later,
        )
        return database.connection.scalars(query.order_by(self._id).limit(limit)).all()

    def delete(self, database: Database, revision_ids: Collection[int]) -> int:
        """Delete revisions, and return how many there were."""
        query = sa.delete(self._id.table).where(self._id.in_(revision_ids))
        return database.connection.execute(query).rowcount

    def _conditions(self, wanted: RevisionFilter) -> Iterator[sa.ColumnElement[bool]]:
        for name in ("build_id", "batch", "actor"):
            if (value := getattr(wanted, name)) is not None:
                yield self._columns[name] == value
        if wanted.after is not None:
            yield self._columns["at"] > self._moment(wanted.after)
        if wanted.before is not None:
            yield self._columns["at"] < self._moment(wanted.before)

    def _moment(self, second: int) -> datetime:
        moment = datetime.fromtimestamp(min(max(second, 0), UnixTime.latest), UTC)
        return moment if self._aware else moment.replace(tzinfo=None)

    def _last_id(self, database: Database, second: int) -> int:
        """Return the id of a revision that was made earlier, as late a one as is found soon.

        There need be no index on ``at``, and no list of the last day may read the whole table.
        """
        at, step = self._columns["at"], _STEP
        query = sa.select(self._id, at).order_by(self._id.desc()).limit(1)
        newest = database.connection.scalar(query.with_only_columns(self._id)) or 0
        while newest > step:
            with suppress(Unreadable), converting_values:
                row = database.connection.execute(query.where(self._id <= newest - step)).first()
                if row is None or to_unix_time(row.at) < second:
                    return 0 if row is None else row.id
            step *= 2
        return 0

    def _select(self, database: Database) -> sa.Select[Any]:
        """Return the query of all revisions, each with the id of the next one of its build."""
        name = database.bind.dialect.name
        if name not in self._listed:
            columns = [column.label(name) for name, column in self._columns.items()]
            self._listed[name] = sa.select(*columns, self._next_id(database))
        return self._listed[name]

    def _next_id(self, database: Database) -> sa.Label[int | None]:
        query = self._later(database).limit(1)
        return query.scalar_subquery().label("next_id")

    def _later(self, database: Database) -> sa.Select[tuple[int]]:
        """Return the query of the later revisions of the same build."""
        later = self._id.table.alias()
        build_id, revision_id = later.c[self._build_id.key], later.c[self._id.key]
        conditions = [build_id == self._build_id, revision_id > self._id]
        if python_type(self._build_id) in (str, object):
            conditions.append(same_text(build_id, self._build_id, database.bind.dialect))
        return sa.select(revision_id).where(*conditions).order_by(revision_id)

    def _read(
        self,
        database: Database,
        query: sa.Select[Any],
        wanted: RevisionFilter,
        limit: int,
        below: int | None,
    ) -> tuple[list[int], list[RecordedChange], int]:
        """Return the ids of some revisions, those that are meant, and how many to read next."""
        if below is not None:
            query = query.where(self._id < sa.literal(below, sa.BigInteger))
        query, connection = query.limit(limit), database.connection
        try:
            with comparing_values:
                found = connection.execute(query)
        except UnknownValue:
            return [], [], limit
        try:
            with converting_values:
                rows = found.all()
                changes = _changes_of(database.codec, rows, wanted)
            ids = [row.id for row in rows]
            size = next_portion([[row.before, row.after] for row in rows], MAX_PORTION // _BUILDS)
        except Unreadable:
            # One by one: a revision that cannot be read hides no other.
            ids = [*connection.scalars(query.with_only_columns(self._id))]
            changes = [*self._one_by_one(database, wanted, ids)]
            size = FIRST_BUILDS // _BUILDS
        return ids, changes, size

    def _one_by_one(
        self, database: Database, wanted: RevisionFilter, ids: Iterable[int]
    ) -> Iterator[RecordedChange]:
        for revision_id in ids:
            query = self._select(database).where(self._id == revision_id)
            try:
                with converting_values:
                    rows = database.connection.execute(query).all()
                    yield from _changes_of(database.codec, rows, wanted)
            except Unreadable as error:
                _log_unreadable(revision_id, error)


def _changes_of(
    codec: BuildCodec, rows: Iterable[Any], wanted: RevisionFilter
) -> list[RecordedChange]:
    """Return the revisions that are meant; raise anything if one of them is malformed."""
    found = []
    for row in rows:
        # {**…}: what is no object would pass for an empty one.
        before, after = (dump_snapshot(codec, {**one}) for one in (row.before, row.after))
        changes, at = changes_between(before, after), to_unix_time(row.at)
        build_id = codec.dump_id(row.build_id)
        revision = Revision(build_id, row.actor, row.reason, changes, row.id, at, row.batch)
        if not wanted.fits(revision) or not _is_of(codec, build_id, wanted):
            continue
        encode(revision.document)  # it may have what JSON cannot represent: NaN, bytes
        found.append(RecordedChange(row.id, revision, row.build_id, before, after, row.next_id))
    return found


def _is_of(codec: BuildCodec, build_id: Any, wanted: RevisionFilter) -> bool:
    return wanted.build_id is None or same(build_id, codec.dump_id(wanted.build_id))


def _log_unreadable(revision_id: int, error: Unreadable) -> None:
    log.warning("revision %r cannot be read: %s", revision_id, error)
