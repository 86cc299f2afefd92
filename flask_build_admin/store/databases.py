"""Where the host's session finds the builds now: on which engine, and with which codec."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from ..exceptions import ConfigurationError
from ..schema import BuildSchema
from .codec import BuildCodec
from .history import BuildHistory
from .locking import BuildQuery, Database
from .mapping import mapper_of
from .misfits import check_paths
from .transactions import FlushRouting, flush_bind, forget_changes, rollback, transaction

SessionCallable = Callable[[], Session | scoped_session[Any]]


def require_session(session: SessionCallable) -> None:
    """Check that an option returns the current session.

    :raises ConfigurationError: it does not, as far as can be seen without a call.
    """
    if not callable(session) or isinstance(session, sessionmaker | type):
        raise ConfigurationError(
            f"session={session!r} does not return the current Session: pass a scoped_session"
            " such as Flask-SQLAlchemy's db.session, or a function, lambda: db.session."
        )
    if inspect.iscoroutinefunction(session):
        raise ConfigurationError(
            f"session={session!r} is a coroutine function: pass one that returns the current"
            " Session, lambda: db.session."
        )
    if type(session).__module__.startswith("sqlalchemy.ext.asyncio"):
        raise ConfigurationError(
            f"session={session!r} is async: pass scoped_session(sessionmaker(engine)), on an"
            " engine that is not."
        )


class Databases:
    """The databases of one host, by the current session.

    One application may keep its builds in another database than the next, and a session may read
    from a replica.

    :param session: returns the current session.
    """

    def __init__(
        self,
        session: SessionCallable,
        model: type[Any],
        schema: type[BuildSchema],
        query: BuildQuery,
        history: BuildHistory | None,
    ) -> None:
        self._session = session
        self._model = model
        self._mapper = mapper_of(model)
        self._schema = schema
        self._query = query
        self._history = history
        #: By the names of the dialects.
        self._codecs: dict[str, BuildCodec] = {}
        #: The engines on which ``_check_flush`` has found no fault.
        self._checked: WeakSet[Engine] = WeakSet()

    def session(self) -> Session:
        """Return the current session."""
        session = self._session()
        # lambda: db.session returns a Session of Flask-SQLAlchemy-Lite, or a scoped_session.
        current = session() if isinstance(session, scoped_session) else session
        if not isinstance(current, Session):
            raise ConfigurationError(
                f"session() returned a {type(current).__name__}, not the current Session: pass a"
                " scoped_session such as Flask-SQLAlchemy's db.session, or lambda: db.session."
            )
        return current

    def rollback(self) -> None:
        """Leave the current session without a transaction, whatever its state."""
        if isinstance(self._session, scoped_session) and not self._session.registry.has():
            return  # there is no session: none need be made
        rollback(self.session())

    @contextmanager
    def reading(self, *, primary: bool = False, discard: bool = False) -> Iterator[Database]:
        """End the transaction with the read: at the end of the request no response could report it.

        :param primary: whether to read where the session flushes.
        :param discard: whether what others have written in the transaction is rolled back, as
            before a preview.
        """
        with transaction(self.session(), self._mapper) as session:
            yield self.find(session, primary=primary)
            if discard:
                rollback(session)
                return
            forget_changes(session)
            if session.in_transaction():  # or else nothing was read
                # No rollback: what the host's auth has added must not be lost under a 200.
                session.commit()

    @contextmanager
    def changing(self) -> Iterator[Database]:
        """Change a database. Whatever fails within, all is rolled back."""
        with transaction(self.session(), self._mapper) as session:
            yield self.find(session, primary=True)

    def find(self, session: Session, *, primary: bool = False) -> Database:
        """Return the database in which a session finds the builds.

        :param primary: whether it is that to which the session flushes.
        """
        if primary:
            bind = flush_bind(session, self._mapper)
        else:
            bind = session.get_bind(self._mapper, clause=self._query.every)
        codec = self._codecs.get(bind.dialect.name)
        if codec is None:
            codec = BuildCodec(self._schema, self._model, bind.dialect)
            check_paths(self._model, codec.schema)
            self._codecs[bind.dialect.name] = codec
        database = Database(session, bind, codec)
        if primary:
            if bind.engine not in self._checked:
                self._check_flush(database)
                self._checked.add(bind.engine)
            if self._history is not None:
                self._history.check_bind(database)
        return database

    def _check_flush(self, database: Database) -> None:
        """Check that the session flushes a build where it finds it."""
        with FlushRouting(database.session):
            found = database.session.get_bind(self._mapper)
        if not found is database.bind is flush_bind(database.session, self._mapper):
            raise ConfigurationError(
                "The session does not always flush a build to the database in which it finds the"
                " build, so no build can be locked where it is written. While the session flushes,"
                " get_bind() must return one engine, for the base classes of the model, too."
            )
