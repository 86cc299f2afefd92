"""Databases with builds in them, made for a measurement and dropped after it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from example_app import Base, Build, BuildRevision

from .hosts import running

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

_serial = count(1)


class Server:
    """Where databases are made: a PostgreSQL server, or the file system for SQLite.

    :param name: ``sqlite`` or ``postgresql``.
    :param url: of the PostgreSQL server.
    :param durable: whether a commit waits for the disk.
    """

    def __init__(self, name: str, url: str, durable: bool) -> None:
        self.name = name
        self.title = NAMES[name]
        self.durable = durable
        self._url = url

    def version(self) -> str:
        """Tell the version of the server, or of the library."""
        if self.name == "sqlite":
            return sqlite3.sqlite_version
        with sa.create_engine(self._url, poolclass=sa.NullPool).connect() as connection:
            return str(connection.execute(sa.text("SHOW server_version")).scalar_one())

    @contextmanager
    def database(self, builds: int, message: int = 0, revisions: int = 0) -> Iterator[str]:
        """Make a database, and answer its URL.

        :param builds: how many are in it.
        :param message: of each build, in KiB; 0: that of the sample.
        :param revisions: how many the first build has.
        """
        with self._file() if self.name == "sqlite" else self._database() as url:
            engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            Base.metadata.create_all(engine)
            build = running(1, message)
            revision = {"build_id": 1, "at": datetime.now(UTC), "before": build, "after": build}
            with engine.connect() as connection:
                connection.execute(_insert(Build, builds, build, numbered=("id", "number")))
                connection.execute(_insert(BuildRevision, revisions, revision))
                # PostgreSQL would tidy up by itself, in the middle of a measurement.
                sqlite = self.name == "sqlite"
                tidy = "PRAGMA journal_mode = WAL" if sqlite else "VACUUM ANALYZE"
                connection.execute(sa.text(tidy))
            yield url

    @contextmanager
    def _file(self) -> Iterator[str]:
        with TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/ci.db"

    @contextmanager
    def _database(self) -> Iterator[str]:
        engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        own = f"benchmark_{os.getpid()}_{next(_serial)}"
        with engine.connect() as connection:
            try:
                connection.execute(sa.text(f"CREATE DATABASE {own}"))
                if not self.durable:
                    setting = f"ALTER DATABASE {own} SET synchronous_commit = off"
                    connection.execute(sa.text(setting))
                yield engine.url.set(database=own).render_as_string(hide_password=False)
            finally:
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {own} WITH (FORCE)"))


def _insert(
    model: Any, rows: int, values: dict[str, Any], numbered: tuple[str, ...] = ()
) -> sa.Insert:
    """Insert equal rows by one statement, for there may be a million of them."""
    numbers = sa.select(sa.literal(1).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.number + 1).where(numbers.c.number < rows))
    row = [
        numbers.c.number if name in numbered else sa.literal(value, model.__table__.c[name].type)
        for name, value in values.items()
    ]
    return sa.insert(model).from_select([*values], sa.select(*row).where(numbers.c.number <= rows))
