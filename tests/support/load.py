"""Administrators who work at a steady rate, and what each of their requests was answered."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple

from tests.support.hosts import OCTOCAT
from tests.support.servers import Answer, Server

#: Errands in a second, of all administrators together, that two cores can bear beside the tests.
RATE = 50
ADMINISTRATORS = 16

#: Few enough for the administrators to be in each other's way.
BUILDS = (1, 2, 3, 4)

#: What each kind of request may be answered.
DOCUMENTED = {
    "fetch": {200, 304, 503},
    "queue": {200, 503},
    "revisions": {200, 503},
    "preview": {200, 503},
    "put": {200, 503},
    "edit": {200, 412, 503},
    "undo": {200, 409, 503},
}

#: The kinds that change a build, and answer it as it is stored.
CHANGES = {"put", "edit", "undo"}

#: The kinds that answer a build, and its tag.
TAGGED = CHANGES | {"fetch"}


class Outcome(NamedTuple):
    """What one request was answered."""

    kind: str
    build_id: int | None
    #: The second at which it was due, however late it was sent.
    at: float
    #: From then to the answer.
    seconds: float
    #: None: the connection broke.
    status: int | None
    #: The build that was answered.
    document: dict[str, Any] | None
    #: Whether the answer has the form that is documented for its status.
    formed: bool


def is_formed(kind: str, answer: Answer) -> bool:
    """Tell whether an answer has the documented form."""
    headers = answer.headers
    tagged = re.fullmatch('"[^"]+"', headers.get("ETag", ""))
    if answer.status == 304:
        return bool(tagged) and not answer.body
    if (headers["Content-Type"], headers.get("Cache-Control")) != ("application/json", "no-store"):
        return False
    if answer.status == 200:
        return bool(tagged) or kind not in TAGGED
    told = answer.json
    patient = answer.status != 503 or int(headers.get("Retry-After", 0)) >= 1
    return patient and told.keys() == {"error"} and isinstance(told["error"], str)


class Administrator:
    """One of those who fetch, change and repair builds, each on a connection of its own.

    :param number: from 0 on, which is also the seed of what is done when.
    """

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.number = number
        self.random = Random(number)
        self.changes = count(1)
        self.tags: dict[int, str] = {}
        self.outcomes: list[Outcome] = []
        self.begin = self.due = 0.0

    def work(self, begin: float, end: float) -> list[Outcome]:
        """Do an errand whenever one is due, and those that are late at once.

        :param begin: a moment of ``time.monotonic()``, and so is ``end``.
        """
        self.begin = begin
        for turn in count():
            self.due = begin + (turn * ADMINISTRATORS + self.number) / RATE
            if self.due >= end:
                break
            time.sleep(max(0, self.due - time.monotonic()))
            [errand] = self.random.choices(list(ERRANDS), [*ERRANDS.values()])
            errand(self, self.random.choice(BUILDS))
        return self.outcomes

    def poll(self, build_id: int) -> None:
        known = self.tags.get(build_id, '"none"')
        fetch = partial(self.server.get, build_id, **{"If-None-Match": known})
        answer = self.ask("fetch", build_id, fetch)
        if answer is not None and answer.status == 200:
            self.tags[build_id] = answer.headers["ETag"]

    def look_at_the_queue(self, build_id: int) -> None:
        self.ask("queue", None, self.server.queue)

    def look_back(self, build_id: int) -> None:
        self.ask("revisions", build_id, partial(self.server.revisions, build_id))

    def preview(self, build_id: int) -> None:
        document = self.changed(OCTOCAT, build_id)
        self.ask("preview", build_id, partial(self.server.put, document, "?dry_run=true"))

    def overwrite(self, build_id: int) -> None:
        document = self.changed(OCTOCAT, build_id)
        self.ask("put", build_id, partial(self.server.put, document))

    def repair(self, build_id: int) -> None:
        """Fetch, edit, put."""
        fetched = self.ask("fetch", build_id, partial(self.server.get, build_id))
        if fetched is not None and fetched.status == 200:
            document = self.changed(fetched.json, build_id)
            condition = {"If-Match": fetched.headers["ETag"]}
            self.ask("edit", build_id, partial(self.server.put, document, **condition))

    def undo(self, build_id: int) -> None:
        """Undo one of the newest changes, on which others may be built by now."""
        listed = self.ask("revisions", build_id, partial(self.server.revisions, build_id))
        if listed is not None and listed.status == 200 and listed.json:
            revision = self.random.choice(listed.json[:2])
            self.ask("undo", build_id, partial(self.server.undo, revision["id"], build_id))

    def changed(self, document: dict[str, Any], build_id: int) -> dict[str, Any]:
        """Change a build as nobody else does."""
        return document | {
            "id": build_id,
            "number": build_id,
            "title": f"change {next(self.changes)} of administrator {self.number}",
            "status": self.random.choice(("pending", "running", "error")),
        }

    def ask(self, kind: str, build_id: int | None, send: Callable[[], Answer]) -> Answer | None:
        """Send a request and keep what came of it; None: the connection broke."""
        try:
            answer = send()
        except (http.client.HTTPException, ConnectionError):
            answer = None
        now = time.monotonic()
        status = None if answer is None else answer.status
        build = answer.json if answer is not None and status == 200 and kind in TAGGED else None
        formed = answer is None or is_formed(kind, answer)
        self.outcomes.append(
            Outcome(kind, build_id, self.due - self.begin, now - self.due, status, build, formed)
        )
        self.due = now
        return answer


#: How often each is done, among a hundred.
ERRANDS: dict[Callable[[Administrator, int], None], int] = {
    Administrator.poll: 30,
    Administrator.look_at_the_queue: 10,
    Administrator.look_back: 10,
    Administrator.preview: 10,
    Administrator.overwrite: 10,
    Administrator.repair: 20,
    Administrator.undo: 10,
}
