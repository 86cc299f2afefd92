"""What the floor is made of: the layers that an update goes through, and the time of each."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import cycle, islice
from typing import NamedTuple

from .contenders import BLUEPRINT, HAND_WRITTEN
from .databases import Server
from .effort import Effort
from .hosts import REPAIRED_BUILDS
from .in_process import UPDATES
from .report import Goal, Table
from .workers import worker

SIDES = (BLUEPRINT, HAND_WRITTEN)


class Floor(NamedTuple):
    """How often each layer was at work, and the seconds of an update, by the side's name."""

    server: Server
    layers: dict[str, Counter[str]]
    seconds: dict[str, float]

    def tables(self) -> list[Table]:
        """Tell all of it."""
        names = [side.name for side in SIDES]
        layers = self.layers[names[0]] + self.layers[names[1]]
        return [
            Table(
                f"The layers of an update, on {self.server.title}: ms",
                ("", *names),
                [
                    (layer, *(f"{self._milliseconds(name, layer):.3f}" for name in names))
                    for layer, _ in layers.most_common()
                ],
            )
        ]

    def goals(self) -> list[Goal]:
        """Tell what the blueprint is to reach."""
        return []

    def _milliseconds(self, name: str, layer: str) -> float:
        seen = self.layers[name]
        return 1000 * self.seconds[name] * seen[layer] / seen.total()


def measure(server: Server, effort: Effort) -> Floor:
    """Look at the stacks of both sides on one database, in turns."""
    layers: dict[str, Counter[str]] = {side.name: Counter() for side in SIDES}
    seconds = dict.fromkeys(layers, 0.0)
    with server.database(REPAIRED_BUILDS) as url, ExitStack() as stack:
        workers = {
            side.name: stack.enter_context(worker(side, url, server.durable)) for side in SIDES
        }
        updates = cycle(UPDATES)
        for client in workers.values():
            client.send([*islice(updates, effort.requests)])  # to warm up
        for _ in range(effort.rounds):
            for name, client in workers.items():
                seen, taken = client.layers([*islice(updates, effort.requests)])
                layers[name] += seen
                seconds[name] += taken / effort.requests / effort.rounds
    return Floor(server, layers, seconds)
