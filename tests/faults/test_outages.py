"""A database that is out of order for long: what each request is answered then, and afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa

from tests.support.cluster import Cluster
from tests.support.hosts import OCTOCAT
from tests.support.load import is_formed
from tests.support.servers import Answer, Server, serve, wait_until

pytestmark = pytest.mark.slow

CHANGED = OCTOCAT | {"status": "error"}

#: One request of each kind.
REQUESTS: dict[str, Callable[[Server], Answer]] = {
    "fetch": lambda server: server.get(),
    "queue": lambda server: server.queue(),
    "revisions": lambda server: server.revisions(),
    "preview": lambda server: server.put(CHANGED, "?dry_run=true"),
    "put": lambda server: server.put(CHANGED),
    "undo": lambda server: server.undo(1),
}
READS = {"fetch", "queue", "revisions"}

#: Asks whether a change waits for a lock.
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

#: Counts the clients, the one that asks included.
CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"

#: Seconds of an outage, and those within which it has to be told.
OUTAGE = 10
PROMPT = 2


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> Iterator[Server]:
    with serve(cluster.url, tmp_path) as server:
        wait_until(lambda: server.ready() == server.workers)
        yield server


def ask(server: Server, kind: str) -> int:
    """Send a request of a kind; it has to be answered at once, and in the documented form."""
    begun = time.monotonic()
    answer = REQUESTS[kind](server)
    assert time.monotonic() - begun < PROMPT
    assert is_formed(kind, answer), answer
    return answer.status


def assert_served(server: Server) -> None:
    """See that nothing was changed, that anything can be, and that no worker was lost."""
    assert server.get().json == OCTOCAT
    for kind in REQUESTS.keys() - {"undo"}:
        assert ask(server, kind) == 200
    [put] = server.revisions().json
    assert server.undo(put["id"]).json == OCTOCAT
    assert len(server.booted()) == server.workers


def test_the_database_is_stopped_and_comes_back(server: Server, cluster: Cluster) -> None:
    with cluster.stopped():
        begun = time.monotonic()
        while time.monotonic() < begun + OUTAGE:
            for kind in REQUESTS:
                assert ask(server, kind) == 503
            time.sleep(0.1)
    assert_served(server)


def exhaust(engine: sa.Engine, connections: ExitStack) -> NoReturn:
    while True:
        connections.enter_context(engine.connect())


def test_others_have_all_connections_of_the_database(server: Server, cluster: Cluster) -> None:
    cluster.terminate()
    autocommit = cluster.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as watching:
        with ExitStack() as others:
            with pytest.raises(sa.exc.OperationalError, match="too many clients"):
                exhaust(cluster.engine, others)
            for kind in [*REQUESTS] * server.workers:
                assert ask(server, kind) == 503
        # PostgreSQL notices only after a moment that a client is gone.
        wait_until(lambda: watching.exec_driver_sql(CLIENTS).scalar_one() == 1)
    assert_served(server)


def test_the_database_is_read_only(server: Server, cluster: Cluster) -> None:
    def configure(setting: str) -> None:
        autocommit = cluster.engine.execution_options(isolation_level="AUTOCOMMIT")
        with autocommit.connect() as connection:
            connection.exec_driver_sql(f"ALTER SYSTEM {setting}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")

    configure("SET default_transaction_read_only = on")
    try:
        wait_until(lambda: ask(server, "preview") == 503)
        for kind in [*REQUESTS] * server.workers:
            assert ask(server, kind) == (200 if kind in READS else 503)
    finally:
        configure("RESET default_transaction_read_only")
    wait_until(lambda: ask(server, "preview") == 200)
    assert_served(server)


def test_a_change_that_waits_has_the_last_connection_of_the_pool(
    cluster: Cluster, tmp_path: Path
) -> None:
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    threads = ("--worker-class", "gthread", "--threads", "8")
    with (
        serve(cluster.url, tmp_path, *threads, workers=1, SQLALCHEMY_ENGINE_OPTIONS=pool) as server,
        ThreadPoolExecutor() as clients,
    ):
        with cluster.engine.begin() as other:
            other.exec_driver_sql("SELECT id FROM builds FOR UPDATE")
            waiting = clients.submit(server.put, CHANGED)
            wait_until(lambda: other.exec_driver_sql(BLOCKED).scalar_one())
            for status in clients.map(lambda kind: ask(server, kind), REQUESTS):
                assert status == 503
            assert not waiting.done()
        assert waiting.result().json == CHANGED
        assert server.put(OCTOCAT).json == OCTOCAT
        assert server.causes() == {"TimeoutError": len(REQUESTS)}
