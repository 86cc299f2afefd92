"""The history of docs/history.md: its table, its answers, what others overwrite, and the prune."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from marshmallow import fields
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable

from flask_build_admin import BuildSchema, Text, WholeNumber
from tests.support.ci_servers import CiServer
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    BuildRevision,
    Host,
    history_of,
    model_of,
    row_of,
    stuck,
)
from tests.support.pages import BLOCKS, from_page, prose
from tests.support.terminals import in_pipe

PAGE = "docs/history.md"
TABLE: Any = BuildRevision.__table__
RUNNING = OCTOCAT | {"status": "running"}
CHANGED = OCTOCAT | {"status": "error"}


@from_page(PAGE, code="history=", preview='{"build_id": 1,', listed='_outside": {}')
def test_a_change_is_previewed_kept_and_undone(
    server: CiServer, code: str, preview: str, listed: str
) -> None:
    history = server.run(code)["BuildRevision"]
    server.fill(**RUNNING)
    with server.app.app_context():
        history.metadata.create_all(server.db.engine)
    assert server.ask("PUT", "?dry_run=true", CHANGED).json == json.loads(preview)
    assert server.ask("PUT", "?reason=worker+lost", CHANGED).json == CHANGED
    revisions = server.ask("GET", "/1/revisions").json
    [shown] = json.loads(listed)
    assert revisions == [shown | {"at": revisions[0]["at"]}]
    assert server.ask("POST", "/1/revisions/1/undo").json == RUNNING


@from_page(PAGE, shown="CREATE TABLE")
def test_the_table_is_what_the_mixin_makes_on_postgresql(shown: str) -> None:
    made: list[Any] = [CreateTable(TABLE), *map(CreateIndex, sorted(TABLE.indexes, key=str))]
    statements = [str(one.compile(dialect=postgresql.dialect())) for one in made]  # type: ignore[no-untyped-call]
    assert plain(shown) == [plain(one)[0] for one in statements]


def plain(statements: str) -> list[str]:
    spaced = re.sub(r"\s+", " ", re.sub(r"([()])", r" \1 ", statements))
    return [one.strip() for one in spaced.split(";") if one.strip()]


@from_page(PAGE, code="mapped_column(Uuid")
def test_ids_that_are_no_integers(
    server: CiServer, code: str, make_host: Callable[..., Host], sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        id = fields.UUID(required=True)

    one = UUID(int=1)
    model = model_of(id=sa.Column(sa.Uuid, primary_key=True))
    history = server.run(code)["BuildRevision"]
    rows = [row_of(id=one)]
    host = make_host(sqlite_url, model=model, schema=Schema, history=history, rows=rows)
    assert host.put(CHANGED | {"id": str(one)}).status_code == 200
    assert host.recorded()[0]["build_id"] == one
    assert host.undo(1, one).json == OCTOCAT | {"id": str(one)}


def overwritten(host: Host, query: str = "") -> Any:
    path = f"{URL.removesuffix('/build')}/revisions?overwritten=true{query}"
    return host.client.get(path, headers=ADMIN).json


@from_page(PAGE, listed='"overwritten": {')
def test_what_others_overwrote_is_listed(kept: Host, listed: str) -> None:
    kept.execute("UPDATE builds SET status = 'running'")
    assert kept.put(CHANGED, query_string={"reason": "worker lost"}).status_code == 200
    assert overwritten(kept) == []
    kept.execute("UPDATE builds SET status = 'success'")
    found = overwritten(kept)
    [shown] = json.loads(listed)
    assert found == [shown | {"id": found[0]["id"], "at": found[0]["at"]}]
    told = f"`{json.dumps(shown['changed_outside'])}`"
    assert told in " ".join(prose(PAGE).split())


def test_what_clears_an_overwritten_repair(kept: Host) -> None:
    kept.put(RUNNING)
    kept.put(CHANGED)
    kept.execute("UPDATE builds SET status = 'success'")
    [lost] = overwritten(kept)
    assert lost["id"] == kept.recorded()[-1]["id"]  # and not the one before it
    kept.put(OCTOCAT | {"status": "success", "title": "x"})
    now = kept.revisions().json
    assert [one["changed_outside"] for one in now] == [{}, lost["changed_outside"], {}]
    assert [one["id"] for one in overwritten(kept)] == [lost["id"]]
    kept.execute("UPDATE builds SET status = 'error'")
    assert overwritten(kept) == []
    assert kept.revisions().json[0]["changed_outside"] == {
        "status": {"before": "success", "after": "error"}
    }
    kept.execute("UPDATE builds SET status = 'success'")
    assert len(overwritten(kept)) == 1
    kept.put(CHANGED)
    assert overwritten(kept) == []
    kept.execute("UPDATE builds SET status = 'success'")
    assert len(overwritten(kept)) == 1
    assert overwritten(kept, f"&after={now[0]['at'] + 60}") == []
    assert overwritten(kept, "&actor=hubot") == []
    kept.execute("DELETE FROM builds")
    assert overwritten(kept) == []


def test_a_protected_member_is_outside_but_not_overwritten(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        author = Text(dump_only=True)

    host = make_host(sqlite_url, schema=Schema, history=BuildRevision)
    host.put(CHANGED)
    host.execute("UPDATE builds SET author = 'hubot'")
    moved = {"author": {"before": OCTOCAT["author"], "after": "hubot"}}
    assert host.revisions().json[0]["changed_outside"] == moved
    assert overwritten(host) == []


@pytest.mark.parametrize("protected", [True, False])
def test_a_member_that_changes_every_time_is_better_protected(
    make_host: Callable[..., Host], sqlite_url: str, protected: bool
) -> None:
    class Schema(BuildSchema):
        version = WholeNumber(dump_only=protected)

    at_every_change = sa.Column(sa.Integer, default=0, onupdate=1)
    model = model_of(version=at_every_change)
    history, rows = history_of(model), [row_of(version=0)]
    host = make_host(sqlite_url, model=model, schema=Schema, history=history, rows=rows)
    assert host.put(host.get().json | {"status": "error"}).status_code == 200
    host.execute("UPDATE builds SET title = 'x', version = 2")
    moved = {"version": {"before": 1, "after": 2}}
    assert [one["overwritten"] for one in overwritten(host)] == ([] if protected else [moved])


def test_a_null_is_no_change_outside(kept: Host) -> None:
    kept.put(CHANGED | {"finished": 1563474099})
    kept.put(CHANGED)
    kept.execute("UPDATE builds SET finished = NULL")
    assert kept.revisions().json[0]["changed_outside"] == {}
    assert overwritten(kept) == []


@from_page(PAGE, prune="prune --older-than")
def test_what_is_left_when_it_is_pruned(kept: Host, prune: str) -> None:
    other = stuck(2)
    with Session(kept.engine) as session, session.begin():
        session.add(kept.model(**other))
    for document in (RUNNING, CHANGED, other | {"status": "error"}):
        assert kept.put(document).status_code == 200
    first, second, third = (one["id"] for one in kept.recorded())
    old = datetime.now(UTC).replace(microsecond=0) - timedelta(days=90, seconds=1)
    with kept.engine.begin() as connection:
        aged = sa.update(TABLE).where(TABLE.c.id.in_([first, third]))
        connection.execute(aged.values(at=old))
    kept.execute("DELETE FROM builds WHERE id = 2")
    command = prune.split()[1:]
    counted = in_pipe(kept.app, *command[:-1], "--dry-run")
    assert (counted.code, counted.output) == (0, "1 change would be removed.\n")
    done = in_pipe(kept.app, *command)
    assert (done.code, done.output) == (0, "1 change removed.\n")
    assert in_pipe(kept.app, *command).code == 0  # there is nothing left to remove
    assert [one["id"] for one in kept.recorded()] == [second, third]
    assert kept.undo(first).status_code == 404
    assert kept.undo(second).json == RUNNING


@from_page(PAGE, code="after_delete")
def test_a_build_takes_its_revisions_with_it(
    make_host: Callable[..., Host], sqlite_url: str, server: CiServer, code: str
) -> None:
    model = model_of()
    history = history_of(model)
    host = make_host(sqlite_url, model=model, history=history)
    server.own(Build=model, BuildRevision=history)
    server.run(code)
    assert host.put(CHANGED).status_code == 200
    with Session(host.engine) as session, session.begin():
        session.delete(session.get(model, 1))
        session.flush()
        session.add(model(**CHANGED))
    assert host.revisions().json == []
    assert host.undo(1).status_code == 404


def test_no_model_of_the_pages_uses_an_id_of_sqlite_again() -> None:
    models = [one.text for one in BLOCKS if "__tablename__" in one.text]
    assert len(models) == 6
    assert all('__table_args__ = {"sqlite_autoincrement": True}' in text for text in models)
