"""Whether a contender does its job: none that does not is measured."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import sqlalchemy as sa

from example_app import Build

from .clients import Client
from .hosts import Request, repaired, running

BEFORE = running(1)
AFTER = repaired(BEFORE)


class Probe(NamedTuple):
    """A request, and what has to come of it."""

    name: str
    request: Request
    statuses: range
    #: What the row is then.
    stored: dict[str, Any]


OK = range(200, 201)
UNAUTHORIZED = range(401, 402)
REFUSED = range(400, 500)
PROBES = (
    Probe("the update", Request(AFTER), OK, AFTER),
    Probe("the update back", Request(BEFORE), OK, BEFORE),
    Probe("a bad token", Request(AFTER, "no-one's"), UNAUTHORIZED, BEFORE),
    *(
        Probe(
            f"no {name}",
            Request({other: value for other, value in AFTER.items() if other != name}),
            REFUSED,
            BEFORE,
        )
        for name in AFTER
    ),
    Probe("a text for a number", Request(AFTER | {"number": "one"}), REFUSED, BEFORE),
    Probe("a negative number", Request(AFTER | {"finished": -1}), REFUSED, BEFORE),
    Probe("an empty status", Request(AFTER | {"status": ""}), REFUSED, BEFORE),
    *(
        Probe(f"too long a {name}", Request(AFTER | {name: "x" * (size + 1)}), REFUSED, BEFORE)
        for name, column in Build.__table__.c.items()
        if (size := getattr(column.type, "length", None))
    ),
)


def verify(name: str, client: Client, url: str) -> None:
    """Put what is right and what is wrong.

    :param name: of the contender.
    :param url: of the database that it works on.
    :raises RuntimeError: something else came of it than has to.
    """
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    row = sa.select(Build.__table__).where(Build.id == BEFORE["id"])
    with engine.connect() as connection:
        for probe in PROBES:
            [answer], _ = client.send([probe.request])
            if answer.status not in probe.statuses:
                raise RuntimeError(f"{name}, {probe.name}: {answer.status}, {answer.body!r}")
            if answer.status == 200 and json.loads(answer.body) != probe.request.build:
                raise RuntimeError(f"{name}, {probe.name}: answers {answer.body!r}")
            stored = connection.execute(row).one()._asdict()
            if stored != probe.stored:
                raise RuntimeError(f"{name}, {probe.name}: {stored} is stored")
