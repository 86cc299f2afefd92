"""All or nothing: whatever fails, the session is rolled back and can be used again."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..exceptions import BuildAdminError
from .dberrors import describe, translate

_ENDED = (
    "A receiver of build_updating must neither commit nor roll back the session: what it adds is"
    " committed with the change. It refuses the change by an exception."
)

log = logging.getLogger("flask_build_admin")


@contextmanager
def transaction(session: Session) -> Iterator[Session]:
    """Roll the session back when anything fails, and translate errors of the database.

    :raises BuildAdminError: in the place of an error of the database.
    """
    try:
        yield session
    except SQLAlchemyError as error:
        rollback(session)
        translated = log_and_translate(error)
        if translated is None:
            raise
        raise translated from error
    except BaseException:  # also a signal that stops the worker
        rollback(session)
        raise


@contextmanager
def reading(session: Session) -> Iterator[Session]:
    """End the transaction with the read: at the end of the request no response could report it.

    :raises BuildAdminError: in the place of an error of the database.
    """
    with transaction(session):
        yield session
        for build in session.dirty:
            session.expire(build)  # a getter that writes is no change
        # No rollback: what the host's auth has added must not be lost under a 200.
        session.commit()


def begin(session: Session) -> None:
    """Make sure that there is a transaction, and that nothing is pending in it.

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


def log_and_translate(error: SQLAlchemyError) -> BuildAdminError | None:
    """Translate an error of the database; log it if the client can do nothing about it.

    :returns: None for an error that is not the database's.
    """
    translated = translate(error)
    if translated is not None and translated.status >= 500:
        log.warning("%s The cause: %s", translated, describe(error))
    return translated


def rollback(session: Session) -> None:
    """Leave a session without a transaction, even if its connection is broken."""
    try:
        session.rollback()
    except SQLAlchemyError:
        with suppress(SQLAlchemyError):
            session.invalidate()
