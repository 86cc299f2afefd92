"""The memory of a worker that lists what is as large as it may be."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from example_app import Build, BuildRevision
from tests.support.hosts import OCTOCAT
from tests.support.servers import Answer, Server, serve, wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024

#: The longest list by default, and the length of each message.
LONGEST = 8 * MIB
SIZE = 255_000

#: Python needs four bytes for each of its characters, because one of them needs four.
MESSAGE = "\U0001f389" + "m" * (SIZE - 4)

BUILDS = 1000
REVISIONS = 200


@pytest.fixture(scope="module")
def server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker, large builds and large revisions, on each database in turn."""
    with serve(database_url, tmp_path_factory.mktemp("server"), workers=1) as server:
        engine = sa.create_engine(database_url)
        with engine.begin() as connection:
            fill(connection)
        engine.dispose()
        yield server


def fill(connection: sa.Connection) -> None:
    if connection.dialect.name == "mysql":
        connection.exec_driver_sql("ALTER TABLE builds MODIFY message MEDIUMTEXT")
    large = OCTOCAT | {"status": "running", "message": MESSAGE}
    for number in range(2, BUILDS + 2):
        connection.execute(sa.insert(Build), large | {"id": number, "number": number})
    row = {
        "build_id": 1,
        "at": datetime.now(UTC),
        # Without an emoji: such revisions may need 20 MiB, as docs/operating.md says.
        "before": large | {"id": 1, "message": "m" * SIZE},
        "after": large | {"id": 1, "message": "n" * SIZE},
    }
    for _ in range(REVISIONS):
        connection.execute(sa.insert(BuildRevision), row)


class Worker:
    """The worker of a server, newly begun, as far as its memory is concerned."""

    def __init__(self, server: Server) -> None:
        ready = server.ready()
        os.kill(server.booted()[-1], signal.SIGTERM)
        wait_until(lambda: server.ready() > ready)
        self._folder = Path(f"/proc/{server.booted()[-1]}")

    def forget_peak(self) -> None:
        self._folder.joinpath("clear_refs").write_text("5")

    def memory(self, name: str) -> int:
        """Read how much is in memory, in bytes: now (VmRSS), or at most so far (VmHWM)."""
        status = self._folder.joinpath("status").read_text()
        return 1024 * int(re.findall(rf"^{name}:\s+(\d+) kB$", status, re.M)[0])


LISTS: dict[str, tuple[Callable[[Server, str], Answer], int, int]] = {
    "queue": (lambda server, query: server.queue(query), 1000, BUILDS),
    "revisions": (lambda server, query: server.revisions(1, query), 200, REVISIONS),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_needs_less_than_twice_its_length(
    server: Server, name: str, record_property: Callable[[str, object], None], database: str
) -> None:
    ask, most, count = LISTS[name]
    worker = Worker(server)
    assert len(ask(server, "?limit=1").json) == 1
    before = worker.memory("VmRSS")
    worker.forget_peak()
    page = ask(server, f"?limit={most}")
    seen = [one["id"] for one in page.json]
    lengths = [len(page.body)]
    while page.next_page:
        page = server.follow(page)
        seen += [one["id"] for one in page.json]
        lengths.append(len(page.body))
    grown = worker.memory("VmHWM") - before
    record_property(
        f"memory of a worker, {name} on {database}",
        f"{before / MIB:.1f} MiB, and at most {grown / MIB:.1f} MiB more for"
        f" {len(lengths)} pages of up to {max(lengths) / MIB:.1f} MiB",
    )
    assert seen == sorted({*seen}, reverse=True)
    assert len(seen) == count
    assert max(lengths) <= LONGEST
    assert min(lengths[:-1]) > LONGEST - 2 * SIZE - 10_000  # there was no room for another item
    assert grown < 2 * LONGEST


def test_the_page_of_the_queue_reads_no_more_than_it_shows(
    server: Server, record_property: Callable[[str, object], None], database: str
) -> None:
    worker = Worker(server)
    assert server.page("/?host=nowhere").status == 200
    before = worker.memory("VmRSS")
    worker.forget_peak()
    page = server.page("/")
    assert page.status == 200
    assert page.body.count(b"/admin/builds/") > 50
    grown = worker.memory("VmHWM") - before
    record_property(
        f"memory of a worker, the page of the queue on {database}", f"{grown / MIB:.1f} MiB more"
    )
    assert grown < 50 * SIZE / 2
