"""How an update grows: with the number of builds, with their size, with the length of a history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from typing import NamedTuple

import sqlalchemy as sa

from example_app import BuildRevision

from .clients import Client
from .contenders import BLUEPRINT, HAND_WRITTEN, WITH_HISTORY, Contender
from .databases import Server
from .effort import Effort
from .hosts import REPAIRED_BUILDS, Request, repairs, running
from .in_process import one_round
from .report import Goal, Table, milliseconds, written
from .turns import Turns, take_turns
from .workers import worker

#: The greatest ratio of the time among the most builds to that among the fewest.
FLAT = 1.15


class Axis(NamedTuple):
    """Something that grows."""

    #: The argument of ``Server.database`` that is varied.
    argument: str
    title: str
    sizes: tuple[int, ...]
    sides: tuple[Contender, ...] = (BLUEPRINT, HAND_WRITTEN)
    #: In the table, where not they are varied.
    builds: int = REPAIRED_BUILDS


BUILDS = Axis("builds", "builds in the table", (1_000, 10_000, 100_000, 1_000_000))
AXES = (
    BUILDS,
    Axis("message", "KiB of message in the build", (1, 10, 50, 200)),
    Axis("revisions", "revisions of the build", (0, 100, 10_000), (WITH_HISTORY,), builds=1),
)


class Growth(NamedTuple):
    """What was measured along one axis on one database, by the side's name and the size."""

    server: Server
    axis: Axis
    sizes: tuple[int, ...]
    turns: Turns[tuple[str, int]]

    def tables(self) -> list[Table]:
        """Tell all of it."""
        smallest = self.sizes[0]
        return [
            Table(
                f"Growth with the {self.axis.title}, on {self.server.title}",
                ("", "", "ms per update (quartiles)", f"to {smallest}"),
                [
                    (
                        f"{size:,}",
                        side.name,
                        milliseconds(self.turns.of((side.name, size))),
                        written(self.turns.ratio((side.name, size), (side.name, smallest))),
                    )
                    for side in self.axis.sides
                    for size in self.sizes
                ],
            )
        ]

    def goals(self) -> list[Goal]:
        """Tell what the blueprint is to reach."""
        if self.axis is not BUILDS:
            return []
        fewest, most = self.sizes[0], self.sizes[-1]
        grown = self.turns.undisturbed((BLUEPRINT.name, most), (BLUEPRINT.name, fewest))
        what = f"{self.server.title}: flat, {most:,} builds to {fewest:,}"
        return [Goal(what, grown, FLAT, robust=True)]


def measure(axis: Axis, server: Server, effort: Effort) -> Growth:
    """Measure all sides of one axis, at each size on a database of its own."""
    sizes = tuple(size for size in axis.sizes if size <= effort.largest)
    with ExitStack() as stack:
        sides = {}
        for size in sizes:
            seed = {"builds": axis.builds} | {axis.argument: size}
            url = stack.enter_context(server.database(**seed))
            # All over the table, and as many of them at each size.
            ids = range(1, seed["builds"] + 1, max(1, seed["builds"] // REPAIRED_BUILDS))
            builds = [running(build_id, seed.get("message", 0)) for build_id in ids]
            requests = cycle(repairs(builds))
            for side in axis.sides:
                client = stack.enter_context(worker(side, url, server.durable))
                sides[side.name, size] = partial(
                    _one_round, client, requests, effort.requests, url, seed.get("revisions", 0)
                )
        take_turns(sides, 2)  # to warm up
        return Growth(server, axis, sizes, take_turns(sides, effort.rounds))


def _one_round(
    client: Client, requests: Iterator[Request], size: int, url: str, revisions: int
) -> float:
    """Let the history be as long as it was, and send the next requests."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.delete(BuildRevision).where(BuildRevision.id > revisions))
    return one_round(client, requests, size)
