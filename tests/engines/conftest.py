"""Hosts on engines that outgrow one machine."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import scoped_session, sessionmaker

from tests.engines.writers import ROWS, Outcome
from tests.support.hosts import Build, BuildRevision, Host

#: Seconds that eight writers write.
SECONDS = 5.0


def fill(engine: sa.Engine) -> None:
    """Make the tables, with four builds and no revision."""
    with engine.begin() as connection:
        if engine.dialect.driver == "psycopg":  # there may be a pooler, and this is no host yet
            driver: Any = connection.connection.dbapi_connection
            driver.prepare_threshold = None
        for metadata in {Build.metadata, BuildRevision.metadata}:
            metadata.drop_all(connection)
            metadata.create_all(connection)
        connection.execute(sa.insert(Build), ROWS)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A connection that was in use when its pool was given up is closed by the collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def host_on(make_host: Callable[..., Host]) -> Iterator[Callable[..., Host]]:
    """Make hosts of four builds on the engine that a URL and options make."""
    engines: list[sa.Engine] = []

    def make(url: str, *, fresh: bool = True, **options: Any) -> Host:
        """
        :param fresh: whether the tables are made; or else they are another host's. They are not
            dropped: the servers are thrown away.
        :param options: of the engine.
        """
        engine = sa.create_engine(url, pool_size=8, max_overflow=0, **options)
        engines.append(engine)
        if fresh:
            fill(sa.create_engine(url, poolclass=sa.NullPool))
        session = scoped_session(sessionmaker(engine))
        return make_host(url, history=BuildRevision, session=session, fresh=False)

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str, Outcome], None]:
    """Say after the tests what the writers were answered."""

    def tell(name: str, outcome: Outcome) -> None:
        record_property(f"eight writers, {name}", outcome.summary())

    return tell
