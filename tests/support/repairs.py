"""Rows that no document describes: read behind the blueprint's back, put back, and repaired."""

from __future__ import annotations

import json
import sqlite3
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tests.support.hosts import ADMIN, URL, Host
from tests.support.terminals import Outcome, in_pipe

QUEUE = f"{URL}s/queue"


def raw_row(host: Host, build_id: object = 1) -> dict[str, Any]:
    """Read a row as the database has it, whatever is in it."""
    table = host.model.__table__.name
    dialect = host.engine.dialect.name
    if dialect == "sqlite":
        build_id = build_id.hex if isinstance(build_id, UUID) else build_id
        connection = sqlite3.connect(str(host.engine.url.database))
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
        connection.row_factory = sqlite3.Row
        try:
            query = f"SELECT * FROM {table} WHERE id = ?"
            return dict(connection.execute(query, (build_id,)).fetchone())
        finally:
            connection.close()
    with host.engine.connect() as one:
        values = {"build_id": build_id}
        if dialect == "postgresql":  # as JSON: the driver cannot read all that a column may hold
            query = f"SELECT CAST(row_to_json(b) AS text) FROM {table} AS b WHERE id = :build_id"
            return dict(json.loads(one.execute(sa.text(query), values).scalar_one()))
        query = f"SELECT * FROM {table} WHERE id = :build_id"
        return dict(one.execute(sa.text(query), values).mappings().one())


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """List the columns that differ; 1 and 1.0 do."""
    return {name for name in before if repr(before[name]) != repr(after[name])}


def named(answer: Any) -> tuple[int, set[str]]:
    """Return the status of a response, and the members that it names."""
    return answer.status_code, {*((answer.get_json(silent=True) or {}).get("fields") or ())}


def changes_of(host: Host, build_id: object = 1) -> list[dict[str, Any]]:
    """Return the changes of all revisions of a build, the oldest first."""
    answer = host.revisions(build_id)
    assert answer.status_code == 200, answer.data
    return [revision["changes"] for revision in reversed(answer.json)]


def fetch(host: Host, build_id: object = 1) -> dict[str, Any]:
    """Return the document of a build."""
    answer = host.get(build_id)
    assert answer.status_code == 200, answer.data
    return dict(answer.json)


def put_back(host: Host, build_id: object = 1) -> dict[str, Any]:
    """Check that a put of what GET returned writes nothing, and return that document."""
    before, recorded = raw_row(host, build_id), len(host.recorded())
    fetched = host.get(build_id)
    assert fetched.status_code == 200, fetched.data
    answer = host.put(data=fetched.data, headers={"If-Match": fetched.headers["ETag"]})
    assert answer.status_code == 200, answer.data
    assert answer.data == fetched.data
    assert answer.headers["ETag"] == fetched.headers["ETag"]
    assert differing(before, raw_row(host, build_id)) == set()
    assert len(host.recorded()) == recorded
    return dict(fetched.json)


def change(host: Host, build_id: object = 1, /, **members: Any) -> None:
    """Check that members can be changed, and that nothing else changes."""
    before, document = raw_row(host, build_id), fetch(host, build_id)
    answer = host.put(document | members)
    assert answer.status_code == 200, answer.data
    assert answer.json == document | members
    assert fetch(host, build_id) == document | members
    assert differing(before, raw_row(host, build_id)) == members.keys()
    assert changes_of(host, build_id)[-1] == {
        name: {"before": document[name], "after": value} for name, value in members.items()
    }


def undo_newest(host: Host, build_id: object = 1) -> Any:
    """Undo the newest revision of a build."""
    return host.undo(host.revisions(build_id).json[0]["id"], build_id)


def queue_of(host: Host) -> list[dict[str, Any]]:
    """Return the builds in the queue, the newest first."""
    answer: Any = host.client.get(QUEUE, headers=ADMIN)
    assert answer.status_code == 200, answer.data
    return list(answer.json)


def queued(host: Host) -> list[Any]:
    """Return their ids."""
    return [build.get("id") for build in queue_of(host)]


def command(host: Host, *words: str) -> Outcome:
    """Run a command in a pipe."""
    return in_pipe(host.app, "build-admin", *words)
