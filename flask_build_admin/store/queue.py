"""The unfinished builds, pending or running, the newest first."""

from collections.abc import Collection, Iterator
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import Column, ColumnElement, and_, false, or_, select

from ..exceptions import ConfigurationError, require_names
from ..representation import Document
from ..schema import AnyField, BuildSchema
from .locking import BuildQuery, Database
from .mapping import column_of, member_of

#: The statuses of an unfinished build, in the contract.
UNFINISHED = ("pending", "running")

#: The default number of builds in a list, and the greatest.
DEFAULT_BUILDS, MAX_BUILDS = 100, 1000


class BuildQueue:
    """Find the unfinished builds, by one statement on the host's columns.

    :param statuses: of unfinished builds, as the member ``status`` has them; by default those of
        the contract that the schema accepts.
    :raises ConfigurationError: no build can have one of the statuses, or no query can filter by the
        status or the time.
    """

    def __init__(
        self,
        model: type[Any],
        schema: BuildSchema,
        query: BuildQuery,
        statuses: Collection[str] = UNFINISHED,
    ) -> None:
        require_names("queue_statuses", statuses)
        self._status, status = _column(model, schema, "status")
        self._created, created = _column(model, schema, "created")
        self._query = query
        if not _accepts(created, 1):
            raise ConfigurationError(
                f"{type(schema).__name__}.created is not in seconds, so no queue can be asked for"
                " by it: make it a WholeNumber or a UnixTime, or pass queue_statuses=()."
            )
        accepted = [name for name in statuses if _accepts(status, name)]
        if statuses is not UNFINISHED and (unknown := [*{*statuses} - {*accepted}]):
            raise ConfigurationError(
                f"queue_statuses has {unknown[0]!r}, which {type(schema).__name__}.status does not"
                " take: name the statuses as the JSON has them."
            )
        self._values = [status.deserialize(name) for name in accepted]

    def newest(
        self, database: Database, limit: int, after: int | None, before: int | None, below: Any
    ) -> list[Document]:
        """Return the unfinished builds, the last created first; see ``BuildStore.queue``."""
        session, bind, codec = database
        created = codec.members["created"].field
        query = self._query.every.where(
            self._status.in_(self._values), *self._bounds(created, after, before)
        )
        if below is not None:
            query = query.where(self._below(below))
        newest = self._created.desc()
        if self._created.nullable and bind.dialect.name == "postgresql":
            newest = newest.nulls_last()  # as the other databases do
        query = query.order_by(newest, self._query.id.desc()).limit(limit)
        found = session.execute(query, bind_arguments={"bind": bind})
        return [codec.dump(build) for build in found.unique().scalars()]

    def _bounds(
        self, created: AnyField, after: int | None, before: int | None
    ) -> Iterator[ColumnElement[bool]]:
        # In whole seconds, as they are dumped: the column may have fractions. A second that the
        # column cannot hold is later than any that it does.
        if after is not None:
            later = _accepts(created, after + 1)
            yield self._created >= created.deserialize(after + 1) if later else false()
        if before is not None and _accepts(created, before):
            # A NULL is dumped as 0.
            yield or_(self._created < created.deserialize(before), self._created.is_(None))

    def _below(self, build_id: Any) -> ColumnElement[bool]:
        that = select(self._created).where(self._query.id == build_id).scalar_subquery()
        lesser = self._query.id < build_id
        tied = and_(self._created == that, lesser)
        unknown = and_(self._created.is_(None), or_(that.is_not(None), lesser))
        return or_(self._created < that, tied, unknown)


def _column(model: type[Any], schema: BuildSchema, key: str) -> tuple[Column[Any], AnyField]:
    member = member_of(schema, key)
    column = column_of(model, member.attribute)
    if column is None:
        raise ConfigurationError(
            f"{model.__name__}.{member.attribute} is no column, so no queue can be asked for by it:"
            f" give the member {key!r} the attribute of one, or pass queue_statuses=()."
        )
    return column, member.field


def _accepts(field: AnyField, value: Any) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return False
    return True
