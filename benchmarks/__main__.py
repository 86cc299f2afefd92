"""Measure the blueprint beside the field: the same update, made by all of them.

In process on SQLite and PostgreSQL, over HTTP on PostgreSQL, and how its time grows. The sides take
turns in rounds, and the ratio of two sides is taken within each round.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

from . import floor, growth, in_process, over_http, page
from .contenders import CONTENDERS
from .databases import NAMES, Server
from .effort import FULL, QUICK
from .report import Goal, Table, goal_table

PARTS = ("in-process", "floor", "over-http", "growth")

#: What several of the contenders stand on.
COMMON = (
    *("Flask", "Flask-SQLAlchemy", "Flask-HTTPAuth", "SQLAlchemy", "marshmallow", "psycopg"),
    *("gunicorn", "uvicorn", "uvloop", "httptools"),
)


class Part(Protocol):
    """Something that was measured."""

    def tables(self) -> list[Table]:
        """Tell all of it."""

    def goals(self) -> list[Goal]:
        """Tell what the blueprint is to reach."""


Measured = TypeVar("Measured", bound=Part)


def main() -> int:
    """Measure, and print the tables. With ``--check``, a goal that is missed fails the command."""
    options = read_options()
    busy = os.getloadavg()[0]
    effort = QUICK if options.quick else FULL
    effort = effort._replace(
        rounds=options.rounds or effort.rounds,
        server_rounds=options.server_rounds or effort.server_rounds,
    )
    names = NAMES if options.database == "both" else [options.database]
    servers = [Server(name, options.url, options.durable) for name in names]
    if not options.durable:
        print("No commit waits for the disk: synchronous and synchronous_commit are off.\n")

    called, layered, served, grown = [], [], [], []
    if "in-process" in options.parts:
        called = [show(in_process.measure(server, effort)) for server in servers]
    if "floor" in options.parts:
        layered = [show(floor.measure(server, effort)) for server in servers]
    if "over-http" in options.parts:
        on_postgresql = [server for server in servers if server.name == "postgresql"]
        served = [show(over_http.measure(server, effort)) for server in on_postgresql]
    if "growth" in options.parts:
        axes = [growth.BUILDS] if options.quick else growth.AXES  # the one that has a goal
        measure = growth.measure
        grown = [show(measure(axis, server, effort)) for axis in axes for server in servers]

    parts: list[Part] = [*called, *layered, *served, *grown]
    goals = [goal for part in parts for goal in part.goals()]
    ends = [goal_table(goals), circumstances(servers, busy)]
    for table in ends:
        print(table.text(), end="\n\n")
    if options.write:
        tables = [table for part in parts for table in part.tables()]
        page.write(options.write, [*tables, *ends], called, served[0], grown)
    missed = [goal for goal in goals if not goal.met and (goal.robust or not options.quick)]
    return 1 if missed and options.check else 0


def read_options() -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, help="default: all; of --quick, none over HTTP"
    )
    parser.add_argument("--database", choices=[*NAMES, "both"], default="both")
    parser.add_argument(
        "--url",
        default=os.environ.get("BENCHMARK_POSTGRESQL_URL", os.environ.get("TEST_POSTGRESQL_URL")),
        help="of a PostgreSQL server on which databases may be created"
        " (default: BENCHMARK_POSTGRESQL_URL or TEST_POSTGRESQL_URL of the environment)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure little, within a minute, without wrk"
    )
    parser.add_argument("--rounds", type=int, help=f"in process (default: {FULL.rounds})")
    parser.add_argument(
        "--server-rounds", type=int, help=f"over HTTP (default: {FULL.server_rounds})"
    )
    parser.add_argument(
        "--durable",
        action="store_true",
        help="let commits wait for the disk, which costs all sides the same and hides the rest",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if a goal is missed; of --quick, one that can be told by so little",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the tables into a page, and a plot beside it",
    )
    options = parser.parse_args()
    quick = [part for part in PARTS if part != "over-http"]
    options.parts = options.parts or (quick if options.quick else PARTS)
    if options.database != "sqlite":
        if not options.url:
            parser.error("PostgreSQL needs --url; --database=sqlite does without.")
        if "over-http" in options.parts and not shutil.which("wrk"):
            parser.error("Over HTTP the load is made by wrk: install it, or leave out that part.")
    if options.write and (options.database != "both" or {*options.parts} != {*PARTS}):
        parser.error("--write takes all parts, on both databases.")
    return options


def show(measured: Measured) -> Measured:
    """Print what was measured as soon as it is."""
    for table in measured.tables():
        print(table.text(), end="\n\n", flush=True)
    return measured


def circumstances(servers: list[Server], busy: float) -> Table:
    """Tell what was measured, and on what.

    :param busy: how many processes wanted to run when it began.
    """
    rivals = [name for contender in CONTENDERS for name in contender.distributions]
    rows = [
        ("processors", f"{os.cpu_count()}"),
        ("load average before", f"{busy:.1f}"),
        ("Python", platform.python_version()),
        *((server.title, server.version()) for server in servers),
        *((name, version(name)) for name in (*COMMON, *rivals)),
    ]
    return Table("Circumstances", ("", ""), rows)


if __name__ == "__main__":
    sys.exit(main())
