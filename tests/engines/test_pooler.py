"""PgBouncer, which gives each transaction another connection to the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines.conftest import SECONDS
from tests.engines.writers import Outcome, assert_nothing_is_lost, write
from tests.support.cluster import Cluster
from tests.support.hosts import OCTOCAT, Host
from tests.support.pgbouncer import run_pgbouncer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pooled(cluster: Cluster) -> Iterator[str]:
    """The URL of a server behind PgBouncer."""
    with run_pgbouncer(cluster) as url:
        yield url


def prepared(host: Host) -> list[Any]:
    """Return after how often each connection of the pool prepares a statement."""
    with host.session() as session:
        driver: Any = session.connection().connection.dbapi_connection
        return [driver.prepare_threshold]


def test_nothing_is_lost(
    pooled: str,
    cluster: Cluster,
    host_on: Callable[..., Host],
    tell: Callable[[str, Outcome], None],
) -> None:
    host = host_on(pooled)
    outcome = write([host], SECONDS)
    tell("PgBouncer, psycopg as it is", outcome)
    assert_nothing_is_lost(outcome, cluster.engine)
    assert {*outcome.statuses} <= {200, 409, 412}


def test_two_hosts_prepare_nothing_behind_each_other(
    pooled: str, host_on: Callable[..., Host]
) -> None:
    """Each has its own statement of the same name on the same connection to the server."""
    first = host_on(pooled)
    second = host_on(pooled, fresh=False)
    for _ in range(20):
        assert first.get(1).status_code == 200
        assert second.put(OCTOCAT | {"title": "t"}).status_code == 200
        assert second.put(OCTOCAT).status_code == 200
    assert prepared(first) == prepared(second) == [None]


def test_a_direct_connection_prepares_as_the_host_wants(
    cluster: Cluster, host_on: Callable[..., Host]
) -> None:
    host = host_on(cluster.url, connect_args={"prepare_threshold": 3})
    assert host.get(1).status_code == 200
    assert prepared(host) == [3]


def test_the_log_has_the_sentence_of_the_pooler(
    pooled: str, host_on: Callable[..., Host], caplog: pytest.LogCaptureFixture
) -> None:
    host = host_on(pooled)
    refused = host_on(pooled, fresh=False, connect_args={"options": "-c lock_timeout=2s"})
    with caplog.at_level(logging.WARNING):
        assert refused.get(1).status_code == 503
    assert "unsupported startup parameter: options" in caplog.text
    assert host.get(1).status_code == 200
