"""Faults of a database and of the workers that use it, injected one after the other."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from itertools import cycle

import sqlalchemy as sa

from tests.support.cluster import Cluster
from tests.support.servers import Server, wait_until

#: Workers that are never killed, and so tell what serving does to one.
WITNESSES = 2

#: Seconds between two faults, in which a new worker gets ready, and those of a stopped database.
PAUSE = 3
OUTAGE = 1

#: How often in a second all connections are terminated, when it is their turn.
BURST = 20

#: Asks whether a change waits to be recorded.
WAITING = """
SELECT count(*) FROM pg_locks WHERE relation = 'build_revisions'::regclass AND NOT granted
"""

#: Locks the builds that nobody changes, and then one of the others.
FREE = sa.text("SELECT id FROM builds FOR UPDATE SKIP LOCKED")
CHANGING = sa.text("SELECT id FROM builds WHERE id <> ALL(:free) LIMIT 1 FOR UPDATE")


class Faults:
    """Injects faults, and counts those that truly happened."""

    def __init__(self, server: Server, cluster: Cluster) -> None:
        self.server = server
        self.cluster = cluster
        self.modes = cycle(("fast", "immediate"))
        self.happened: Counter[str] = Counter()

    def inject(self, end: float) -> Counter[str]:
        """Inject each fault in its turn.

        :param end: the moment of ``time.monotonic()`` after which none begins.
        """
        for fault in cycle((self.terminate, self.deadlock, self.kill, self.restart)):
            time.sleep(PAUSE)
            if time.monotonic() >= end:
                break
            fault()
        return self.happened

    def terminate(self) -> None:
        """End all connections again and again, so that some are in the middle of a change."""
        for _ in range(BURST):
            self.happened["connections terminated"] += self.cluster.terminate()
            time.sleep(1 / BURST)

    def deadlock(self) -> None:
        """Lock in the opposite order to that of a change: first the revisions, then its build."""
        before = self.deadlocks()
        while self.deadlocks() == before:
            self.cross()
        self.happened["deadlocks"] += self.deadlocks() - before

    def cross(self) -> None:
        with self.cluster.engine.begin() as rogue:
            rogue.exec_driver_sql("LOCK TABLE build_revisions IN SHARE MODE")
            # Who looks for a deadlock first is sacrificed: that is to be the change.
            rogue.exec_driver_sql("SET LOCAL deadlock_timeout = '1min'")
            wait_until(lambda: rogue.exec_driver_sql(WAITING).scalar_one())
            rogue.execute(CHANGING, {"free": [*rogue.scalars(FREE)]})

    def deadlocks(self) -> int:
        return self.server.causes()["DeadlockDetected"]

    def kill(self) -> None:
        """Kill a worker, and wait for the one in its place: it needs the database to begin."""
        killed = self.happened["workers killed"]
        os.kill(self.server.booted()[WITNESSES + killed], signal.SIGKILL)
        wait_until(lambda: self.server.ready() > self.server.workers + killed)
        self.happened["workers killed"] += 1

    def restart(self) -> None:
        """Stop the database, every other time as a crash does."""
        with self.cluster.stopped(next(self.modes)):
            time.sleep(OUTAGE)
        self.happened["databases restarted"] += 1
