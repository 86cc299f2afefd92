"""All or nothing: a failure of any kind leaves the session rolled back, and usable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from .faults import cause, meaning

log = logging.getLogger("flask_build_admin")


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """Roll back whatever goes wrong, and say in the contract's terms what the database says.

    :raises BuildError: in the place of a database's error.
    """
    try:
        yield
    except BaseException as error:
        rollback(session)
        told = meaning(error) if isinstance(error, SQLAlchemyError) else None
        if told is None:
            raise
        if told.status >= 500:
            log.warning("%s The cause: %s", told, cause(error))
        raise told from error


def rollback(session: Session) -> None:
    """Leave a session without a transaction, whatever has become of its connection."""
    try:
        session.rollback()
    except DBAPIError:
        session.invalidate()
