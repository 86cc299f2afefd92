"""The example server as it is deployed: by gunicorn, in several processes, asked over HTTP.

It imports nothing heavy: the client processes of the tests import it, too.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
TOKEN = "of-the-admin"
URL = "/api/v1/admin/build"

#: Seconds after which an answer, a start or a stop has failed, however busy the machine.
PATIENCE = 60


def wait_until(condition: Callable[[], object], every: float = 0.01) -> None:
    """Wait for a condition.

    :param every: seconds between two looks at it.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def next_page(self) -> str:
        """The path of the next page of a list; empty if there is none."""
        return self.headers.get("Link", "").removeprefix("<").partition(">")[0]


@dataclass(frozen=True)
class Server:
    """A running server, or the way to it for another process."""

    port: int
    log: Path
    workers: int

    def get(self, build_id: int = 1, **headers: str) -> Answer:
        return self._ask("GET", f"{URL}/{build_id}", headers=headers)

    def queue(self, query: str = "") -> Answer:
        return self._ask("GET", f"{URL}s/queue{query}")

    def revisions(self, build_id: int = 1, query: str = "") -> Answer:
        return self._ask("GET", f"{URL}/{build_id}/revisions{query}")

    def follow(self, page: Answer) -> Answer:
        """Fetch the next page of a list."""
        return self._ask("GET", page.next_page)

    def page(self, path: str) -> Answer:
        """Open one of the pages."""
        name = b64encode(f"admin:{TOKEN}".encode()).decode()
        return self._ask("GET", f"/admin/builds{path}", headers={"Authorization": f"Basic {name}"})

    def undo(self, revision: int, build_id: int = 1) -> Answer:
        return self._ask("POST", f"{URL}/{build_id}/revisions/{revision}/undo")

    def put(self, document: dict[str, Any], query: str = "", **headers: str) -> Answer:
        body = json.dumps(document)
        return self._ask("PUT", URL + query, body, {"Content-Type": "application/json"} | headers)

    def booted(self) -> list[int]:
        """Answer the process ids of all workers that ever were, the oldest first."""
        return [int(pid) for pid in re.findall(r"Booting worker.* (\d+)", self.log.read_text())]

    def ready(self) -> int:
        """Count the workers that ever were ready to serve: the server greets in each of them."""
        return self.log.read_text().count("bearer token")

    def causes(self) -> Counter[str]:
        """Count what the database did that was answered with 503, by the names in the log."""
        return Counter(re.findall(r"try again\. The cause: (\w+)", self.log.read_text()))

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with closing(connection):
            authorized = {"Authorization": f"Bearer {TOKEN}"} | (headers or {})
            connection.request(method, path, body, authorized)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())


@contextmanager
def serve(
    database_url: str, directory: Path, *options: str, workers: int = 4, **config: Any
) -> Iterator[Server]:
    """Run the example server.

    :param database_url: of a database that is empty, or that the server has used before.
    :param directory: for the log, and what else gunicorn wants to keep.
    :param options: of gunicorn, beside those that are always given.
    :param config: of the app.
    """
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "BUILD_ADMIN_TOKEN": TOKEN,
        "XDG_RUNTIME_DIR": str(directory),
    }
    # All workers at once would make the same tables.
    subprocess.run(
        [sys.executable, "-c", "import example_app; example_app.create_app()"],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    # The socket listens already, so the first request waits for the first worker.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1], directory / "gunicorn.log", workers)
        arguments = ["-w", f"{workers}", "-b", f"fd://{listener.fileno()}", *options]
        with server.log.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    *arguments,
                    f"example_app:create_app({config!r})",
                ],
                cwd=ROOT,
                env=environment,
                pass_fds=[listener.fileno()],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    try:
        assert server.get().status == 200, server.log.read_text()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _drop_tables(database_url)


def _drop_tables(database_url: str) -> None:
    import sqlalchemy as sa  # a client process needs none

    engine = sa.create_engine(database_url)
    tables = sa.MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    engine.dispose()


def increment(server: Server, rounds: int) -> Counter[int]:
    """Fetch the build, raise its ``parent`` by one and put it back, if nobody else did meanwhile.

    :returns: how often each status was answered.
    """
    seen: Counter[int] = Counter()
    for _ in range(rounds):
        fetched = server.get()
        answer = fetched
        if fetched.status == 200:
            build = fetched.json
            build["parent"] += 1
            answer = server.put(build, **{"If-Match": fetched.headers["ETag"]})
        seen[answer.status] += 1
    return seen


def change_and_undo(
    server: Server, document: dict[str, Any], client: int, changes: int
) -> Counter[int]:
    """Change the build, whatever the others do, and undo the newest change after every third.

    :param client: a number that makes the client's changes differ from those of the others.
    :param changes: how many of them have to be accepted.
    :returns: how often each status was answered.
    """
    seen: Counter[int] = Counter()
    for number in count():
        seen[server.put(document | {"title": f"{client}: {number}"}).status] += 1
        if number % 3 == 2:
            listed = server.revisions()
            if listed.status == 200:
                seen[server.undo(listed.json[0]["id"]).status] += 1
        if seen[200] >= changes:
            break
    return seen


def chain_of(database_url: str, build_id: int = 1) -> list[tuple[Any, Any]]:
    """Read all revisions of a build, and see that each begins where the one before has ended.

    :returns: the documents before and after each change.
    """
    import sqlalchemy as sa

    from example_app import BuildRevision

    engine = sa.create_engine(database_url)
    query = sa.select(BuildRevision.before, BuildRevision.after).order_by(BuildRevision.id)
    with engine.connect() as connection:
        revisions = connection.execute(query.filter_by(build_id=build_id))
        chain = [(row.before, row.after) for row in revisions]
    engine.dispose()
    for (_, ended), (begun, _) in pairwise(chain):
        assert begun == ended
    return chain


def exchange(
    server: Server, documents: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], Answer, Answer]]:
    """Put each document, whatever is stored, and fetch what is stored then.

    :returns: each document, what its put answered, and what was fetched.
    """
    return [(document, server.put(document), server.get()) for document in documents]
