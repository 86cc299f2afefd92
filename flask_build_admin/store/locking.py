"""Find the one build that has an id, and lock it on every database."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from functools import cached_property, partial
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Update,
    bindparam,
    cast,
    column,
    event,
    false,
    inspect,
    select,
    table,
    update,
)
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import (
    FromStatement,
    ORMExecuteState,
    Session,
    defer,
    lazyload,
    load_only,
    undefer,
)
from sqlalchemy.orm.attributes import instance_dict, set_committed_value

from ..exceptions import BuildNotFound, ConfigurationError
from ..representation import Document, same
from ..schema import BuildSchema, members_of
from .codec import BuildCodec
from .dberrors import UnknownValue, Unreadable, comparing_values, converting_values
from .mapping import MYSQL, column_of, expression_of, mapper_of, member_of
from .servers import prepare_nothing_behind_poolers, require_causal_reads
from .transactions import FlushRouting, begin, forget_changes, log

_AUTOCOMMIT = (
    "The connections of the builds commit every statement at once, so nothing can be locked or"
    " rolled back: give the engine another isolation_level than AUTOCOMMIT, and the driver no"
    " autocommit, nor isolation_level=None on SQLite."
)

#: The execution option of the statements that lock builds.
_LOCKED = "build_admin_locked"


class Database(NamedTuple):
    """Where the current session finds the builds."""

    session: Session
    bind: Engine | Connection
    codec: BuildCodec

    @property
    def connection(self) -> Connection:
        """The connection of the session on which the builds are read and changed."""
        return self.session.connection({"bind": self.bind})

    def begin(self) -> None:
        """Begin a transaction if there is none."""
        begin(self.session)
        if self.bind.dialect.driver == "psycopg":
            prepare_nothing_behind_poolers(self.connection)


class BuildQuery:
    """The statements that find and lock a build, made once."""

    def __init__(self, model: type[Any], schema: BuildSchema) -> None:
        #: The id of a build, in a query.
        self.id: Any = getattr(model, member_of(schema, "id").attribute)
        self._model = model
        self._mapper = mapper_of(model)
        self._attributes = [member.attribute for member in members_of(schema).values()]
        self._locking_dialects: set[str] = set()

    def find(self, database: Database, build_id: Any) -> tuple[Any, Document]:
        """Return the build with this id, and its document.

        :param build_id: as the model has it.
        :raises BuildNotFound: there is none.
        """
        database.begin()
        with database.session.no_autoflush:  # a getter that writes is no change
            return self._one(database, self._select, build_id)

    def find_all(
        self,
        database: Database,
        build_ids: Sequence[Any],
        conditions: Sequence[ColumnElement[bool]] = (),
        on_unreadable: Callable[[Any, str], None] | None = None,
        members: Collection[str] = (),
    ) -> tuple[dict[Any, Document], list[Any]]:
        """Return the documents of several builds by their ids, and the rows in memory.

        What getters have written while a build was dumped is forgotten before the next statement,
        which would flush it.

        :param build_ids: as the database has them; a build that is not found is missing.
        :param on_unreadable: called with the id of a build that cannot be read, and what is wrong.
        :param members: what is read at least; nothing: all members.
        """
        session, _, codec = database
        query, dump = self._select_all.where(*conditions), codec.dump
        if members and not codec.has_hooks:
            needless = codec.properties.keys() - {*members}
            columns = (getattr(self._model, codec.properties[key]) for key in sorted(needless))
            query = query.options(*(defer(column) for column in columns))
            dump = partial(codec.dump_members, keys=members)
        try:
            with converting_values:
                found = session.execute(query, {"ids": build_ids}).unique().all()
                documents = {build_id: dump(build) for build, build_id in found}
            rows: list[Any] = [instance_dict(build) for build, _ in found]
        except Unreadable:
            # One by one: a build that cannot be read hides no other.
            documents = dict(self._one_by_one(database, build_ids, on_unreadable))
            rows = [*documents.values()]
        forget_changes(session)
        return documents, rows

    def _one_by_one(
        self,
        database: Database,
        build_ids: Iterable[Any],
        on_unreadable: Callable[[Any, str], None] | None,
    ) -> Iterator[tuple[Any, Document]]:
        for build_id in build_ids:
            forget_changes(database.session)
            try:
                # BuildNotFound: somebody has just deleted it.
                with suppress(BuildNotFound), converting_values:
                    yield build_id, self.find(database, build_id)[1]
            except Unreadable as error:
                log.warning("build %r cannot be read: %s", build_id, error)
                if on_unreadable is not None:
                    on_unreadable(build_id, str(error))

    def lock(self, database: Database, build_id: Any) -> tuple[Any, Document]:
        """Return the same, locked: nobody else can change it until the transaction ends.

        :raises ConfigurationError: the database locks no rows, or commits every statement.
        """
        self._begin_locking(database)
        with self._under_lock(database):
            return self._one(database, self._select_locked, build_id)

    def lock_all(
        self,
        database: Database,
        build_ids: Sequence[Any],
        conditions: Sequence[ColumnElement[bool]],
    ) -> dict[Any, Any]:
        """Return several builds by their ids, locked; those that are not found are missing.

        :raises Unreadable: one of several cannot be loaded.
        """
        self._begin_locking(database)
        session, query = database.session, self._select_all_locked.where(*conditions)
        with self._under_lock(database):
            try:
                with converting_values:
                    found = session.execute(query, {"ids": build_ids}).unique().all()
            except Unreadable:
                if len(build_ids) > 1:
                    raise
                only_ids = query.with_only_columns(self.id)
                ids = session.scalars(only_ids, {"ids": build_ids}).all()
                return {one: self._one(database, self._select_locked, one)[0] for one in ids}
        return {build_id: build for build, build_id in found}

    def _begin_locking(self, database: Database) -> None:
        database.begin()
        if self.reads_more:
            # The host's auth may hold what a member is read from, as it was before the lock.
            database.session.expire_all()
        if database.bind.dialect.name == "sqlite":
            self._lock_sqlite(database.connection)
        else:
            self._require_row_locks(database.bind.dialect)
            connection = database.connection
            _require_transactions(connection)
            require_causal_reads(connection)

    def _under_lock(self, database: Database) -> FlushRouting:
        """Read where the session flushes, and what is stored now."""
        if not self.reads_more or database.bind.dialect.name == "sqlite":
            return FlushRouting(database.session)
        of_mysql = database.bind.dialect.name in MYSQL
        return _LockingReads(database.session, _lock_all if of_mysql else self._lock_related)

    @cached_property
    def reads_more(self) -> bool:
        """Whether not all of a build comes with its row: some may be read when it is asked for."""
        mapper = self._mapper
        return bool(
            mapper.relationships
            or len(mapper.tables) > 1
            or len([*mapper.self_and_descendants]) > 1
            or any(one.deferred for one in mapper.column_attrs)
            or any(expression_of(self._model, name) is None for name in self._attributes)
        )

    def _lock_related(self, state: ORMExecuteState) -> None:
        """Lock what the ORM reads of a build in other tables.

        PostgreSQL's later statements see what is stored by then, or fail, but do not keep it so.
        """
        mapper = state.bind_mapper
        if mapper is None or mapper.isa(self._mapper):
            return
        if state.is_relationship_load or (state.is_column_load and len(mapper.tables) == 1):
            query: Any = state.statement
            state.statement = query.with_for_update(read=True, of=[*mapper.tables])

    def dump_locked(self, database: Database, build: Any, build_id: Any) -> Document:
        """Return the document of a locked build, whose attributes may have expired."""
        with self._under_lock(database):
            return self.dump(database, build, build_id)

    def dump(self, database: Database, build: Any, build_id: Any) -> Document:
        """Return the document of a build, whose attributes may have expired."""
        try:
            with converting_values:
                return database.codec.dump(build)
        except Unreadable:
            if inspect(build).unloaded:
                build = self._read_raw(database, build_id)
        return database.codec.dump(build)  # or else the host's own code has failed, and fails again

    @cached_property
    def every(self) -> Select[Any]:
        """All builds, each with everything that its members need."""
        # populate_existing: the host's auth may have loaded the row before it was locked.
        query = select(self._model).execution_options(populate_existing=True)
        # A deferred column would be read by another statement: without the lock, and on MariaDB as
        # it was when the host's auth began the transaction.
        columns = [column_of(self._model, name) for name in self._attributes]
        found = [self._mapper.get_property_by_column(one) for one in columns if one is not None]
        return query.options(
            *(undefer(getattr(self._model, one.key)) for one in found if one.deferred)
        )

    @cached_property
    def _select(self) -> Select[Any]:
        return self.every.where(self.id == bindparam("build_id"))

    @cached_property
    def _select_locked(self) -> Select[Any]:
        return self._locked(self._select)

    @cached_property
    def _select_all(self) -> Select[Any]:
        # The id as the database has it: a hybrid may be another value in Python.
        query = self.every.add_columns(self.id)
        return query.where(self.id.in_(bindparam("ids", expanding=True)))

    @cached_property
    def _select_all_locked(self) -> Select[Any]:
        return self._locked(self._select_all)

    def _locked(self, query: Select[Any]) -> Select[Any]:
        # lazyload: what is joined is read as it was before the wait for the lock. OF: an outer join
        # of a subclass cannot be locked.
        locked = query.options(lazyload("*")).with_for_update(of=list(self._mapper.tables))
        return locked.execution_options(**{_LOCKED: True})

    @cached_property
    def _update_no_row(self) -> Update:
        # On a bare table, because the mapped one would evaluate the host's onupdate defaults.
        key = self._mapper.primary_key[0]
        bare = table(key.table.name, column(key.name), schema=key.table.schema)
        return update(bare).values({key.name: bare.c[key.name]}).where(false())

    def _one(self, database: Database, query: Select[Any], build_id: Any) -> tuple[Any, Document]:
        session, _, codec = database
        try:
            with comparing_values:
                found = session.execute(query, {"build_id": build_id})
        except UnknownValue as error:
            raise BuildNotFound from error
        try:
            with converting_values:
                # unique(): an eagerly loaded collection repeats the row, if only by a listener.
                build = found.unique().scalar_one_or_none()
        except Unreadable:
            build = self._read_raw(database, build_id)
        if build is None:
            raise BuildNotFound
        document = self.dump(database, build, build_id)
        # The database may find "abc" for "ABC".
        if document["id"] != build_id and not same(document["id"], codec.dump_id(build_id)):
            raise BuildNotFound
        return build, document

    def _read_raw(self, database: Database, build_id: Any) -> Any:
        """Return a build that the ORM cannot load: with the text of the values that it cannot.

        Column by column, because any of them may be the one; all of them, because a property may
        read one that is no member. Where the build is locked, each is read as it is now: MariaDB
        would read it as it was when the transaction began.
        """
        session = database.session
        keys = [self._mapper.get_property_by_column(one).key for one in self._mapper.primary_key]
        only_keys = load_only(*(getattr(self._model, key) for key in keys))
        query = select(self._model).where(self.id == build_id).options(lazyload("*"), only_keys)
        # populate_existing: relationships that the host's auth has loaded are no longer known.
        found = session.scalars(query.execution_options(populate_existing=True))
        build = found.unique().one_or_none()
        names = set() if build is None else {one.key for one in self._mapper.column_attrs} - {*keys}
        with _lenient(database.connection):
            for key in names:
                set_committed_value(build, key, self._raw(database, key, build_id))
        return build

    def _raw(self, database: Database, key: str, build_id: Any) -> Any:
        value = getattr(self._model, key)
        query, as_text = (
            select(one).where(self.id == build_id) for one in (value, cast(value, String))
        )
        if database.session._flushing:  # see FlushRouting
            query, as_text = query.with_for_update(), as_text.with_for_update()
        try:
            with converting_values:
                return database.connection.scalars(query).one()
        except Unreadable:
            return database.connection.scalars(as_text).one()

    def _lock_sqlite(self, connection: Connection) -> None:
        """Begin a transaction that nobody else can write in: the driver begins none by a SELECT."""
        driver: Any = connection.connection.dbapi_connection
        begun = driver.in_transaction  # by the host or by its auth: no other can begin within it
        committing = getattr(driver, "autocommit", None) is True  # from Python 3.12 on
        if driver.isolation_level is None:
            # SQLAlchemy takes this for autocommit. With this option it rolls nothing back there.
            committing |= not begun or getattr(
                connection.dialect, "skip_autocommit_rollback", False
            )
        if committing:
            raise ConfigurationError(_AUTOCOMMIT)
        # A table with a schema is in an attached database, and only that one is locked.
        if begun or self._mapper.primary_key[0].table.schema:
            # An UPDATE takes the lock. This one changes nothing and fires no trigger.
            connection.execute(self._update_no_row)
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _require_row_locks(self, dialect: Dialect) -> None:
        if dialect.name in self._locking_dialects:
            return
        if "FOR UPDATE" not in str(self._select_locked.compile(dialect=dialect)):
            raise ConfigurationError(
                f"{dialect.name} locks no row by SELECT … FOR UPDATE: two administrators could"
                " overwrite each other. Use SQLite, PostgreSQL, MariaDB or MySQL."
            )
        self._locking_dialects.add(dialect.name)


class _LockingReads(FlushRouting):
    """Route as a flush, and let further SELECTs of the session lock what they read.

    :param lock: called with each statement of the ORM.
    """

    def __init__(self, session: Session, lock: Callable[[ORMExecuteState], None]) -> None:
        super().__init__(session)
        self._lock = lock

    def __enter__(self) -> None:
        super().__enter__()
        event.listen(self._session, "do_orm_execute", self._lock)

    def __exit__(self, *error: object) -> None:
        event.remove(self._session, "do_orm_execute", self._lock)
        super().__exit__(*error)


def _lock_all(state: ORMExecuteState) -> None:
    """Lock whatever is read on MySQL and MariaDB.

    They show a transaction what was stored when it began, perhaps in the host's auth. Locking reads
    alone see what others have stored since.
    """
    query: Any = state.statement
    if isinstance(query, Select) and _LOCKED not in state.execution_options:
        state.statement = query.with_for_update(read=True)
    elif isinstance(query, FromStatement) and isinstance(query.element, Select):
        # So the ORM reads the columns that a subclass has in a table of its own.
        state.statement = query = copy(query)
        query.element = query.element.with_for_update(read=True)


def _require_transactions(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    of_mysql = getattr(driver, "get_autocommit", None)  # PyMySQL, mysqlclient
    try:
        autocommit = driver.autocommit if of_mysql is None else of_mysql()
    except connection.dialect.loaded_dbapi.Error as error:  # mysql-connector asks the server
        raise OperationalError("SELECT @@autocommit", None, error) from error
    if autocommit:
        raise ConfigurationError(_AUTOCOMMIT)


@contextmanager
def _lenient(connection: Connection) -> Iterator[None]:
    """Read text of SQLite that is not UTF-8 with replacement characters (U+FFFD)."""
    driver: Any = connection.connection.dbapi_connection
    factory = getattr(driver, "text_factory", None)
    if factory is not None:
        driver.text_factory = lambda text: text.decode(errors="replace")
    try:
        yield
    finally:
        if factory is not None:
            driver.text_factory = factory
