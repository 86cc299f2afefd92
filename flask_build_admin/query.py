"""Find the one build that has an id, as it is or locked against everybody else."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

from sqlalchemy import Select, Update, bindparam, column, false, select, table, update
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session, undefer

from .errors import BuildNotFound, ConfigurationError
from .model import column_of, mapper_of

#: Where a session finds the builds.
Bind: TypeAlias = Engine | Connection

_AUTOCOMMIT = (
    "The connections of the builds commit every statement at once, so nothing could be locked, or"
    " taken back: give the engine another {}."
)


class BuildQuery:
    """The statements that find a build, made once.

    :param model: the host's mapped class.
    :param attribute: of the model, that holds the id.
    :param members: the attributes of the model behind all members.
    """

    def __init__(self, model: type[Any], attribute: str, members: list[str]) -> None:
        #: The id of a build, in a query.
        self.id: Any = getattr(model, attribute)
        self._model = model
        self._members = members
        self._schema = mapper_of(model).primary_key[0].table.schema
        self._write_locks: dict[str, Update | None] = {}

    def find(self, session: Session, bind: Bind, build_id: Any) -> Any:
        """Answer the build as the database has it.

        :raises BuildNotFound: there is none.
        """
        return _one(session, bind, self._select, build_id)

    def lock(self, session: Session, bind: Bind, build_id: Any) -> Any:
        """Answer the build, which nobody else can change until the transaction ends.

        :raises BuildNotFound: there is none.
        :raises ConfigurationError: the database locks no rows, or keeps no lock.
        """
        name = bind.dialect.name
        if name not in self._write_locks:
            write_lock = self._write_lock(bind.dialect)
            _require_transactions(session.connection({"bind": bind}))
            self._write_locks[name] = write_lock
        if (write_lock := self._write_locks[name]) is not None:
            _lock_all(session.connection({"bind": bind}), write_lock, self._schema)
        return _one(session, bind, self._select_locked, build_id)

    @cached_property
    def _select(self) -> Select[Any]:
        return self.every.where(self.id == bindparam("build_id"))

    @cached_property
    def every(self) -> Select[Any]:
        """All builds, each with all that its members show."""
        # populate_existing: the host's auth may have loaded the row before it was locked.
        query = select(self._model).execution_options(populate_existing=True)
        # What is deferred would be read by another statement: without the lock, and on MariaDB as
        # it was when the host's auth began the transaction.
        mapper = mapper_of(self._model)
        columns = [column_of(self._model, name) for name in self._members]
        found = [mapper.get_property_by_column(one) for one in columns if one is not None]
        return query.options(
            *(undefer(getattr(self._model, one.key)) for one in found if one.deferred)
        )

    @cached_property
    def _select_locked(self) -> Select[Any]:
        # OF: an outer join (of an eager relationship, of a subclass) cannot be locked.
        return self._select.with_for_update(of=list(mapper_of(self._model).tables))

    def _write_lock(self, dialect: Dialect) -> Update | None:
        """Make the statement that locks where the locking query does not, if any."""
        if dialect.name == "sqlite":
            # An UPDATE of no row takes the lock, changes nothing and fires no trigger; on a bare
            # table, because one of the mapped table would evaluate the host's onupdate defaults.
            key = mapper_of(self._model).primary_key[0]
            bare = table(key.table.name, column(key.name), schema=key.table.schema)
            return update(bare).values({key.name: bare.c[key.name]}).where(false())
        if "FOR UPDATE" not in str(self._select_locked.compile(dialect=dialect)):
            raise ConfigurationError(
                f"{dialect.name} locks no row by SELECT … FOR UPDATE: two administrators could"
                " overwrite each other. Use SQLite, PostgreSQL, MariaDB or MySQL."
            )
        return None


def _lock_all(connection: Connection, write_lock: Update, schema: str | None) -> None:
    """Let nobody else write to a database of SQLite until the transaction ends.

    :param schema: of a database that is attached to the others; theirs are not locked.
    """
    driver: Any = connection.connection.dbapi_connection
    if getattr(driver, "autocommit", None) is True:
        raise ConfigurationError(_AUTOCOMMIT.format("autocommit than True"))
    # The driver begins no transaction before the first write, so a SELECT would lock nothing. If
    # it has begun one by now, for the host's auth or at the host's word, no other can begin.
    if schema or getattr(driver, "in_transaction", True):
        connection.execute(write_lock)
        return
    try:
        # Not by SQLAlchemy: its events and its log would cost 3 % of an update.
        driver.execute("BEGIN IMMEDIATE")
    except driver.Error as error:
        raise DBAPIError.instance("BEGIN IMMEDIATE", None, error, driver.Error) from error


def _require_transactions(connection: Connection) -> None:
    of_engine = getattr(connection.dialect, "_on_connect_isolation_level", None)
    if connection.get_execution_options().get("isolation_level", of_engine) == "AUTOCOMMIT":
        raise ConfigurationError(_AUTOCOMMIT.format("isolation_level than AUTOCOMMIT"))


def _one(session: Session, bind: Bind, query: Select[Any], build_id: Any) -> Any:
    try:
        found = session.execute(query, {"build_id": build_id}, bind_arguments={"bind": bind})
    except (DataError, OverflowError) as error:  # the column's type has no such value
        raise BuildNotFound from error
    # unique(): an eagerly loaded collection repeats the row.
    build = found.unique().scalar_one_or_none()
    if build is None:
        raise BuildNotFound
    return build
