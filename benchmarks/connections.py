"""The connections of a contender to its database: what is sent, and whether a commit waits."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any

import sqlalchemy as sa
from django.db.backends.signals import connection_created
from psycopg.pq import Trace

_COMPLETE = re.compile(rb'^B\t\d+\tCommandComplete\t "([A-Z]+)', re.MULTILINE)


class Connections:
    """All connections that are made in this process from now on, SQLAlchemy's and Django's.

    :param durable: whether a commit on SQLite waits for the disk. On PostgreSQL the database knows.
    """

    def __init__(self, durable: bool) -> None:
        self._durable = durable
        self._made: list[Any] = []
        sa.event.listen(sa.Pool, "connect", lambda connection, _: self._add(connection))
        connection_created.connect(self._add_of_django, weak=False)

    @contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """Collect the statements' first words, as the drivers' own traces have them.

        So it does not matter which library sends them; ``BEGIN`` and ``COMMIT`` are among them.
        """
        statements: list[str] = []
        with TemporaryFile() as file:
            for connection in self._made:
                if isinstance(connection, sqlite3.Connection):
                    connection.set_trace_callback(lambda text: statements.append(text.split()[0]))
                else:
                    connection.pgconn.trace(file.fileno())
                    connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
            yield statements
            for connection in self._made:
                if isinstance(connection, sqlite3.Connection):
                    connection.set_trace_callback(None)
                else:
                    connection.pgconn.untrace()
            file.seek(0)
            statements += [word.decode() for word in _COMPLETE.findall(file.read())]

    def _add(self, connection: Any) -> None:
        if isinstance(connection, sqlite3.Connection) and not self._durable:
            connection.execute("PRAGMA synchronous = OFF")
        self._made.append(connection)

    def _add_of_django(self, connection: Any, **_: Any) -> None:
        self._add(connection.connection)
