"""The unfinished builds, pending or running, the newest first."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import cached_property
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    false,
    or_,
    select,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import aliased
from sqlalchemy.orm.attributes import instance_dict

from ..exceptions import BuildNotFound, ConfigurationError, InvalidParameter, require_names
from ..representation import Document
from ..schema import AnyField, BuildSchema, Member, members_of
from .dberrors import Unreadable, converting_values, is_unknown_value
from .limits import add_limits
from .locking import BuildQuery, Database
from .mapping import column_of, expression_of, member_of
from .portions import FIRST_BUILDS, MAX_PORTION, next_portion
from .transactions import forget_changes, log

#: The statuses of an unfinished build, in the contract.
UNFINISHED = ("pending", "running")

#: The default number of builds in a list, and the greatest.
DEFAULT_BUILDS, MAX_BUILDS = 100, 1000


class BuildQueue:
    """Find the unfinished builds, by statements on the host's columns and hybrids.

    The newest are those created last; where no query can sort by ``created``, those with the
    greatest id.

    :param statuses: of unfinished builds, as the member ``status`` has them; by default those of
        the contract that the host has.
    :raises ConfigurationError: no build can have one of the statuses, or no query can filter by the
        status.
    """

    def __init__(
        self,
        model: type[Any],
        schema: BuildSchema,
        query: BuildQuery,
        statuses: Collection[str] = UNFINISHED,
    ) -> None:
        require_names("queue_statuses", statuses)
        self._model, self._id, self._query = model, member_of(schema, "id").attribute, query
        self._unfinished = _unfinished(model, schema, statuses)
        self._statuses = statuses
        created = members_of(schema).get("created")
        #: The attribute to sort by; None: by the id alone.
        self._attribute = None if created is None else created.attribute
        self._created: Any = self._attribute and expression_of(model, self._attribute)
        self._in_seconds = created is not None and _accepts(created.field, 1)

    def newest(
        self,
        database: Database,
        limit: int,
        after: int | None,
        before: int | None,
        below: Any,
        on_unreadable: Callable[[Any, str], None] | None,
    ) -> Iterator[tuple[Any, Document | None]]:
        """Read the unfinished builds, the last created first; see ``BuildStore.queue``.

        Their ids and their order are those of one moment, whatever happens while they are read.

        :returns: the id of each, as it is dumped, and its document; None: it cannot be read, or is
            no longer unfinished.
        :raises BuildNotFound: there is no build ``below``.
        :raises ConfigurationError: the column or the database knows no such status.
        """
        # SQLite takes NULL for a key that is no INTEGER, and no path leads to such a row.
        there = self._query.id.is_not(None)
        wanted = [there, self._unfinished, *self._bounds(database.codec.members, after, before)]
        ids = self._ids(database, wanted, limit, below)
        # The id as the database has it: a hybrid may be another value in Python.
        query = self._query.every.add_columns(self._query.id)
        query = query.where(self._query.id.in_(bindparam("ids", expanding=True)), *wanted)
        size = FIRST_BUILDS
        while ids:
            portion, ids = ids[:size], ids[size:]
            documents, size = self._read(database, query, portion, on_unreadable)
            for build_id in portion:
                document = documents.pop(build_id, None)
                dumped = database.codec.dump_id(build_id) if document is None else document["id"]
                yield dumped, document

    def _ids(
        self, database: Database, wanted: Sequence[ColumnElement[bool]], limit: int, below: Any
    ) -> Sequence[Any]:
        query = select(self._query.id).where(*wanted)
        values = {"limit": limit}
        if below is not None:
            query, values["below"] = query.where(self._below), below
        order = [self._query.id.desc()]
        if self._created is not None:
            newest = self._created.desc()
            nullable = getattr(self._created, "nullable", True)
            if nullable and database.bind.dialect.name == "postgresql":
                newest = newest.nulls_last()  # as the other databases do
            order.insert(0, newest)
        query = query.order_by(*order).limit(bindparam("limit", type_=Integer))
        try:
            ids = database.session.scalars(query, values).all()
            if not ids and below is not None and not self._exists(database, below):
                raise BuildNotFound
        except (StatementError, OverflowError, UnicodeEncodeError) as error:
            if not is_unknown_value(error):
                raise
            if below is not None:
                raise BuildNotFound from error
            raise ConfigurationError(
                f"The database does not know each of the statuses {', '.join(self._statuses)}: pass"
                " queue_statuses=, those that it knows."
            ) from error
        return ids

    def _read(
        self,
        database: Database,
        query: Select[Any],
        ids: Sequence[Any],
        on_unreadable: Callable[[Any, str], None] | None,
    ) -> tuple[dict[Any, Document], int]:
        """Return some builds by their ids, and how many to read next.

        What getters have written while a build was dumped is forgotten before the next statement,
        which would flush it.
        """
        session, _, codec = database
        try:
            with converting_values:
                found = session.execute(query, {"ids": ids}).unique().all()
                documents = {build_id: codec.dump(build) for build, build_id in found}
            rows: list[Any] = [instance_dict(build) for build, _ in found]
        except Unreadable:
            # One by one: a build that cannot be read hides no other.
            documents = dict(self._one_by_one(database, ids, on_unreadable))
            rows = [*documents.values()]
        forget_changes(session)
        return documents, next_portion(rows, MAX_PORTION)

    def _one_by_one(
        self,
        database: Database,
        ids: Iterable[Any],
        on_unreadable: Callable[[Any, str], None] | None,
    ) -> Iterator[tuple[Any, Document]]:
        for build_id in ids:
            forget_changes(database.session)
            try:
                # BuildNotFound: somebody has just deleted it.
                with suppress(BuildNotFound), converting_values:
                    yield build_id, self._query.find(database, build_id)[1]
            except Unreadable as error:
                log.warning("build %r cannot be read: %s", build_id, error)
                if on_unreadable is not None:
                    on_unreadable(build_id, str(error))

    def _exists(self, database: Database, build_id: Any) -> bool:
        found = select(self._query.id).where(self._query.id == build_id)
        return database.session.scalar(found) is not None

    def _bounds(
        self, members: Mapping[str, Member], after: int | None, before: int | None
    ) -> Iterator[ColumnElement[bool]]:
        given = {"after": after, "before": before}
        if asked := [name for name, second in given.items() if second is not None]:
            if self._created is None or not self._in_seconds:
                problem = ["these builds cannot be listed by when they were created"]
                raise InvalidParameter(dict.fromkeys(asked, problem))
            created = members["created"].field
        # In whole seconds, as they are dumped: the column may have fractions. A second that the
        # column cannot hold is later than any that it does.
        if after is not None:
            later = _accepts(created, after + 1)
            yield self._created >= created.deserialize(after + 1) if later else false()
        if before is not None and _accepts(created, before):
            # A NULL is dumped as 0.
            yield or_(self._created < created.deserialize(before), self._created.is_(None))

    @cached_property
    def _below(self) -> ColumnElement[bool]:
        """The condition that a build stands below another, which is there."""
        start: Any = bindparam("below")
        lesser: ColumnElement[bool] = self._query.id < start
        if self._created is None:
            return lesser
        # Under another name, because the expression of a hybrid may refer to the build.
        other: Any = aliased(self._model, flat=True)
        created, found = getattr(other, str(self._attribute)), getattr(other, self._id) == start
        that = select(created).where(found).scalar_subquery()
        there = select(getattr(other, self._id)).where(found).exists()
        tied = and_(self._created == that, lesser)
        unknown = and_(self._created.is_(None), there, or_(that.is_not(None), lesser))
        return or_(self._created < that, tied, unknown)


def _unfinished(
    model: type[Any], schema: BuildSchema, statuses: Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that a build has one of the statuses."""
    member = member_of(schema, "status")
    status = expression_of(model, member.attribute)
    if status is None:
        raise ConfigurationError(
            f"{model.__name__}.{member.attribute} is no column and no hybrid with an expression, so"
            " no query can filter by it: give the member 'status' the attribute of one, or pass"
            " queue_statuses=()."
        )
    # Only what the column has: PostgreSQL compares an enum with no other word.
    field = copy(member.field)
    add_limits(field, column_of(model, member.attribute), DefaultDialect())
    accepted = [name for name in statuses if _accepts(field, name)]
    unknown = [name for name in statuses if name not in accepted]
    if unknown and (statuses is not UNFINISHED or not accepted):
        raise ConfigurationError(
            f"queue_statuses has {unknown[0]!r}, which {type(schema).__name__}.status does not"
            " take: name the statuses as the JSON has them, or pass queue_statuses=()."
        )
    values = [field.deserialize(name) for name in accepted]
    named = status.in_([value for value in values if value is not None])
    return or_(named, status.is_(None)) if None in values else named


def _accepts(field: AnyField, value: Any) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return False
    return True
