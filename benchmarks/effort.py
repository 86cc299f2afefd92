"""How much is measured."""

from __future__ import annotations

from typing import NamedTuple


class Effort(NamedTuple):
    """How much is measured."""

    #: Of each side.
    rounds: int
    #: In a round, in process.
    requests: int
    #: Of each server.
    server_rounds: int
    #: That a round of a server takes.
    seconds: int
    #: How far anything grows.
    largest: int


FULL = Effort(rounds=30, requests=200, server_rounds=10, seconds=3, largest=1_000_000)
QUICK = Effort(rounds=30, requests=10, server_rounds=2, seconds=1, largest=10_000)
