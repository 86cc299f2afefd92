"""A PostgreSQL primary whose commits wait for a standby, which takes its place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

from tests.engines.writers import Outcome, assert_nothing_is_lost, write
from tests.support.cluster import Cluster, Standby, run_cluster, run_standby
from tests.support.hosts import OCTOCAT, Host
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow

DRIVERS = ("psycopg", "psycopg2", "pg8000")

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def require_standby(primary: Cluster) -> None:
    """Let commits wait for a standby from now on, and wait until there is one."""
    primary.configure("synchronous_standby_names = '*'")
    streaming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    wait_until(lambda: primary.scalar(streaming) == 1)


def url_of(*directories: Path) -> str:
    """Return the URL by which libpq finds the one of several servers that takes changes."""
    hosts = ",".join(map(str, directories))
    return f"postgresql+psycopg://postgres@/postgres?host={hosts}&target_session_attrs=read-write"


def test_two_failovers(host_on: Callable[..., Host], tell: Callable[[str, Outcome], None]) -> None:
    with ExitStack() as servers:
        first = servers.enter_context(run_cluster())
        second = servers.enter_context(run_standby(first))
        folder = Path(servers.enter_context(TemporaryDirectory(prefix="postgresql-")))
        require_standby(first)
        host = host_on(url_of(first.directory, second.directory, folder))

        def fail_over_twice() -> None:
            time.sleep(2)
            first.stop("immediate")
            second.promote()
            # The primary that has failed is thrown away: a new standby takes its part.
            third = Standby(folder, second)
            servers.callback(third.end)
            third.start()
            require_standby(second)
            time.sleep(2)
            second.stop("immediate")
            third.promote()

        outcome = write([host], 10, fail_over_twice)
        tell("two failovers", outcome)
        assert_nothing_is_lost(outcome, sa.create_engine(host.engine.url, poolclass=sa.NullPool))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_commit_that_no_longer_waits_for_its_standby_is_no_success(
    host_on: Callable[..., Host], caplog: pytest.LogCaptureFixture, driver: str
) -> None:
    pytest.importorskip(driver)
    with run_cluster() as primary, ExitStack() as standbys:
        standby = standbys.enter_context(run_standby(primary))
        require_standby(primary)
        url = primary.url.replace("+psycopg", f"+{driver}")
        if driver == "pg8000":
            path = f"{primary.directory}/.s.PGSQL.5432"
            url = f"postgresql+pg8000://postgres@/postgres?unix_sock={path}"
        host = host_on(url)
        assert host.put(OCTOCAT | {"title": "t"}).status_code == 200
        with standby.stopped(), ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING):
            waiting = pool.submit(host.put, OCTOCAT)
            wait_until(lambda: primary.scalar(WAITING))
            primary.scalar(f"SELECT pg_cancel_backend({primary.scalar(WAITING)})")
            answer = waiting.result()
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert "the standby has not confirmed it" in answer.json["error"]
            assert "a change is stored, but the standby has not confirmed it" in caplog.text
            primary.configure("synchronous_standby_names = ''")
        assert host.get(1).json == OCTOCAT
