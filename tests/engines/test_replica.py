"""A session that reads from a logical replica, which is late, and writes to the primary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import has_request_context, request
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tests.engines.conftest import SECONDS, fill
from tests.engines.writers import ROWS, Outcome, assert_nothing_is_lost, write
from tests.support.cluster import Cluster, run_cluster
from tests.support.hosts import Build, BuildRevision, Host
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow


@contextmanager
def replicated() -> Iterator[tuple[Cluster, Cluster]]:
    """Run a primary and a logical replica, which has the tables already."""
    with run_cluster(wal_level="logical") as primary, run_cluster() as replica:
        fill(primary.engine)
        for metadata in {Build.metadata, BuildRevision.metadata}:
            metadata.create_all(replica.engine)
        primary.scalar("CREATE PUBLICATION builds FOR ALL TABLES")
        source = f"host={primary.directory} user=postgres dbname=postgres"
        replica.scalar(f"CREATE SUBSCRIPTION builds CONNECTION '{source}' PUBLICATION builds")
        yield primary, replica


def by_method(primary: sa.Engine, replica: sa.Engine) -> scoped_session[Any]:
    """Read in a GET from the replica, and do all else on the primary."""

    class RoutingSession(Session):
        def get_bind(self, *args: Any, **options: Any) -> sa.Engine:
            reads = has_request_context() and request.method in ("GET", "HEAD")
            return replica if reads and not self._flushing else primary

    return scoped_session(sessionmaker(class_=RoutingSession))


def test_a_late_replica_costs_another_try_and_no_change(
    make_host: Callable[..., Host], tell: Callable[[str, Outcome], None]
) -> None:
    with replicated() as (primary, replica):
        wait_until(lambda: replica.scalar("SELECT count(*) FROM builds") == len(ROWS))
        engines = [sa.create_engine(one.url, pool_size=8) for one in (primary, replica)]
        host = make_host(
            primary.url, session=by_method(*engines), history=BuildRevision, fresh=False
        )
        outcome = write([host], SECONDS)
        tell("reads from a logical replica", outcome)
        assert_nothing_is_lost(outcome, primary.engine)
        assert {*outcome.statuses} <= {200, 409, 412}
        # The replica stands still: what is read there is too old, and never overwrites anything.
        replica.scalar("ALTER SUBSCRIPTION builds DISABLE")
        fetched = host.get(1)
        changed = host.put(fetched.json | {"title": "by somebody"})
        assert changed.status_code == 200
        assert host.get(1).json == fetched.json
        stale = {"If-Match": fetched.headers["ETag"]}
        assert host.put(fetched.json | {"error": "x"}, headers=stale).status_code == 412
        assert host.put(fetched.json | {"error": "x"}, headers=stale).status_code == 412
        for engine in engines:
            engine.dispose()
