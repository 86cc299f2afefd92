"""What a database would say of a change no sooner than at the commit, asked of it before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import MetaData, text
from sqlalchemy.engine import Connection

from .errors import BuildConflict


@contextmanager
def constraints_checked(connection: Connection, metadata: MetaData) -> Iterator[None]:
    """See that what is done within breaks no constraint that is deferred to the commit.

    MariaDB and MySQL defer none. PostgreSQL checks them when it is told to; SQLite lists what is
    broken, and only if a foreign key is deferred, because that reads its tables whole.

    :param metadata: of the tables that may be concerned.
    :raises BuildConflict: SQLite would refuse the commit.
    :raises sqlalchemy.exc.DBAPIError: PostgreSQL would.
    """
    listed = connection.dialect.name == "sqlite" and _defers(metadata)
    enforced = listed and connection.scalar(text("PRAGMA foreign_keys"))

    def broken() -> Counter[Any]:
        rows = connection.execute(text("PRAGMA foreign_key_check")) if enforced else ()
        return Counter(tuple(row) for row in rows)

    before = broken()
    yield
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    if broken() - before:
        raise BuildConflict


def _defers(metadata: MetaData) -> bool:
    keys = (key for table in metadata.tables.values() for key in table.foreign_key_constraints)
    return any((key.initially or "").upper() == "DEFERRED" for key in keys)
