"""What all contenders have in common: the builds, and the users in memory."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, NamedTuple

from example_app import OCTOCAT

PATH = "/api/v1/admin/build"
TOKEN = "of-the-admin"

#: How many builds are repaired in turn. Clients that put the same build at once would wait for its
#: row, and what is to be measured is work.
REPAIRED_BUILDS = 100


class User(NamedTuple):
    """Someone with a token."""

    name: str
    role: str


# The users are in memory: a query for them would cost all the same, and hide the rest.
_USERS = {sha256(TOKEN.encode()).hexdigest(): User("octokitty", "admin")}


def find_user(token: str) -> User | None:
    """Find the user whose token it is."""
    return _USERS.get(sha256(token.encode()).hexdigest())


def running(build_id: int, message: int = 0) -> dict[str, Any]:
    """Answer a build to be repaired: a worker died, and the row says "running" for ever.

    :param message: its length in KiB; 0: that of the sample.
    """
    build = OCTOCAT | {"id": build_id, "number": build_id, "status": "running"}
    text = " ".join(map(str, range(300 * message)))[: 1024 * message]
    return build | {"message": text} if message else build


def repaired(build: dict[str, Any]) -> dict[str, Any]:
    """Answer what the administrator makes of a build: three of 25 members are changed."""
    return build | {"status": "error", "error": "the worker died", "finished": 1563474099}


class Request(NamedTuple):
    """A put of a build."""

    build: dict[str, Any]
    token: str = TOKEN

    @property
    def body(self) -> bytes:
        """The build as JSON."""
        return json.dumps(self.build).encode()


def repairs(builds: list[dict[str, Any]]) -> list[Request]:
    """Answer requests that repair each build and then undo it, so that each changes its row."""
    return [Request(repaired(build)) for build in builds] + [Request(build) for build in builds]
