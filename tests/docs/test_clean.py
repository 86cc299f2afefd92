"""The clean of docs/contract.md, and the undo of docs/history.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.support.hosts import ADMIN, OCTOCAT, URL, BuildRevision, Host
from tests.support.pages import from_page

PREFIX = URL.removesuffix("/build")

#: What the database has against one of the builds.
TRIGGER = (
    "CREATE TRIGGER kept BEFORE UPDATE ON builds WHEN OLD.id = 17 AND NEW.finished > 0"
    " BEGIN SELECT RAISE(ABORT, 'no'); END"
)


@from_page("docs/contract.md", command="/clean?", shown='"40 builds')
@from_page("docs/history.md", undone='"undone"')
def test_a_build_that_is_refused_leaves_the_others_cleaned(
    make_host: Callable[..., Host], sqlite_url: str, command: str, shown: str, undone: str
) -> None:
    stuck = OCTOCAT | {"status": "running", "finished": 0, "host": "worker-7"}
    rows = [stuck | {"id": number, "number": number} for number in range(1, 42)]
    host = make_host(sqlite_url, rows=rows, history=BuildRevision)
    host.execute(TRIGGER)
    [path] = re.findall(r'"\$url(/clean[^"]*)"', command)
    [body] = map(json.loads, re.findall("-d '([^']*)'", command))
    answer = host.client.put(f"{PREFIX}{path}", headers=ADMIN, json=body)
    assert answer.json == json.loads(shown)
    assert (host.row(17)["status"], host.row(1)["error"]) == ("running", body["error"])
    host.execute("UPDATE builds SET status = 'success' WHERE id = 18")
    batch = answer.headers["Content-Location"].partition("?batch=")[2]
    taken_back: Any = host.client.post(f"{PREFIX}/revisions/undo?batch={batch}", headers=ADMIN)
    expected = json.loads(undone)
    [left], [told] = taken_back.json["left"], expected["left"]
    assert taken_back.json["undone"] == expected["undone"]
    assert (list(left), left["build_id"]) == (list(told), 18)
    assert left["error"].startswith(told["error"].rstrip("…"))
