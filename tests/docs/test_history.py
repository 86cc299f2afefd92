"""The history of docs/history.md: its table, its answers, and what is left when it is pruned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from marshmallow import fields
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable

from flask_build_admin import BuildSchema
from tests.support.ci_servers import CiServer
from tests.support.hosts import OCTOCAT, BuildRevision, Host, history_of, model_of, row_of
from tests.support.pages import BLOCKS, from_page

PAGE = "docs/history.md"
TABLE: Any = BuildRevision.__table__
RUNNING = OCTOCAT | {"status": "running"}
CHANGED = OCTOCAT | {"status": "error"}


@from_page(PAGE, code="history=", preview='{"build_id": 1,', listed='"at":')
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


@from_page(PAGE, prune="DELETE")
def test_what_is_left_when_it_is_pruned(kept: Host, prune: str) -> None:
    for document in (RUNNING, CHANGED):
        assert kept.put(document).status_code == 200
    first, second = (one["id"] for one in kept.recorded())
    last_year = datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    with kept.engine.begin() as connection:
        connection.execute(sa.update(TABLE).where(TABLE.c.id == first).values(at=last_year))
    kept.execute(prune)
    assert [one["id"] for one in kept.revisions().json] == [second]
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
    assert len(models) == 3
    assert all('__table_args__ = {"sqlite_autoincrement": True}' in text for text in models)
