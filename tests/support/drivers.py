"""The drivers of PostgreSQL and MariaDB, of which those that are installed take part."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

import sqlalchemy as sa

from tests.support.databases import SERVERS


class Driver(NamedTuple):
    """A driver, and what it needs to be asked for."""

    #: The server that it speaks with.
    server: str
    #: How a URL names it.
    name: str
    #: The module to import.
    module: str
    #: What limits the seconds of connecting.
    timeout: str = "connect_timeout"
    #: In the query of a URL.
    query: dict[str, str] = {}

    def url(self, of_server: str) -> sa.URL:
        return sa.make_url(of_server).set(drivername=self.name, query=self.query)


DRIVERS = [
    driver
    for driver in (
        Driver("postgresql", "postgresql+psycopg", "psycopg"),
        Driver("postgresql", "postgresql+psycopg2", "psycopg2"),
        Driver("postgresql", "postgresql+pg8000", "pg8000", "timeout"),
        Driver("mariadb", "mysql+pymysql", "pymysql"),
        Driver("mariadb", "mysql+mysqldb", "MySQLdb"),
        Driver("mariadb", "mariadb+mariadbconnector", "mariadb"),
        # MariaDB does not have the collation that it asks for by default.
        Driver(
            "mariadb",
            "mysql+mysqlconnector",
            "mysql",
            "connection_timeout",
            {"collation": "utf8mb4_general_ci"},
        ),
    )
    if SERVERS[driver.server] and find_spec(driver.module)
]


def pooled(url: sa.URL, **options: Any) -> sa.Engine:
    """Make an engine with one connection, so that each request has that of the one before."""
    return sa.create_engine(url, pool_size=1, max_overflow=0, **options)
