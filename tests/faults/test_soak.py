"""A long day of a server: administrators at a steady rate, while whatever can fail does.

It lasts ``SOAK_SECONDS``, 600 if that is not set; its figures are told after the tests.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
import sqlalchemy as sa

from example_app import Build
from tests.support.cluster import Cluster
from tests.support.faulting import WITNESSES, Faults
from tests.support.hosts import OCTOCAT
from tests.support.load import (
    ADMINISTRATORS,
    BUILDS,
    CHANGES,
    DOCUMENTED,
    RATE,
    Administrator,
    Outcome,
)
from tests.support.servers import chain_of, serve, wait_until

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("SOAK_SECONDS", "600"))

#: Seconds at the end without a fault, in the second half of which nothing may fail any more.
QUIET = 20

#: Seconds in which a worker warms up. Its memory is measured in as many after them, and at the end.
WARM_UP = SECONDS / 6

#: The part by which the memory of a worker may differ between the two.
GROWTH = 0.05


@dataclass
class Soak:
    """What has happened."""

    outcomes: list[Outcome]
    faults: Counter[str]
    #: Of an answer of 503, by the names that the database's driver has for them.
    causes: Counter[str]
    #: The second, and the kilobytes of each witness then.
    memory: list[tuple[float, list[int]]]
    #: Of each build: the documents before and after each change, and the row in the end.
    chains: dict[int, list[tuple[Any, Any]]]
    rows: dict[int, dict[str, Any]]

    def of(self, *kinds: str) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.kind in kinds]

    def last(self) -> list[Outcome]:
        """Answer those of the end, when nothing may fail any more."""
        return [outcome for outcome in self.outcomes if outcome.at > SECONDS - QUIET / 2]


def watch(pids: list[int], begin: float, end: float) -> Iterator[tuple[float, list[int]]]:
    """Measure every second the memory that processes have filled, shared with others or not."""
    while (now := time.monotonic()) < end:
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
        yield now - begin, [int(re.findall(r"^Anonymous: +(\d+)", one, re.M)[0]) for one in rollups]
        time.sleep(1)


@pytest.fixture(scope="module")
def soak(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Soak:
    with serve(cluster.url, tmp_path_factory.mktemp("soak")) as server:
        with cluster.engine.begin() as connection:
            others = [OCTOCAT | {"id": number, "number": number} for number in BUILDS[1:]]
            connection.execute(sa.insert(Build), others)
        wait_until(lambda: server.ready() == server.workers)
        witnesses = server.booted()[:WITNESSES]
        begin = time.monotonic()
        end = begin + SECONDS
        with ThreadPoolExecutor(ADMINISTRATORS + 2) as threads:
            watching = threads.submit(lambda: [*watch(witnesses, begin, end)])
            injecting = threads.submit(Faults(server, cluster).inject, end - QUIET)
            working = [
                threads.submit(Administrator(server, number).work, begin, end)
                for number in range(ADMINISTRATORS)
            ]
        with cluster.engine.connect() as connection:
            rows = connection.execute(sa.select(Build.__table__)).all()
        return Soak(
            [*chain.from_iterable(task.result() for task in working)],
            injecting.result(),
            server.causes(),
            watching.result(),
            {build_id: chain_of(cluster.url, build_id) for build_id in BUILDS},
            {row.id: dict(row._mapping) for row in rows},
        )


def test_the_rate_is_kept(soak: Soak, record_property: Callable[[str, object], None]) -> None:
    record_property("soak", told(soak))
    # What the faults have held up is done by then: whatever is due is sent and answered at once.
    assert median(outcome.seconds for outcome in soak.last()) < 0.1


def test_every_fault_has_happened(soak: Soak) -> None:
    assert soak.faults.keys() == {
        "connections terminated",
        "deadlocks",
        "workers killed",
        "databases restarted",
    }
    # … and was felt.
    assert soak.causes.keys() >= {"AdminShutdown", "DeadlockDetected", "OperationalError"}


def test_no_answer_but_those_documented(soak: Soak) -> None:
    answered = [outcome for outcome in soak.outcomes if outcome.status is not None]
    assert [one for one in answered if one.status not in DOCUMENTED[one.kind]] == []
    assert [one for one in answered if not one.formed] == []
    assert {one.status for one in answered} == set().union(*DOCUMENTED.values())


def test_a_connection_breaks_only_with_its_worker(soak: Soak) -> None:
    broken = [outcome for outcome in soak.outcomes if outcome.status is None]
    # A worker serves one request at a time.
    assert len(broken) <= soak.faults["workers killed"]


def test_everything_is_served_again_when_the_faults_are_over(soak: Soak) -> None:
    assert {outcome.kind for outcome in soak.last()} == DOCUMENTED.keys()
    assert {outcome.status for outcome in soak.last()} <= {200, 304, 409, 412}


@pytest.mark.parametrize("build_id", BUILDS)
def test_every_accepted_change_is_recorded(soak: Soak, build_id: int) -> None:
    asked = [one for one in soak.of(*CHANGES) if one.build_id == build_id]
    accepted = Counter(plain(one.document for one in asked if one.status == 200))
    recorded = Counter(plain(after for _, after in soak.chains[build_id]))
    assert accepted.total() > SECONDS
    assert accepted <= recorded
    # A connection to the database, or a worker, may be lost after the commit.
    unknown = [one for one in asked if one.status in (503, None)]
    assert recorded.total() - accepted.total() <= len(unknown)


@pytest.mark.parametrize("build_id", BUILDS)
def test_whatever_was_fetched_was_recorded(soak: Soak, build_id: int) -> None:
    begun = OCTOCAT | {"id": build_id, "number": build_id}
    chain = soak.chains[build_id]
    fetched = [one.document for one in soak.of("fetch") if one.build_id == build_id]
    states = {*plain([begun, *(after for _, after in chain)])}
    assert {*plain(document for document in fetched if document)} <= states
    assert chain[0][0] == begun
    assert chain[-1][1] == soak.rows[build_id]


def test_the_memory_of_a_worker_stays(soak: Soak) -> None:
    for former, latter in levels(soak):
        assert abs(latter - former) <= GROWTH * former


def plain(documents: Iterable[Any]) -> Iterator[str]:
    """Make documents comparable as such, whatever the order of their members."""
    return (json.dumps(document, sort_keys=True) for document in documents)


def levels(soak: Soak) -> list[tuple[float, float]]:
    """Answer the memory of each witness after it has warmed up, and at the end."""
    former = [sizes for at, sizes in soak.memory if WARM_UP <= at < 2 * WARM_UP]
    latter = [sizes for at, sizes in soak.memory if at >= SECONDS - WARM_UP]
    return [
        (median(sizes[witness] for sizes in former), median(sizes[witness] for sizes in latter))
        for witness in range(WITNESSES)
    ]


def told(soak: Soak) -> str:
    """Tell the figures."""
    lines = [
        f"{SECONDS} s, {RATE} errands/s; {len(soak.outcomes) / SECONDS:.1f} requests/s answered",
        f"faults: {listed(soak.faults)}",
        f"answered with 503 for: {listed(soak.causes)}",
        f"revisions: {sum(map(len, soak.chains.values()))}",
        *(
            f"memory of a worker: {a / 1024:.1f} MiB, then {b / 1024:.1f} MiB"
            for a, b in levels(soak)
        ),
        "",
        "| request | sent | answered | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    for kind in DOCUMENTED:
        outcomes = soak.of(kind)
        percentiles = quantiles([1000 * outcome.seconds for outcome in outcomes], n=100)
        statuses = Counter(str(outcome.status or "broken") for outcome in outcomes)
        lines.append(
            f"| {kind} | {len(outcomes)} | {listed(statuses)}"
            f" | {percentiles[49]:.1f} | {percentiles[98]:.1f} |"
        )
    return "\n".join(lines)


def listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items()))
