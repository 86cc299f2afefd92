"""The history: every change of a build is kept as a revision, in the transaction of the change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, FromClause, insert, literal, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from .body import Document
from .change import changes, same
from .codec import BuildCodec
from .errors import ConfigurationError, RevisionNotFound
from .fields import epoch
from .model import column_of, mapper_of
from .query import Bind
from .record import shown
from .revision import Revision

_ATTRIBUTES = ("id", "build_id", "at", "actor", "reason", "before", "after")

#: The largest id that a revision can have.
LAST = 2**63 - 1

#: Revisions that are listed where no limit is given.
PAGE = 50


class BuildHistory:
    """The revisions of all builds, in the host's table of them.

    Its methods take the connection on which the builds are changed: so a change and its revision
    are in one database, and in one transaction.

    :param model: the host's mapped class, made with ``BuildRevisionMixin``.
    :param id_column: of the builds, where their id is a column.
    :raises ConfigurationError: it is no such class, or cannot hold the ids of the builds.
    """

    def __init__(self, model: type[Any], id_column: Column[Any] | None) -> None:
        hint = "a model of yours that is made with BuildRevisionMixin, history=BuildRevision"
        self._mapper = mapper_of(model, "history", hint)
        self._name = model.__name__
        self._columns: dict[str, Column[Any]] = {}
        for name in _ATTRIBUTES:
            column = column_of(model, name)
            if column is None:
                raise ConfigurationError(
                    f"{model.__name__} has no column {name!r}: make it with BuildRevisionMixin."
                )
            self._columns[name] = column
        self._aware = getattr(self._columns["at"].type, "timezone", False)
        self._build_id = self._columns["build_id"]
        self._id = self._columns["id"]
        _check_ids(model.__name__, self._build_id, id_column)
        _check_others(model.__name__, self._id.table, {*self._columns.values()})
        self._insert = insert(self._id.table)
        self._select = select(*(column.label(name) for name, column in self._columns.items()))

    def check_bind(self, session: Session, bind: Bind) -> None:
        """See that the host, too, looks for the revisions where the builds are.

        :raises ConfigurationError: a change and its revision could not be committed together.
        """
        if session.get_bind(mapper=self._mapper) is not bind:
            raise ConfigurationError(
                f"{self._name} is in another database than the builds, and they could not be"
                " committed together: give it the bind of the builds."
            )

    def add(
        self,
        connection: Connection,
        build_id: Any,
        change: Revision,
        before: Document,
        after: Document,
    ) -> Revision:
        """Write a revision, for the caller to commit.

        :param build_id: as the model of the builds has it.
        :param change: says who changes the build, and why.
        :param before: the recorded document of the build before the change.
        :param after: … and after it.
        :returns: the change with the ``id`` and the ``at`` of its revision.
        """
        at = datetime.now(UTC).replace(microsecond=0)  # or MariaDB would round it, up to the next
        values = {
            "build_id": build_id,
            "at": at if self._aware else at.replace(tzinfo=None),
            "actor": change.actor,
            "reason": change.reason,
            "before": before,
            "after": after,
        }
        row = {self._columns[name].key: value for name, value in values.items()}
        written = connection.execute(self._insert, row)
        revision_id, *_ = written.inserted_primary_key or [None]
        return change._replace(id=revision_id, at=epoch(at))

    def find(
        self, connection: Connection, codec: BuildCodec, build_id: Any, revision_id: int
    ) -> tuple[Document, Document]:
        """Answer the recorded documents before and after the change of one revision.

        :param build_id: as the model of the builds has it.
        :raises RevisionNotFound: the build has no such revision.
        """
        if not 1 <= revision_id <= LAST:
            raise RevisionNotFound
        wanted = literal(revision_id, BigInteger)  # the column may be narrower
        query = self._select.where(self._build_id == build_id, self._id == wanted)
        found = connection.execute(query).one_or_none()
        if found is None or not _same_build(codec, found.build_id, build_id):
            raise RevisionNotFound
        return found.before, found.after

    def newest(
        self,
        connection: Connection,
        codec: BuildCodec,
        build_id: Any,
        limit: int,
        before: int | None,
    ) -> list[Revision]:
        """Answer the revisions of a build, the newest first.

        :param build_id: as the model of the builds has it.
        :param limit: how many at the most.
        :param before: the id that theirs must be less than.
        """
        query = self._select.where(self._build_id == build_id).order_by(self._id.desc())
        if before is not None:
            query = query.where(self._id < literal(before, BigInteger))
        return [
            Revision(
                build_id=codec.show_id(row.build_id),
                actor=row.actor,
                reason=row.reason,
                changes=changes(shown(codec, row.before), shown(codec, row.after)),
                id=row.id,
                at=epoch(row.at),
            )
            for row in connection.execute(query.limit(limit))
            if _same_build(codec, row.build_id, build_id)
        ]


def _same_build(codec: BuildCodec, one: Any, other: Any) -> bool:
    # The table of the revisions may find "abc" for "ABC" where that of the builds does not.
    return same(codec.show_id(one), codec.show_id(other))


def _check_ids(name: str, own: Column[Any], builds: Column[Any] | None) -> None:
    holds, needed = _held(own), _held(builds)
    if holds is not needed and object not in (holds, needed):
        raise ConfigurationError(
            f"{name}.build_id holds {holds.__name__}, but the id of a build is {needed.__name__}:"
            " declare it anew, of the type of that id, with index=True."
        )


def _check_others(name: str, table: FromClause, own: set[Column[Any]]) -> None:
    for column in table.columns:
        given = column.nullable or column.default or column.server_default
        if column not in own and not given:
            raise ConfigurationError(
                f"{name}.{column.key} needs a value that nobody gives it: let it be nullable, or"
                " give it a default."
            )


def _held(column: Column[Any] | None) -> type[Any]:
    """Answer the type of what a column holds; object, where nothing says."""
    try:
        return object if column is None else column.type.python_type
    except NotImplementedError:
        return object
