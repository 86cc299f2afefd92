"""Administrators who work at the same time: no accepted change is lost, and no two are mixed."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from tests.support.hosts import OCTOCAT
from tests.support.servers import (
    PATIENCE,
    Server,
    chain_of,
    change_and_undo,
    exchange,
    increment,
    serve,
)

CLIENTS = 8
ROUNDS = 60


@pytest.fixture(scope="module")
def served(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The example server on each database in turn."""
    with serve(database_url, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def clients() -> Iterator[ProcessPoolExecutor]:
    """As many processes as there are clients, none of which begins before all are there."""
    context = multiprocessing.get_context("forkserver")
    all_there = context.Barrier(CLIENTS)
    with ProcessPoolExecutor(CLIENTS, context, all_there.wait, (PATIENCE,)) as pool:
        yield pool


def test_no_accepted_change_is_lost(served: Server, clients: ProcessPoolExecutor) -> None:
    before = served.get().json
    seen: Counter[int] = Counter()
    for result in clients.map(increment, [served] * CLIENTS, [ROUNDS] * CLIENTS):
        seen += result
    assert served.get().json == before | {"parent": before["parent"] + seen[200]}
    assert seen.total() == CLIENTS * ROUNDS
    assert set(seen) <= {200, 412, 503}
    assert seen[412] >= ROUNDS
    # One accepted change can make stale what each of the others has fetched, and no more.
    assert seen[412] <= seen[200] * (CLIENTS - 1)


def written(halves: str) -> dict[str, Any]:
    """Make a build of which every text tells in which half of the members it belongs."""
    texts = [member for member, value in OCTOCAT.items() if isinstance(value, str)]
    middle = len(texts) // 2
    return OCTOCAT | {member: halves[number >= middle] * 20 for number, member in enumerate(texts)}


#: The first two differ in every text. Of the others, any two mixed make one that is none of these.
DOCUMENTS = [written(halves) for halves in ("aa", "bb", "cd", "ce", "fd")]


def test_puts_without_a_condition_do_not_interleave(
    served: Server, clients: ProcessPoolExecutor
) -> None:
    turns = [[*DOCUMENTS[n % 5 :], *DOCUMENTS[: n % 5]] * 5 for n in range(CLIENTS)]
    assert served.put(DOCUMENTS[0]).status == 200
    accepted = 0
    for results in clients.map(exchange, [served] * CLIENTS, turns):
        for document, put, fetched in results:
            assert {put.status, fetched.status} <= {200, 503}
            assert put.status == 503 or put.json == document
            assert fetched.status == 503 or fetched.json in DOCUMENTS
            accepted += put.status == 200
    assert served.get().json in DOCUMENTS
    assert accepted > 100


#: Changes that are to be made by all clients together.
CHANGES = 300


def test_every_change_begins_where_the_one_before_has_ended(
    served: Server, clients: ProcessPoolExecutor, database_url: str
) -> None:
    recorded = len(chain_of(database_url))
    tasks = [
        clients.submit(change_and_undo, served, OCTOCAT, client, CHANGES // CLIENTS + 1)
        for client in range(CLIENTS)
    ]
    seen = sum((task.result() for task in tasks), Counter[int]())
    assert set(seen) <= {200, 409, 503}
    assert seen[200] >= CHANGES
    chain = chain_of(database_url)
    assert len(chain) == recorded + seen[200]
    assert served.get().json == chain[-1][1]
