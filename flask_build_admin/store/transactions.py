"""All or nothing: whatever fails, the session is rolled back and can be used again."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, Session

from ..exceptions import BuildAdminError
from .dberrors import describe, needs_reconnect, translate

_ENDED = (
    "A receiver of build_updating must neither commit nor roll back the session: what it adds is"
    " committed with the change. It refuses the change by an exception."
)

log: logging.Logger = logging.getLogger("flask_build_admin")


@contextmanager
def transaction(session: Session, mapper: Mapper[Any]) -> Iterator[Session]:
    """Roll the session back when anything fails, and translate errors of the database.

    :param mapper: of the builds.
    :raises BuildAdminError: in the place of an error of the database.
    """
    try:
        yield session
    except (SQLAlchemyError, OSError) as error:
        rollback(session)
        if needs_reconnect(error):
            # All of the pool: where a server became read-only, each connection leads to it.
            flush_bind(session, mapper).engine.dispose()
        translated = log_and_translate(error)
        if translated is None:
            raise
        raise translated from error
    except BaseException:  # also a signal that stops the worker
        rollback(session)
        raise


def forget_changes(session: Session) -> None:
    """Expire what the getters of a build have written while it was dumped: that is no change."""
    for one in session.dirty:
        session.expire(one)


def begin(session: Session) -> None:
    """Begin a transaction if there is none, and flush what is pending in it.

    What the host's auth left pending must not fail later, in the place of the change.
    """
    if not session.in_transaction():
        session.begin()  # a session may be configured not to begin by itself
    session.flush()


@contextmanager
def kept_open(session: Session) -> Iterator[None]:
    """Keep others from ending the transaction: half a change must not be committed.

    :raises RuntimeError: somebody tries to commit, or has rolled back.
    """
    begun = session.get_transaction()

    def refuse(session: Session) -> None:
        if not session.in_nested_transaction():
            raise RuntimeError(_ENDED)

    event.listen(session, "before_commit", refuse)
    try:
        yield
    finally:
        event.remove(session, "before_commit", refuse)
    if session.get_transaction() is not begun:
        raise RuntimeError(_ENDED)


class FlushRouting:
    """Route what is within as a flush: a session may send reads to a replica, flushes elsewhere."""

    # Session._flushing is the name that SQLAlchemy's documentation has for sessions that route.
    # There is no other way to learn where a flush goes.

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._before, self._session._flushing = self._session._flushing, True

    def __exit__(self, *_: object) -> None:
        self._session._flushing = self._before


def flush_bind(session: Session, mapper: Mapper[Any]) -> Engine | Connection:
    """Return where the session flushes the objects of a mapper."""
    with FlushRouting(session):
        return session.get_bind(mapper.base_mapper)  # as the unit of work asks


def log_and_translate(error: SQLAlchemyError | OSError) -> BuildAdminError | None:
    """Translate an error of the database, and log it: the response does not name the cause.

    :returns: None for an error that is not the database's.
    """
    translated = translate(error)
    if translated is not None:
        log.warning("%s The cause: %s", translated, describe(error))
    return translated


def rollback(session: Session) -> None:
    """Leave a session without a transaction, even if its connection is broken."""
    try:
        session.rollback()
    except (SQLAlchemyError, OSError):
        session.invalidate()
