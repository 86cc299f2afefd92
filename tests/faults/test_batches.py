"""Many builds at once, under load: workers that finish them meanwhile, kill -9, time and memory."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_build_admin.store import BuildFilter, BuildStore, ChangeOptions
from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, BuildRevision, Host

MakeHost = Callable[..., Host]

pytestmark = pytest.mark.slow

COUNT = 400
WORKERS = 6

TABLE: Any = Build.__table__


def rows(count: int, **members: Any) -> list[dict[str, Any]]:
    """Make builds that are stuck; every second has NULLs."""
    stuck = OCTOCAT | {"status": "running", "created": 1_700_000_000, "error": ""}
    nulls = {"finished": None, "deploy": None}
    return [
        stuck | {"id": n, "number": n, "finished": 0} | (nulls if n % 2 else {}) | members
        for n in range(1, count + 1)
    ]


@contextmanager
def store_on(url: str) -> Iterator[BuildStore]:
    """Open a store of its own, as another process has it."""
    engine = sa.create_engine(url)
    session = scoped_session(sessionmaker(engine))
    try:
        yield BuildStore(Build, session, history=BuildRevision)
    finally:
        session.remove()
        engine.dispose()


def clean_all(url: str, batch: str) -> Counter[str]:
    """Clean until nothing is left, and count what became of the builds."""
    seen: Counter[str] = Counter()
    with store_on(url) as store:
        while store.queue(limit=1):
            result = store.clean(options=ChangeOptions(batch=batch), limit=50)
            seen["cleaned"] += len(result.changed)
            seen.update(one.problem for one in result.failed)
    return seen


def finish_some(url: str, seed: int) -> set[int]:
    """Finish builds as a worker does, as long as there are any; list which."""
    engine = sa.create_engine(url)
    chance = random.Random(seed)
    finished: set[int] = set()
    one = sa.update(TABLE).where(TABLE.c.id == sa.bindparam("its"), TABLE.c.status == "running")
    unfinished = sa.select(TABLE.c.id).where(TABLE.c.status == "running")
    while True:
        with engine.connect() as connection:
            left = connection.scalars(unfinished).all()
        if not left:
            engine.dispose()
            return finished
        build_id = chance.choice(left)
        try:
            with engine.begin() as connection:
                values = {"status": "success", "finished": 7}
                done = connection.execute(one.values(values), {"its": build_id}).rowcount
        except sa.exc.OperationalError:  # locked for too long, or a deadlock
            continue
        if done:
            finished.add(build_id)


def test_two_cleans_and_six_workers_at_the_same_time(
    make_host: MakeHost, database_url: str
) -> None:
    before = {row["id"]: row for row in rows(COUNT)}
    host = make_host(database_url, rows=[*before.values()], history=BuildRevision)
    context = multiprocessing.get_context("forkserver")
    all_there = context.Barrier(WORKERS + 2)  # none begins before all are there
    with context.Pool(WORKERS + 2, all_there.wait, (60,)) as pool:
        cleans = [pool.apply_async(clean_all, (database_url, batch)) for batch in ("one", "two")]
        workers = [pool.apply_async(finish_some, (database_url, n)) for n in range(WORKERS)]
        finished = [one.get(120) for one in workers]
        cleaned = [one.get(120) for one in cleans]
    of_workers = set().union(*finished)
    assert sum(map(len, finished)) == len(of_workers)
    of_cleans = {*before} - of_workers
    assert of_workers
    assert of_cleans
    assert sum(one["cleaned"] for one in cleaned) == len(of_cleans)
    assert {*(problem for one in cleaned for problem in one)} <= {
        "cleaned",
        "The database cannot answer now: try again.",
    }
    for build_id in of_workers:
        assert host.row(build_id) == before[build_id] | {"status": "success", "finished": 7}
    recorded = host.recorded()
    assert sorted(one["build_id"] for one in recorded) == sorted(of_cleans)
    assert {one["batch"] for one in recorded} <= {"one", "two"}
    for one in recorded:
        assert one["before"] == before[one["build_id"]]
        assert one["after"]["status"] == host.row(one["build_id"])["status"] == "error"
    late = next(iter(of_cleans))  # a worker that is not dead after all
    host.execute("UPDATE builds SET status = 'success' WHERE id = :id", id=late)
    undone, left = 0, []
    for batch in sorted({one["batch"] for one in recorded}):
        answer: Any = host.client.post(
            f"{URL.removesuffix('/build')}/revisions/undo?batch={batch}", headers=ADMIN
        )
        undone += answer.json["undone"]
        left += [one["build_id"] for one in answer.json["left"]]
    assert (undone, left) == (len(of_cleans) - 1, [late])
    for build_id in of_cleans - {late}:
        assert host.row(build_id) == before[build_id]
    assert len(host.recorded()) == len(recorded) + undone


def clean_and_tell(url: str, connection: Any) -> None:
    """Clean all, and say after each build that it is done."""
    with store_on(url) as store:
        store.clean(
            options=ChangeOptions(batch="killed"), on_progress=lambda: connection.send_bytes(b".")
        )


def test_a_clean_that_is_killed_is_whole_as_far_as_it_is(
    make_host: MakeHost, database_url: str
) -> None:
    before = {row["id"]: row for row in rows(COUNT)}
    host = make_host(database_url, rows=[*before.values()], history=BuildRevision)
    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=clean_and_tell, args=(database_url, writer))
    process.start()
    for _ in range(COUNT // 4):
        reader.recv_bytes()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = {one["build_id"]: one for one in host.recorded()}
    assert COUNT // 4 <= len(done) < COUNT
    for build_id, row in before.items():
        now = host.row(build_id)
        if build_id in done:
            assert done[build_id]["batch"] == "killed"
            assert now["status"] == "error"
            assert done[build_id]["after"] == now
        else:
            assert now == row
    again: Any = host.client.put(f"{URL.removesuffix('/build')}/clean?batch=killed", headers=ADMIN)
    assert again.json == f"{COUNT - len(done)} builds cleaned."
    batch = [one["build_id"] for one in host.recorded() if one["batch"] == "killed"]
    assert sorted(batch) == [*before]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_a_clean_takes_less_than_half_as_long_as_puts(
    make_host: MakeHost, database_url: str, record_property: Callable[[str, object], None]
) -> None:
    host = make_host(database_url, rows=rows(1000), history=BuildRevision)
    stuck = {"status": "running", "finished": 0, "error": ""}
    cleaned = [row | {"status": "error", "finished": 7, "error": "x"} for row in rows(1000)]

    def put_all() -> None:
        for document in cleaned:
            document |= {"deploy": document["deploy"] or ""}
            assert host.put(document).status_code == 200

    def clean_them() -> None:
        answer = host.client.put(f"{URL.removesuffix('/build')}/clean", headers=ADMIN)
        assert answer.json == "1000 builds cleaned."

    of_puts = seconds(put_all)
    with host.engine.begin() as connection:
        connection.execute(sa.update(TABLE).values(stuck))
    ratio = seconds(clean_them) / of_puts
    record_property(f"a clean to puts, on {host.engine.dialect.name}", f"{ratio:.2f}")
    assert ratio <= 0.5


#: As many builds as copies of one are made of it by one statement.
MANY = 1_000_000


#: What counts from 2 on, on each database.
NUMBERS = {
    "postgresql": "SELECT i FROM generate_series(2, {count}) AS i",
    "mysql": "SELECT seq AS i FROM seq_2_to_{count}",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    " SELECT i FROM n",
}

#: What is not as in the first build.
OWN = {
    "id": "n.i",
    "number": "n.i",
    "status": "CASE WHEN n.i % 10 = 0 THEN 'running' ELSE 'success' END",
    "host": "CASE WHEN n.i <= 400 THEN 'worker-7' ELSE 'worker-8' END",
}


def fill(host: Host, count: int) -> None:
    """Copy the build by one statement: to finished builds, and some that run."""
    dialect = host.engine.dialect
    quote = dialect.identifier_preparer.quote
    names = {column.name: quote(column.name) for column in TABLE.columns}
    values = [OWN.get(name, f"b.{quoted}") for name, quoted in names.items()]
    numbers = NUMBERS[dialect.name].format(count=count)
    with host.engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO builds ({', '.join(names.values())})"
            f" SELECT {', '.join(values)} FROM builds b, ({numbers}) n WHERE b.id = 1".replace(
                "%", "%%" if dialect.name != "sqlite" else "%"
            )
        )
        connection.exec_driver_sql("CREATE INDEX by_host ON builds (status, host)")
        if dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE builds")


def test_a_queue_of_one_host_is_as_fast_with_a_million_builds(
    make_host: MakeHost, database_url: str, record_property: Callable[[str, object], None]
) -> None:
    best = {}
    for count in (1000, MANY):
        host = make_host(database_url)
        fill(host, count)

        def ask(host: Host = host) -> None:
            answer: Any = host.client.get(f"{URL}s/queue?host=worker-7", headers=ADMIN)
            assert len(answer.json) == 40

        best[count] = min(seconds(ask) for _ in range(20))
    ratio = best[MANY] / best[1000]
    record_property(f"a queue of a million, on {host.engine.dialect.name}", f"{ratio:.2f}")
    assert ratio <= 3  # without the index it is a hundred times as long


def test_the_memory_of_a_clean_does_not_grow_with_the_builds(
    make_host: MakeHost, sqlite_url: str
) -> None:
    message = "m" * 200_000
    peaks = {}
    for count in (40, 200):
        host = make_host(sqlite_url, rows=rows(count, message=message), history=BuildRevision)
        host.get()
        tracemalloc.start()
        result = host.blueprint.store.clean(BuildFilter())
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(result.changed) == count
        del result
    assert peaks[200] < 1.2 * peaks[40]
