"""Constraints that a database checks at the commit, checked before: a preview has no commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from .errors import BuildConflict

#: SQLite's tables that defer a foreign key, if it is told to enforce any.
_DEFERRING = text(
    "SELECT name FROM sqlite_master, pragma_foreign_keys"
    " WHERE type = 'table' AND foreign_keys AND sql LIKE '%INITIALLY%DEFERRED%'"
)


@contextmanager
def constraints_checked(connection: Connection) -> Iterator[None]:
    """See that what is done within breaks no constraint that is deferred to the commit.

    MariaDB and MySQL defer none. PostgreSQL checks them when it is told to; SQLite lists what is
    broken, by reading the tables that defer a foreign key whole.

    :raises BuildConflict: SQLite would refuse the commit.
    :raises sqlalchemy.exc.DBAPIError: PostgreSQL would.
    """
    before = _broken(connection)
    yield
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    if _broken(connection) - before:
        raise BuildConflict


def _broken(connection: Connection) -> Counter[Any]:
    """Count the rows of SQLite's that break a deferred foreign key, by table, row and key."""
    if connection.dialect.name != "sqlite":
        return Counter()
    check = text("SELECT * FROM pragma_foreign_key_check(:name)")
    tables = connection.scalars(_DEFERRING).all()
    return Counter(
        tuple(row) for name in tables for row in connection.execute(check, {"name": name})
    )
