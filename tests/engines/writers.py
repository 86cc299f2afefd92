"""Eight administrators who write at once, and what has to be found in the database afterwards."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

import sqlalchemy as sa

from tests.support.hosts import OCTOCAT, BuildRevision, Host

WRITERS, BUILDS = 8, (1, 2, 3, 4)

#: What a writer may be answered, whatever becomes of the servers.
DOCUMENTED = {200, 409, 412, 503}

ROWS = [OCTOCAT | {"id": number, "number": number} for number in BUILDS]


@dataclass
class Outcome:
    """What the writers were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    #: The reasons of the changes that were accepted; each reason is used once.
    accepted: set[str] = field(default_factory=set)
    #: Those of the changes that may have been stored.
    doubtful: set[str] = field(default_factory=set)
    #: When a change was accepted, in seconds of the monotonic clock.
    times: list[float] = field(default_factory=list)

    def longest_outage(self) -> float:
        """Return the longest time between two accepted changes, in seconds."""
        return max((after - before for before, after in pairwise(sorted(self.times))), default=0.0)

    def summary(self) -> str:
        counts = ", ".join(f"{status}: {self.statuses[status]}" for status in sorted(self.statuses))
        return f"{counts}; at most {self.longest_outage():.1f} s without an accepted change"


def write(
    hosts: Sequence[Host], seconds: float, meanwhile: Callable[[], Any] = lambda: None
) -> Outcome:
    """Let eight writers fetch, edit, put with ``If-Match`` and undo, while something happens.

    :param hosts: the first writer uses the first, and so on, round and round.
    :param seconds: how long they write, at least until ``meanwhile`` has ended.
    """
    outcome = Outcome()
    running = [True]

    def run(writer: int) -> None:
        host = hosts[writer % len(hosts)]
        for number in count():
            if not running[0]:
                return
            build_id = BUILDS[(writer + number) % len(BUILDS)]
            reason = f"{writer}: {number}"
            answer: Any = host.get(build_id)
            if answer.status_code == 200 and number % 4 == 3:
                answer = host.revisions(build_id)
                if answer.status_code == 200 and answer.json:
                    newest = answer.json[0]["id"]
                    answer = host.undo(newest, build_id, query_string={"reason": reason})
                    note(answer.status_code, reason)
                    continue
            elif answer.status_code == 200:
                headers = {"If-Match": answer.headers["ETag"]}
                document = answer.json | {"title": reason}
                answer = host.put(document, headers=headers, query_string={"reason": reason})
                note(answer.status_code, reason)
                continue
            outcome.statuses[answer.status_code] += 1

    def note(status: int, reason: str) -> None:
        outcome.statuses[status] += 1
        if status == 200:
            outcome.accepted.add(reason)
            outcome.times.append(time.monotonic())
        elif status == 503:
            outcome.doubtful.add(reason)

    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(run, writer) for writer in range(WRITERS)]
        try:
            begun = time.monotonic()
            meanwhile()
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
        finally:
            running[0] = False
        for one in writers:
            one.result()
    return outcome


def assert_nothing_is_lost(outcome: Outcome, engine: sa.Engine) -> None:
    """Look up each accepted change, and see that each begins where the one before has ended.

    :param engine: of the server that everybody believes now.
    """
    assert {*outcome.statuses} <= DOCUMENTED, outcome.statuses
    assert len(outcome.accepted) >= 10, outcome.statuses
    with engine.connect() as connection:
        revisions = connection.execute(
            sa.select(BuildRevision.__table__).order_by(BuildRevision.id)
        ).all()
        rows = {
            row["id"]: dict(row)
            for row in connection.execute(sa.select(sa.table("builds", *map(sa.column, OCTOCAT))))
            .mappings()
            .all()
        }
    stored = {one.reason for one in revisions}
    assert outcome.accepted - stored == set(), "accepted, and lost"
    assert stored - outcome.accepted - outcome.doubtful == set(), "stored, and refused"
    chains: defaultdict[int, list[Any]] = defaultdict(list)
    for one in revisions:
        chains[one.build_id].append(one)
    for build_id, chain in chains.items():
        for before, after in pairwise(chain):
            assert after.before == before.after
        assert chain[-1].after == rows[build_id]


__all__ = ["ROWS", "Outcome", "assert_nothing_is_lost", "write"]
