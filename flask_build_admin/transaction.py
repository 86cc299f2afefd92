"""All or nothing: a failure of any kind leaves the session rolled back, and usable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .errors import BuildError
from .faults import cause, meaning

_UNENDED = (
    "A receiver of build_updating must neither commit nor roll back the session: what it adds is"
    " committed with the change. It refuses the change by an exception."
)

log = logging.getLogger("flask_build_admin")


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """Roll back whatever goes wrong, and say in the contract's terms what the database says.

    :raises BuildError: in the place of a database's error.
    """
    try:
        yield
    except SQLAlchemyError as error:
        rollback(session)
        told = translate(error)
        if told is None:
            raise
        raise told from error
    except BaseException:  # a worker that is told to stop, too
        rollback(session)
        raise


@contextmanager
def reading(session: Session) -> Iterator[None]:
    """Let nothing of a read be left to the end of the request, where no answer can tell of it.

    :raises BuildError: in the place of a database's error.
    """
    with transaction(session):
        yield
        for shown in session.dirty:
            session.expire(shown)  # what showing a build has changed of it is no change
        # No rollback: what the host's auth has left pending is not to be dropped under a 200.
        session.commit()


def begin(session: Session) -> None:
    """See that there is a transaction, and that nothing is pending in it.

    What the host's auth has left pending is no fault of what comes after.
    """
    if not session.in_transaction():
        session.begin()  # a session may be made not to do so by itself
    session.flush()


@contextmanager
def unended(session: Session) -> Iterator[None]:
    """Let nobody end the transaction: neither a preview nor half a change may be committed.

    :raises RuntimeError: somebody has tried to commit, or has rolled back.
    """
    begun = session.get_transaction()

    def refuse(session: Session) -> None:
        if not session.in_nested_transaction():
            raise RuntimeError(_UNENDED)

    event.listen(session, "before_commit", refuse)
    try:
        yield
    finally:
        event.remove(session, "before_commit", refuse)
    if session.get_transaction() is not begun:
        raise RuntimeError(_UNENDED)


def translate(error: SQLAlchemyError) -> BuildError | None:
    """Say what a database's error means; what is not the client's to mend goes into the log.

    :returns: None for an error that is not the database's.
    """
    told = meaning(error)
    if told is not None and told.status >= 500:
        log.warning("%s The cause: %s", told, cause(error))
    return told


def rollback(session: Session) -> None:
    """Leave a session without a transaction, whatever has become of its connection."""
    try:
        session.rollback()
    except SQLAlchemyError:
        with suppress(SQLAlchemyError):
            session.invalidate()
