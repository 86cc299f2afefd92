"""The unfinished builds, pending or running, in the order of when they were created."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from ..exceptions import BuildNotFound, ConfigurationError
from ..options import require_names
from ..representation import Document
from ..schema import BuildSchema, members_of
from .dberrors import UnknownValue, Unreadable, comparing_values, converting_values
from .filters import BuildFilter, FilterConditions, accepts
from .limits import limited_field
from .locking import BuildQuery, Database
from .mapping import expression_of, member_of
from .portions import FIRST_BUILDS, MAX_PORTION, next_portion

#: The statuses of an unfinished build, in the contract.
UNFINISHED = ("pending", "running")

#: The default number of builds in a list, and the greatest.
MAX_BUILDS = 1000


class QueuePage(NamedTuple):
    """A part of the queue."""

    #: The most builds.
    limit: int
    #: The id of the build below which it begins, as the model has it; None: at the top.
    below: Any = None
    #: How many builds to leave out before it.
    offset: int = 0
    #: Whether the oldest come first.
    oldest: bool = False
    #: How many builds the first statement reads.
    first: int = FIRST_BUILDS


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
        #: The statuses of unfinished builds that the host has, as JSON.
        self.statuses: list[str]
        self.statuses, self._unfinished = _unfinished(model, schema, statuses)
        self.filters: FilterConditions = FilterConditions(model, schema)
        created = members_of(schema).get("created")
        #: The attribute to sort by; None: by the id alone.
        self._attribute = None if created is None else created.attribute
        self._created: Any = self._attribute and expression_of(model, self._attribute)

    def conditions(self, database: Database, wanted: BuildFilter) -> list[ColumnElement[bool]]:
        """Return the conditions that a build is unfinished and meant by the filter.

        :raises InvalidParameter: the builds cannot be filtered so.
        """
        # SQLite takes NULL for a key that is no INTEGER, and no path leads to such a row.
        there = self._query.id.is_not(None)
        return [there, self._unfinished, *self.filters.of(database.codec, wanted)]

    def read(
        self,
        database: Database,
        wanted: BuildFilter,
        page: QueuePage,
        on_unreadable: Callable[[Any, str], None] | None,
        members: Collection[str] = (),
    ) -> Iterator[tuple[Any, Document | None]]:
        """Read unfinished builds in the order of when they were created; see ``BuildStore.queue``.

        Their ids and their order are those of one moment, whatever happens while they are read.

        :returns: the id of each, as it is dumped, and its document; None: it cannot be read, or the
            filter does not fit it any more.
        :raises BuildNotFound: there is no build ``below``.
        :raises ConfigurationError: the column or the database knows no such status.
        """
        conditions = self.conditions(database, wanted)
        ids = self.ids(database, wanted, page)
        size = page.first
        needed = dict.fromkeys(["id", *members]) if members else ()
        while ids:
            portion, ids = ids[:size], ids[size:]
            documents, rows = self._query.find_all(
                database, portion, conditions, on_unreadable, needed
            )
            size = next_portion(rows, MAX_PORTION)
            for build_id in portion:
                document = documents.pop(build_id, None)
                dumped = database.codec.dump_id(build_id) if document is None else document["id"]
                yield dumped, document

    def ids(self, database: Database, wanted: BuildFilter, page: QueuePage) -> Sequence[Any]:
        """Return the ids of the builds of a page, as the database has them.

        :raises BuildNotFound: there is no build ``below``.
        """
        query = select(self._query.id).where(*self.conditions(database, wanted))
        below, values = page.below, {"limit": page.limit, "offset": page.offset}
        if below is not None:
            query, values["below"] = query.where(self._beyond(page.oldest)), below
        directions = [self._query.id] if self._created is None else [self._created, self._query.id]
        order = [one.asc() if page.oldest else one.desc() for one in directions]
        nullable = len(order) > 1 and getattr(self._created, "nullable", True)
        if nullable and database.bind.dialect.name == "postgresql":
            # A NULL is older than any other, as 0 is, and as the other databases sort it.
            order[0] = order[0].nulls_first() if page.oldest else order[0].nulls_last()
        query = query.order_by(*order).limit(bindparam("limit", type_=Integer))
        query = query.offset(bindparam("offset", type_=Integer))
        try:
            with comparing_values:
                ids = database.session.scalars(query, values).all()
                if not ids and below is not None and not self._exists(database, below):
                    raise BuildNotFound
        except UnknownValue as error:
            if wanted.members:
                return []
            if below is not None:
                raise BuildNotFound from error
            raise ConfigurationError(
                f"The database does not know each of the statuses {', '.join(self.statuses)}: pass"
                " queue_statuses=, those that it knows."
            ) from error
        return ids

    def count(
        self, database: Database, members: Sequence[str], most: int
    ) -> dict[str, list[tuple[Any, int]]]:
        """Count the builds by each of some members: the most frequent values, as they are dumped.

        A value that cannot be read hides no others: then the last member is left out.
        """
        try:
            with converting_values:
                return self._count(database, members, most)
        except Unreadable:
            return self._count(database, members[:-1], most)

    def _count(
        self, database: Database, members: Sequence[str], most: int
    ) -> dict[str, list[tuple[Any, int]]]:
        found = [database.codec.members[key] for key in members]
        columns = [getattr(self._model, one.attribute) for one in found]
        query = select(*columns, func.count()).where(*self.conditions(database, BuildFilter()))
        rows = database.session.execute(query.group_by(*columns)).all() if columns else ()
        counts = {}
        for at, member in enumerate(found):
            # There may be a host for each build: only the values that are asked for are dumped.
            values: Counter[Any] = Counter()
            for row in rows:
                values[row[at]] += row[-1]
            counts[member.key] = [
                (member.field.serialize(member.name, {member.attribute: value}), count)
                for value, count in values.most_common(most)
            ]
        return counts

    def _exists(self, database: Database, build_id: Any) -> bool:
        found = select(self._query.id).where(self._query.id == build_id)
        return database.session.scalar(found) is not None

    def _beyond(self, oldest: bool) -> ColumnElement[bool]:
        """Return the condition that a build stands below another, which is there."""
        start: Any = bindparam("below")
        tie = self._query.id > start if oldest else self._query.id < start
        if self._created is None:
            return tie  # type: ignore[no-any-return]
        # Under another name, because the expression of a hybrid may refer to the build.
        other: Any = aliased(self._model, flat=True)
        created, found = getattr(other, str(self._attribute)), getattr(other, self._id) == start
        that = select(created).where(found).scalar_subquery()
        there = select(getattr(other, self._id)).where(found).exists()
        tied = and_(self._created == that, tie)
        unknown = self._created.is_(None)
        if oldest:
            known = and_(self._created.is_not(None), there, that.is_(None))
            return or_(self._created > that, tied, known, and_(unknown, there, that.is_(None), tie))
        return or_(self._created < that, tied, and_(unknown, there, or_(that.is_not(None), tie)))


def _unfinished(
    model: type[Any], schema: BuildSchema, statuses: Collection[str]
) -> tuple[list[str], ColumnElement[bool]]:
    """Return the statuses that the host has, and the condition that a build has one of them."""
    member = member_of(schema, "status")
    status = expression_of(model, member.attribute)
    if status is None:
        raise ConfigurationError(
            f"{model.__name__}.{member.attribute} is no column and no hybrid with an expression, so"
            " no query can filter by it: give the member 'status' the attribute of one, or pass"
            " queue_statuses=()."
        )
    # Only what the column has: PostgreSQL compares an enum with no other word.
    field = limited_field(model, member)
    accepted = [name for name in statuses if accepts(field, name)]
    unknown = [name for name in statuses if name not in accepted]
    if unknown and (statuses is not UNFINISHED or not accepted):
        raise ConfigurationError(
            f"queue_statuses has {unknown[0]!r}, which {type(schema).__name__}.status does not"
            " take: name the statuses as the JSON has them, or pass queue_statuses=()."
        )
    values = [field.deserialize(name) for name in accepted]
    named = status.in_([value for value in values if value is not None])
    return accepted, or_(named, status.is_(None)) if None in values else named
