"""Measure the blueprint beside the hand-written view, and print how their times compare.

Both are called in this process as WSGI applications, in rounds that take turns. Only a ratio of
neighbouring rounds says anything: whatever else the machine does falls on both of them.
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
from itertools import cycle, islice
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import EnvironBuilder

from example_app import Build, db
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
    #: The greatest ratio of the blueprint's time to the hand-written view's, by database.
    goals: dict[str, float]
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
SCENARIOS = (
    Scenario("update", (REPAIRED, RUNNING), 200, {"sqlite": 0.72, "postgresql": 0.60}),
    Scenario("missing member", (PARTIAL,), 400, dict.fromkeys(DATABASES, 1.25)),
    Scenario("bad token", (REPAIRED,), 401, dict.fromkeys(DATABASES, 1.25), token="no-one's"),
)


class Measured(NamedTuple):
    """The seconds of every round of both sides."""

    blueprint: list[float]
    hand_written: list[float]

    @property
    def quartiles(self) -> list[float]:
        """The ratio of the blueprint's time to the hand-written view's: 25, 50, 75 per cent."""
        pairs = zip(self.blueprint, self.hand_written, strict=True)
        return quantiles((own / other for own, other in pairs), n=4, method="inclusive")


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
    sides = ["blueprint", "hand_written"]
    if name == "sqlite":
        with TemporaryDirectory() as folder:
            yield [f"sqlite:///{folder}/{side}.db" for side in sides]
        return
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    own = [f"benchmark_{os.getpid()}_{side}" for side in sides]
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


@contextmanager
def both(name: str, url: str, durable: bool) -> Iterator[tuple[Flask, Flask]]:
    """Serve the blueprint and the hand-written view, each from a database of its own."""
    auth = token_auth.login_required(role="admin")
    admin = BuildAdmin(Build, db.session, auth, actor=token_auth.current_user)
    with databases(name, url, durable) as (first, second):
        apps = (
            make_app(admin, first, durable),
            make_app(hand_written.blueprint, second, durable),
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
    print(f"{'':31}{'blueprint':>12}{'hand-written':>14}   ratio (quartiles)    goal")
    missed = 0
    for name in names:
        with both(name, options.url, options.durable) as apps:
            for scenario in SCENARIOS:
                measured = compare(apps, scenario, options.rounds, options.requests)
                low, ratio, high = measured.quartiles
                own, other = (median(times) * 1000 for times in measured)
                goal = scenario.goals[name]
                missed += ratio > goal
                print(
                    f"{scenario.name:<16}{DATABASES[name]:<15}{own:9.3f} ms{other:11.3f} ms"
                    f"   {ratio:.2f} ({low:.2f} to {high:.2f})  {goal:.2f}"
                    f"  {'MISSED' if ratio > goal else 'met'}",
                    flush=True,
                )
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
