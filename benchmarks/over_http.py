"""The contenders as they are deployed: by two processes of a server, under the load of wrk."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import NamedTuple

import sqlalchemy as sa

from example_app import Build

from .clients import HTTPClient
from .contenders import BLUEPRINT, CONTENDERS, HAND_WRITTEN, RIVALS, Contender
from .databases import Server
from .effort import Effort
from .hosts import PATH, REPAIRED_BUILDS, TOKEN, repairs, running
from .report import Goal, Table, written
from .turns import Turns, take_turns
from .verification import verify

#: More than there are processes, so that none of them waits for a request.
CONNECTIONS = 4

#: Seconds after which a start or a stop has failed.
PATIENCE = 30

COMMANDS = {
    "wsgi": "gunicorn --workers 2 --bind 127.0.0.1:{port} {target}",
    # gunicorn writes no log of the requests, so neither does uvicorn.
    "asgi": "uvicorn --workers 2 --port {port} --no-access-log {target}",
}


class OverHTTP(NamedTuple):
    """What was measured: requests per second."""

    turns: Turns[str]

    def tables(self) -> list[Table]:
        """Tell all of it."""
        fastest_first = sorted(CONTENDERS, key=lambda side: -self.turns.of(side.name).median)
        return [
            Table(
                "Over HTTP, on PostgreSQL",
                ("", "served by", "requests per second (quartiles)", "to hand-written"),
                [
                    (
                        side.name,
                        COMMANDS[side.interface].split()[0],
                        written(self.turns.of(side.name), 0),
                        written(self.turns.ratio(side.name, HAND_WRITTEN.name)),
                    )
                    for side in fastest_first
                ],
            )
        ]

    def goals(self) -> list[Goal]:
        """Tell what the blueprint is to reach."""
        fastest = max((rival.name for rival in RIVALS), key=lambda name: self.turns.of(name).median)
        first = self.turns.ratio(BLUEPRINT.name, fastest).median
        to_hand_written = self.turns.ratio(BLUEPRINT.name, HAND_WRITTEN.name).median
        return [
            Goal(f"HTTP: first of all, before {fastest}", first, 1, at_least=True),
            Goal(f"HTTP: requests, to {HAND_WRITTEN.name}", to_hand_written, 1.5, at_least=True),
        ]


def measure(server: Server, effort: Effort) -> OverHTTP:
    """Measure all contenders, on PostgreSQL."""
    with (
        TemporaryDirectory() as folder,
        server.database(REPAIRED_BUILDS) as url,
        ExitStack() as stack,
    ):
        bodies = Path(folder, "bodies")
        builds = [running(number) for number in range(1, REPAIRED_BUILDS + 1)]
        bodies.write_bytes(b"".join(request.body + b"\n" for request in repairs(builds)))
        ports = {
            contender.name: stack.enter_context(served(contender, url, Path(folder)))
            for contender in CONTENDERS
        }
        for name, port in ports.items():
            _await(port, Path(folder, name))
            verify(name, HTTPClient(port), url)
        sides = {
            name: partial(one_round, port, bodies, url, effort.seconds)
            for name, port in ports.items()
        }
        return OverHTTP(take_turns(sides, effort.server_rounds))


@contextmanager
def served(contender: Contender, url: str, folder: Path) -> Iterator[int]:
    """Serve a contender, and answer the port on which it will listen.

    :param folder: of the log, a file named as the contender is.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = COMMANDS[contender.interface].format(port=port, target=contender.target)
    with Path(folder, contender.name).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            env=os.environ | {"DATABASE_URL": url, "XDG_RUNTIME_DIR": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _await(port: int, log: Path) -> None:
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            sleep(0.1)
        else:
            return
    raise RuntimeError(log.read_text())


def one_round(port: int, bodies: Path, url: str, seconds: int) -> float:
    """Load a server, and answer its requests per second.

    :raises RuntimeError: not all were answered, and by 200.
    """
    _reset(url)
    script = Path(__file__).with_name("put.lua")
    command = [
        *("wrk", "--threads", "1", "--connections", f"{CONNECTIONS}", "--duration", f"{seconds}s"),
        *("--script", str(script), f"http://127.0.0.1:{port}{PATH}", "--", str(bodies), TOKEN),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests, microseconds, errors = map(int, output.splitlines()[-1].split())
    if errors or not requests:
        raise RuntimeError(output)
    return requests * 1_000_000 / microseconds


def _reset(url: str) -> None:
    """Let the builds be as they were, so that each put changes one."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    before = {name: running(1)[name] for name in ("status", "error", "finished")}
    with engine.begin() as connection:
        connection.execute(sa.update(Build).values(before))
