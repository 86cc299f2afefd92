"""The contenders without a server, called as one calls them; and what they send to the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from typing import NamedTuple

from .clients import Client
from .contenders import BLUEPRINT, CONTENDERS, HAND_WRITTEN, RIVALS, WITH_HISTORY, Contender
from .databases import Server
from .effort import Effort
from .hosts import REPAIRED_BUILDS, Request, repairs, running
from .report import Goal, Table, milliseconds, written
from .turns import Turns, take_turns
from .verification import verify
from .workers import worker

BUILDS = [running(number) for number in range(1, REPAIRED_BUILDS + 1)]
UPDATES = repairs(BUILDS)
PARTIAL = {name: value for name, value in BUILDS[0].items() if name != "finished"}


class Scenario(NamedTuple):
    """Requests that sides answer in turn."""

    name: str
    sides: tuple[Contender, ...]
    #: The side that the others are measured by.
    measure: Contender
    requests: list[Request]
    #: Of every answer.
    status: int
    #: The greatest ratio of the first side's time to the measure's, by database.
    goal: dict[str, float]


UPDATE = Scenario(
    "update", CONTENDERS, HAND_WRITTEN, UPDATES, 200, {"sqlite": 0.67, "postgresql": 0.58}
)
BESIDE = (
    Scenario(
        "update",
        (WITH_HISTORY, BLUEPRINT),
        BLUEPRINT,
        UPDATES,
        200,
        {"sqlite": 1.35, "postgresql": 1.40},
    ),
    Scenario(
        "missing member",
        (BLUEPRINT, HAND_WRITTEN),
        HAND_WRITTEN,
        [Request(PARTIAL)],
        400,
        {"sqlite": 1.25, "postgresql": 1.25},
    ),
    Scenario(
        "bad token",
        (BLUEPRINT, HAND_WRITTEN),
        HAND_WRITTEN,
        [Request(BUILDS[0], "no-one's")],
        401,
        {"sqlite": 1.25, "postgresql": 1.25},
    ),
)


class InProcess(NamedTuple):
    """What was measured on one database."""

    server: Server
    update: Turns[str]
    beside: list[Turns[str]]
    #: Of one update of each contender.
    statements: dict[str, list[str]]

    def tables(self) -> list[Table]:
        """Tell all of it."""
        title = self.server.title
        fastest_first = sorted(self.update.measured, key=lambda name: self.update.of(name).median)
        return [
            Table(
                f"In process, on {title}",
                ("", "ms per update (quartiles)", "to hand-written", "statements"),
                [
                    (
                        name,
                        milliseconds(self.update.of(name)),
                        written(self.update.ratio(name, UPDATE.measure.name)),
                        f"{len(self.statements[name])}: {' '.join(self.statements[name])}",
                    )
                    for name in fastest_first
                ],
            ),
            Table(
                f"Beside itself and the hand-written view, on {title}",
                ("", "", "ms (quartiles)", "beside", "ms (quartiles)", "ratio"),
                [
                    (
                        scenario.name,
                        scenario.sides[0].name,
                        milliseconds(turns.of(scenario.sides[0].name)),
                        scenario.measure.name,
                        milliseconds(turns.of(scenario.measure.name)),
                        written(turns.ratio(scenario.sides[0].name, scenario.measure.name)),
                    )
                    for scenario, turns in zip(BESIDE, self.beside, strict=True)
                ],
            ),
        ]

    def goals(self) -> list[Goal]:
        """Tell what the blueprint is to reach."""
        title = self.server.title
        fastest = min(
            (rival.name for rival in RIVALS), key=lambda name: min(self.update.measured[name])
        )
        first = self.update.undisturbed(BLUEPRINT.name, fastest)
        return [
            Goal(f"{title}, update: first of all, before {fastest}", first, 1, robust=True),
            *(
                Goal(
                    f"{title}, {scenario.name}: {scenario.sides[0].name} / {scenario.measure.name}",
                    turns.ratio(scenario.sides[0].name, scenario.measure.name).median,
                    scenario.goal[self.server.name],
                )
                for scenario, turns in zip(
                    (UPDATE, *BESIDE), (self.update, *self.beside), strict=True
                )
            ),
        ]


def measure(server: Server, effort: Effort) -> InProcess:
    """Measure all contenders on one database."""
    with server.database(REPAIRED_BUILDS) as url, ExitStack() as stack:
        workers = {
            contender.name: stack.enter_context(worker(contender, url, server.durable))
            for contender in (*CONTENDERS, WITH_HISTORY)
        }
        for name, client in workers.items():
            verify(name, client, url)
        # One for all sides: a build is put by whoever is next, and is never put as it is already.
        updates = cycle(UPDATES)

        def compare(scenario: Scenario) -> Turns[str]:
            requests = updates if scenario.status == 200 else cycle(scenario.requests)
            sides = {
                side.name: partial(
                    one_round, workers[side.name], requests, effort.requests, scenario.status
                )
                for side in scenario.sides
            }
            take_turns(sides, 2)  # to warm up
            return take_turns(sides, effort.rounds)

        return InProcess(
            server,
            compare(UPDATE),
            [compare(scenario) for scenario in BESIDE],
            {
                contender.name: workers[contender.name].statements([next(updates)])
                for contender in CONTENDERS
            },
        )


def one_round(client: Client, requests: Iterator[Request], size: int, status: int = 200) -> float:
    """Send the next requests, and answer the seconds that each has taken.

    :raises RuntimeError: one of them is not answered as it has to be.
    """
    answers, seconds = client.send([*islice(requests, size)])
    for answer in answers:
        if answer.status != status:
            raise RuntimeError(f"{answer.status}, not {status}: {answer.body!r}")
    return seconds / size
