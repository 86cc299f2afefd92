"""Where the time of this process goes: the stack is looked at a thousand times in a second."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds between two looks.
INTERVAL = 0.001

#: What the packages do, those first that are nearest to the wire of the database. Whatever else is
#: on the stack, the standard library say, works for the package that has called it.
LAYERS = {
    "psycopg": "driver and database",
    "sqlalchemy": "SQLAlchemy",
    "flask_sqlalchemy": "SQLAlchemy",
    "marshmallow": "marshmallow",
    "flask_httpauth": "authentication",
    "flask": "Flask and Werkzeug",
    "werkzeug": "Flask and Werkzeug",
    "flask_build_admin": "blueprint or view",
    "benchmarks.contenders": "blueprint or view",
    "benchmarks.clients": "caller",
}

#: Where SQLAlchemy calls a driver that is written in C, and so has no frames.
CALLS = frozenset({"do_execute", "do_commit", "do_rollback", "_lock_all"})


@contextmanager
def sampled() -> Iterator[Counter[str]]:
    """Count how often each layer is at work."""
    seen: Counter[str] = Counter()

    def look(number: int, frame: FrameType | None) -> None:
        seen[layer_of(frame)] += 1

    former = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def layer_of(frame: FrameType | None) -> str:
    """Name the layer that is at work: that of the innermost frame that belongs to one."""
    while frame is not None:
        if frame.f_code.co_name in CALLS:
            return LAYERS["psycopg"]
        module = f"{frame.f_globals.get('__name__')}."
        for package, layer in LAYERS.items():
            if module.startswith(f"{package}."):
                return layer
        frame = frame.f_back
    return "other"
