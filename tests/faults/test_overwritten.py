"""A CI whose dead workers come back late, beside administrators: which repairs do not stand?

Its own log of what everybody wrote decides. It lasts ``SIMULATION_SECONDS`` on each database, 120
if that is not set.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_build_admin import build_updating
from flask_build_admin.exceptions import BuildAdminError
from flask_build_admin.store import BuildFilter, BuildStore, ChangeOptions, Revision
from tests.support.hosts import OCTOCAT, Build, BuildRevision, Host

MakeHost = Callable[..., Host]

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("SIMULATION_SECONDS", "120"))

WORKERS, ADMINISTRATORS = 8, 3

#: How many builds there are that wait or run.
LOAD = 40

#: After so many seconds without a sign of life, an administrator takes a build for dead.
PATIENCE = 0.3

TABLE: Any = Build.__table__

Values = dict[str, Any]


class Write(NamedTuple):
    """What somebody wrote to a build."""

    #: When, in the order of all that was written while its row was locked.
    turn: int
    values: Values
    #: The revision of an administrator; None: a worker wrote.
    revision: int | None = None


class Simulation:
    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, pool_size=WORKERS + ADMINISTRATORS + 2)
        #: What was written to each build.
        self.writes: dict[int, list[Write]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self._turns = itertools.count()
        self._held = threading.local()
        self._started: dict[int, float] = {}
        self.end = time.monotonic() + SECONDS
        self.sender = object()

    @property
    def over(self) -> bool:
        return time.monotonic() > self.end

    @contextmanager
    def store(self) -> Iterator[BuildStore]:
        session = scoped_session(sessionmaker(self.engine))
        try:
            yield BuildStore(Build, session, history=BuildRevision)
        finally:
            session.remove()

    def write(self, build_id: int, who: str, values: Values, **only_if: Any) -> bool:
        """Write as a CI does: by an UPDATE, which asks nobody."""
        conditions = [TABLE.c.id == build_id, *(TABLE.c[name] == only_if[name] for name in only_if)]
        try:
            with self.engine.begin() as connection:
                update = sa.update(TABLE).where(*conditions).values(values)
                done = bool(connection.execute(update).rowcount)
                turn = next(self._turns)  # while the row is locked
        except sa.exc.OperationalError:  # locked for too long, or a deadlock
            return False
        if done:
            self.writes[build_id].append(Write(turn, values))
            self.counts[who] += 1
        return done

    def schedule(self) -> None:
        """Add builds, so that there is always something to do."""
        for number in itertools.count(1):
            if self.over:
                return
            waiting = TABLE.c.status.in_(("pending", "running"))
            with self.engine.connect() as connection:
                count = connection.scalar(sa.select(sa.func.count()).where(waiting)) or 0
            if count < LOAD:
                now = int(time.time())
                values = {"id": number, "number": number, "status": "pending", "created": now}
                times = {"enqueued": now, "started": 0, "finished": 0, "error": ""}
                with self.engine.begin() as connection:
                    connection.execute(sa.insert(TABLE), OCTOCAT | times | values)
            else:
                time.sleep(0.02)

    def work(self, seed: int) -> None:
        """Take builds, finish most, die on others, and come back late to some of these."""
        chance = random.Random(seed)
        late: list[tuple[float, int]] = []
        pending = sa.select(TABLE.c.id).where(TABLE.c.status == "pending").limit(20)
        while not self.over:
            while late and late[0][0] < time.monotonic():
                self.finish(late.pop(0)[1], "late")
            with self.engine.connect() as connection:
                ids = connection.scalars(pending).all()
            time.sleep(chance.uniform(0.005, 0.03))
            if not ids:
                continue
            build_id = chance.choice(ids)
            values = {"status": "running", "host": f"worker-{seed}", "started": int(time.time())}
            self._started[build_id] = time.monotonic()
            if not self.write(build_id, "started", values, status="pending"):
                continue
            fate = chance.random()
            if fate < 0.5:
                self.finish(build_id, "finished")
            elif fate < 0.75:
                late.append((time.monotonic() + chance.uniform(0, 3 * PATIENCE), build_id))
                late.sort()

    def finish(self, build_id: int, who: str) -> None:
        self.write(build_id, who, {"status": "success", "finished": int(time.time())})

    def administrate(self, seed: int) -> None:
        """Repair builds that are dead by all means that there are, and take some repairs back."""
        chance = random.Random(-seed)
        options = ChangeOptions(sender=self.sender, actor=f"admin-{seed}")
        with self.store() as store:
            while not self.over:
                time.sleep(chance.uniform(0.01, 0.06))
                running = store.queue(BuildFilter(members={"status": "running"}))
                dead = [
                    str(build["id"])
                    for build in running
                    if time.monotonic() - self._started.get(build["id"], 1e9) > PATIENCE
                ]
                if not dead:
                    continue
                now = int(time.time())
                values: Values = {"status": "error", "error": "worker lost", "finished": now}
                fate = chance.random()
                try:
                    if fate < 0.4:
                        found = store.find(chance.choice(dead)).document
                        self.note([store.overwrite(found | values, options).revision])
                    elif fate < 0.6:
                        self.note(store.set(dead[:3], values, options).changed)
                    elif fate < 0.8:
                        self.note(store.clean(options=options, build_ids=dead[:3]).changed)
                    else:
                        repaired = store.revisions(limit=20)
                        one = chance.choice(repaired) if repaired else None
                        if one is not None and one.id is not None:
                            undone = store.undo(str(one.build_id), one.id, options)
                            self.note([undone.revision])
                            self._started[one.build_id] = time.monotonic()
                except BuildAdminError as error:
                    self.counts[type(error).__name__] += 1

    def hold(self, sender: Any, build: Any, **_: Any) -> None:
        """Note when an administrator holds the row."""
        self._held.__dict__[str(build.id)] = next(self._turns)

    def note(self, revisions: list[Revision]) -> None:
        for one in revisions:
            if one.changes:
                turn = self._held.__dict__[str(one.build_id)]
                values = {name: change["after"] for name, change in one.changes.items()}
                self.writes[one.build_id].append(Write(turn, values, one.id))
                self.counts["repairs"] += 1

    def watch(self) -> None:
        """List them as a monitor does, beside all that."""
        with self.store() as store:
            while not self.over:
                assert all(one.overwritten for one in store.revisions(overwritten=True))
                time.sleep(1)

    def run(self) -> None:
        count = 2 + WORKERS + ADMINISTRATORS
        with build_updating.connected_to(self.hold, self.sender), ThreadPoolExecutor(count) as pool:
            everybody = [pool.submit(self.schedule), pool.submit(self.watch)]
            everybody += [pool.submit(self.work, seed) for seed in range(WORKERS)]
            everybody += [pool.submit(self.administrate, seed) for seed in range(ADMINISTRATORS)]
        for one in everybody:
            one.result()


def replay(writes: list[Write]) -> tuple[Values, dict[int, Values]]:
    """Return what a build has in the end, and what does not stand of the repairs of it."""
    build: Values = {}
    repairs: dict[str, Write] = {}
    overwritten: dict[str, tuple[int, Values]] = {}
    for write in sorted(writes):
        for name, value in write.values.items():
            build[name] = value
            overwritten.pop(name, None)
            if write.revision is not None:
                repairs[name] = write
            elif name in repairs and (kept := repairs[name].values[name]) != value:
                number = repairs[name].revision or 0
                overwritten[name] = (number, {"before": kept, "after": value})
    found: dict[int, Values] = defaultdict(dict)
    for name, (number, change) in overwritten.items():
        found[number][name] = change
    return build, found


def test_overwritten_repairs_are_listed_and_no_others(
    make_host: MakeHost, database_url: str, record_property: Callable[[str, object], None]
) -> None:
    host = make_host(database_url, rows=[], history=BuildRevision)
    simulation = Simulation(database_url)
    simulation.run()
    expected: dict[int, Values] = {}
    for build_id, writes in simulation.writes.items():
        build, overwritten = replay(writes)
        row = host.row(build_id)
        assert {name: row[name] for name in build} == build  # or else the log is wrong
        expected |= overwritten
    with simulation.store() as store:
        listed = store.revisions(overwritten=True, limit=sys.maxsize)
    assert {one.id: one.overwritten for one in listed} == expected
    counts = simulation.counts | Counter(overwritten=len(expected))
    told = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
    record_property(f"simulation on {host.engine.dialect.name}", told)
    assert len(expected) > SECONDS / 10
    assert counts["repairs"] > 2 * len(expected) > 0
    simulation.engine.dispose()
