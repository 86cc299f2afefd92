"""The databases that take part, and one of its own on each server for whoever runs tests.

SQLite is always there. PostgreSQL and MariaDB take part when ``TEST_POSTGRESQL_URL`` and
``TEST_MARIADB_URL`` name a server on which databases may be created.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

SERVERS = {name: os.environ.get(f"TEST_{name.upper()}_URL") for name in ("postgresql", "mariadb")}
DATABASES = ["sqlite", *(name for name, url in SERVERS.items() if url)]

on_mariadb = pytest.mark.parametrize(
    "server_url", [name for name in DATABASES if name == "mariadb"], indirect=True
)


@contextmanager
def own_database(name: str, purpose: str = "", options: str = "") -> Iterator[str]:
    """Make a database on a server, answer its URL, and drop it in the end.

    Each process has its own, and so does each worker of pytest-xdist.

    :param name: of the server.
    :param purpose: part of the name of the database, if it is not the only one.
    :param options: of CREATE DATABASE.
    """
    url = str(SERVERS[name])
    own = f"flask_build_admin_{os.getpid()}{purpose}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {own} {options}"))
    try:
        yield sa.make_url(url).set(database=own).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if name == "postgresql" else ""
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {own}{force}"))
        admin.dispose()


#: How long a connection waits for a lock: a second, because who waits for itself waits for ever.
LOCK_PATIENCE: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 1},
    "postgresql": {"options": "-c lock_timeout=1s"},
    "mysql": {"init_command": "SET innodb_lock_wait_timeout = 1"},
}


def impatient_engine(url: str, **arguments: Any) -> sa.Engine:
    """Make an engine whose connections wait for a lock no longer than a second.

    :param arguments: of the driver's ``connect``, instead.
    """
    patience = LOCK_PATIENCE[sa.make_url(url).get_backend_name()]
    return sa.create_engine(url, connect_args=patience | arguments)
