"""Contenders in this machine's processes, one in each, to be called without a server.

In one process they would change each other: one sets up the root logger, another the loop.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from .clients import Answer, ASGIClient, Client, WSGIClient
from .connections import Connections
from .contenders import Contender
from .hosts import Request
from .sampling import sampled

CLIENTS: dict[str, Callable[[Any], Client]] = {"wsgi": WSGIClient, "asgi": ASGIClient}


class Worker:
    """A contender in a process of its own, on a database; itself a client."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        pool.submit(int)  # or it would start when it is first asked, one after the other

    def send(self, requests: Sequence[Request]) -> tuple[list[Answer], float]:
        """Answer what was answered, and the seconds that it took there."""
        return self._pool.submit(_send, requests).result()

    def statements(self, requests: Sequence[Request]) -> list[str]:
        """Answer the statements that the requests send to the database."""
        return self._pool.submit(_statements, requests).result()

    def layers(self, requests: Sequence[Request]) -> tuple[Counter[str], float]:
        """Answer how often each layer was at work, and the seconds that the requests took."""
        return self._pool.submit(_layers, requests).result()


@contextmanager
def worker(contender: Contender, url: str, durable: bool) -> Iterator[Worker]:
    """Load a contender into a process of its own."""
    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(contender, url, durable),
    ) as pool:
        yield Worker(pool)


# What follows runs in the process of the contender.

_connections: Connections
_client: Client


def _start(contender: Contender, url: str, durable: bool) -> None:
    global _client, _connections
    os.environ["DATABASE_URL"] = url
    _connections = Connections(durable)
    _client = CLIENTS[contender.interface](contender.load())
    gc.freeze()


def _send(requests: Sequence[Request]) -> tuple[list[Answer], float]:
    return _client.send(requests)


def _statements(requests: Sequence[Request]) -> list[str]:
    with _connections.recorded() as statements:
        _client.send(requests)
    return statements


def _layers(requests: Sequence[Request]) -> tuple[Counter[str], float]:
    with sampled() as seen:
        _, seconds = _client.send(requests)
    return seen, seconds
