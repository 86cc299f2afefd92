"""Measure the blueprint beside the hand-written view, and beside itself with its history.

Both sides are called in this process as WSGI applications, in rounds that take turns. Only a ratio
of neighbouring rounds says anything: whatever else the machine does falls on both of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle, islice, product
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from flask import Blueprint, Flask
from werkzeug.test import EnvironBuilder

from example_app import Build, BuildRevision, db
from flask_build_admin import BuildAdmin

from . import hand_written
from .hosts import REPAIRED, RUNNING, TOKEN, make_app, token_auth

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
WARM_UP = 100  # requests of each side, before the first round


class Scenario(NamedTuple):
    """Requests to be sent in turn, and how fast they are to be answered."""

    name: str
    bodies: tuple[dict[str, Any], ...]
    #: Of every answer.
    status: int
    #: The greatest ratio of the first side's time to the second's, by database.
    goals: dict[str, float]
    sides: tuple[str, str] = ("blueprint", "hand-written")
    token: str = TOKEN

    def requests(self) -> Iterator[WSGIEnvironment]:
        """Answer one request after the other; they are built once, but for their streams."""
        built = []
        for body in self.bodies:
            builder = EnvironBuilder(
                path="/api/v1/admin/build",
                method="PUT",
                headers=[("Authorization", f"Bearer {self.token}")],
                content_type="application/json",
                data=(data := json.dumps(body).encode()),
            )
            built.append((builder.get_environ(), data))
        for environ, data in cycle(built):
            yield environ | {"wsgi.input": BytesIO(data)}


PARTIAL = {name: value for name, value in REPAIRED.items() if name != "finished"}
RECORDED = ("with history", "blueprint")
SCENARIOS = (
    Scenario("update", (REPAIRED, RUNNING), 200, {"sqlite": 0.72, "postgresql": 0.60}),
    Scenario("update", (REPAIRED, RUNNING), 200, {"sqlite": 1.35, "postgresql": 1.40}, RECORDED),
    Scenario("missing member", (PARTIAL,), 400, dict.fromkeys(DATABASES, 1.25)),
    Scenario("bad token", (REPAIRED,), 401, dict.fromkeys(DATABASES, 1.25), token="no-one's"),
)


class Measured(NamedTuple):
    """The seconds of every round of both sides."""

    first: list[float]
    second: list[float]

    @property
    def quartiles(self) -> list[float]:
        """The ratio of the first side's time to the second's: 25, 50, 75 per cent."""
        pairs = zip(self.first, self.second, strict=True)
        return quantiles((one / other for one, other in pairs), n=4, method="inclusive")


def call(app: Flask, environ: WSGIEnvironment, status: int) -> bytes:
    """Have a request answered to the last byte."""
    answered = []

    def start_response(line: str, headers: object, exc_info: object = None) -> Any:
        answered.append(int(line[:3]))

    chunks: Any = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        chunks.close()
    if answered != [status]:
        raise RuntimeError(f"{app.name} answered {answered}, not {status}: {body!r}")
    return body


def compare(apps: tuple[Flask, Flask], scenario: Scenario, rounds: int, size: int) -> Measured:
    """Send the same requests to both sides, ``size`` of them in each of their rounds."""
    measured = Measured([], [])
    sides = [(app, scenario.requests(), times) for app, times in zip(apps, measured, strict=True)]
    for app, requests, _ in sides:
        for environ, sent in zip(islice(requests, WARM_UP), cycle(scenario.bodies)):
            body = call(app, environ, scenario.status)
            if scenario.status == 200 and json.loads(body) != sent:
                raise RuntimeError(f"{app.name} answered another build than it was sent.")
    for _ in range(rounds):
        for app, requests, times in sides:
            gc.collect()
            gc.disable()
            start = perf_counter()
            for environ in islice(requests, size):
                call(app, environ, scenario.status)
            times.append((perf_counter() - start) / size)
            gc.enable()
    return measured


@contextmanager
def databases(name: str, url: str, durable: bool) -> Iterator[list[str]]:
    """Make a database for each side, to be dropped in the end."""
    if name == "sqlite":
        with TemporaryDirectory() as folder:
            yield [f"sqlite:///{folder}/{side}.db" for side in ("first", "second")]
        return
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    own = [f"benchmark_{os.getpid()}_{side}" for side in ("first", "second")]
    with server.connect() as connection:
        try:
            for database in own:
                connection.execute(sa.text(f"CREATE DATABASE {database}"))
                if not durable:
                    setting = f"ALTER DATABASE {database} SET synchronous_commit = off"
                    connection.execute(sa.text(setting))
            yield [
                server.url.set(database=database).render_as_string(hide_password=False)
                for database in own
            ]
        finally:
            for database in own:
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)"))


def make_side(side: str) -> Blueprint:
    """Make what serves the updates on one side."""
    if side == "hand-written":
        return hand_written.blueprint
    return BuildAdmin(
        Build,
        db.session,
        token_auth.login_required(role="admin"),
        history=BuildRevision if side == "with history" else None,
        actor=token_auth.current_user,
    )


@contextmanager
def both(
    sides: tuple[str, str], name: str, url: str, durable: bool
) -> Iterator[tuple[Flask, Flask]]:
    """Serve two sides, each from a database of its own."""
    with databases(name, url, durable) as (first, second):
        apps = (
            make_app(make_side(sides[0]), first, durable),
            make_app(make_side(sides[1]), second, durable),
        )
        try:
            yield apps
        finally:
            for app in apps:
                with app.app_context():
                    db.engine.dispose()


def main() -> int:
    """Print the table. With ``--check``, a goal that is missed makes the command fail."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="of each side (default: 40)")
    parser.add_argument("--requests", type=int, default=50, help="in a round (default: 50)")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument(
        "--url",
        default=os.environ.get("BENCHMARK_POSTGRESQL_URL", os.environ.get("TEST_POSTGRESQL_URL")),
        help="of a PostgreSQL server on which databases may be created"
        " (default: BENCHMARK_POSTGRESQL_URL or TEST_POSTGRESQL_URL of the environment)",
    )
    parser.add_argument(
        "--durable",
        action="store_true",
        help="let commits wait for the disk, which costs both sides the same and hides the rest",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    names = list(DATABASES) if options.database == "both" else [options.database]
    if "postgresql" in names and not options.url:
        parser.error("PostgreSQL needs --url; --database=sqlite does without.")

    if not options.durable:
        print("No commit waits for the disk: synchronous and synchronous_commit are off.")
    print(f"{'':58}first       second   ratio (quartiles)    goal")
    missed = 0
    for name, scenario in product(names, SCENARIOS):
        with both(scenario.sides, name, options.url, options.durable) as apps:
            measured = compare(apps, scenario, options.rounds, options.requests)
        low, ratio, high = measured.quartiles
        first, second = (median(times) * 1000 for times in measured)
        goal = scenario.goals[name]
        missed += ratio > goal
        print(
            f"{scenario.name:<16}{DATABASES[name]:<12}{' / '.join(scenario.sides):<26}"
            f"{first:6.3f} ms{second:10.3f} ms   {ratio:.2f} ({low:.2f} to {high:.2f})"
            f"  {goal:.2f}  {'MISSED' if ratio > goal else 'met'}",
            flush=True,
        )
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
