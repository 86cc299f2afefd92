"""The builds that wait or run, the newest first: where an administrator looks for the stuck one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from marshmallow import ValidationError, fields
from sqlalchemy import Column, ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from .body import Document
from .codec import BuildCodec
from .errors import ConfigurationError, require_names
from .model import column_of, field_of
from .query import Bind, BuildQuery
from .schema import BuildSchema

#: The statuses of the contract that a build has until something has come of it.
UNFINISHED = ("pending", "running")

#: Builds that are listed where no limit is given, and at the most.
QUEUE, LONGEST_QUEUE = 100, 1000


class BuildQueue:
    """Find the builds that wait or run, by one statement on the host's columns.

    :param model: the host's mapped class.
    :param schema: of the builds; its ``created`` is in UNIX epoch seconds.
    :param query: that finds builds.
    :param statuses: of the builds that wait or run, as the member ``status`` has them; those of the
        contract as far as the schema knows them.
    :raises ConfigurationError: a status is none that a build can have, or no query can ask for the
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
        if not _takes(created, 1):
            raise ConfigurationError(
                f"{type(schema).__name__}.created is not in seconds, so no queue can be asked for"
                " by it: make it a WholeNumber or a UnixTime, or pass queue_statuses=()."
            )
        self._values = []
        for name in statuses:
            if _takes(status, name):
                self._values.append(status.deserialize(name))
            elif statuses is not UNFINISHED:
                raise ConfigurationError(
                    f"queue_statuses has {name!r}, which {type(schema).__name__}.status does not"
                    " take: name the statuses as the JSON has them."
                )

    def newest(
        self,
        session: Session,
        bind: Bind,
        codec: BuildCodec,
        limit: int,
        *,
        after: int | None = None,
        before: int | None = None,
        below: Any = None,
    ) -> list[Document]:
        """Answer the builds that wait or run, those first that were created last.

        :param limit: how many at the most.
        :param after: the UNIX epoch second that theirs is later than.
        :param before: the UNIX epoch second that theirs is earlier than.
        :param below: the id, as the model has it, of a build that they come after in this order.
        """
        _, created = field_of(codec.schema, "created")
        query = self._query.every.where(
            self._status.in_(self._values),
            *self._bounds(created, after, before),
            *(() if below is None else [self._below(below)]),
        )
        newest = self._created.desc()
        if self._created.nullable and bind.dialect.name == "postgresql":
            newest = newest.nulls_last()  # where the others have them
        query = query.order_by(newest, self._query.id.desc()).limit(limit)
        found = session.execute(query, bind_arguments={"bind": bind})
        return [codec.show(build) for build in found.unique().scalars()]

    def _bounds(
        self, created: fields.Field[Any], after: int | None, before: int | None
    ) -> Iterator[ColumnElement[bool]]:
        # In whole seconds, as they are shown: the column may have fractions of them. A second that
        # the column cannot hold is later than any that it does.
        if after is not None:
            later = _takes(created, after + 1)
            yield self._created >= created.deserialize(after + 1) if later else false()
        if before is not None and _takes(created, before):
            # A NULL is shown as 0.
            yield or_(self._created < created.deserialize(before), self._created.is_(None))

    def _below(self, build_id: Any) -> ColumnElement[bool]:
        that = select(self._created).where(self._query.id == build_id).scalar_subquery()
        lesser = self._query.id < build_id
        tied = and_(self._created == that, lesser)
        unknown = and_(self._created.is_(None), or_(that.is_not(None), lesser))
        return or_(self._created < that, tied, unknown)


def _column(
    model: type[Any], schema: BuildSchema, member: str
) -> tuple[Column[Any], fields.Field[Any]]:
    attribute, field = field_of(schema, member)
    column = column_of(model, attribute)
    if column is None:
        raise ConfigurationError(
            f"{model.__name__}.{attribute} is no column, so no queue can be asked for by it: give"
            f" the member {member!r} the attribute of one, or pass queue_statuses=()."
        )
    return column, field


def _takes(field: fields.Field[Any], value: Any) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return False
    return True
