"""What is sent to the database, and how little of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_build_admin import BuildAdmin
from tests.support.hosts import ADMIN, OCTOCAT, URL, Host, model_of, token_auth
from tests.support.statements import LOCK, outline


def test_an_update_locks_overwrites_and_commits(hosted: Host, database: str) -> None:
    with hosted.statements() as sent:
        assert hosted.put(OCTOCAT | {"status": "error"}).status_code == 200
    assert outline(sent) == ["BEGIN", *LOCK[database], "UPDATE", "COMMIT"]


def test_an_update_names_no_column_but_the_changed_ones(hosted: Host) -> None:
    with hosted.statements() as sent:
        assert hosted.put(OCTOCAT | {"status": "error", "error": "lost"}).status_code == 200
    assert re.findall(r"(\w+)=", sent[-2].split(" WHERE ")[0]) == ["status", "error"]


def test_a_put_of_the_same_build_updates_nothing(hosted: Host, database: str) -> None:
    with hosted.statements() as sent:
        assert hosted.put(OCTOCAT).status_code == 200
    assert outline(sent) == ["BEGIN", *LOCK[database], "COMMIT"]


def test_a_fetch_is_one_select(hosted: Host) -> None:
    with hosted.statements() as sent:
        assert hosted.get().status_code == 200
    assert outline(sent) == ["BEGIN", "SELECT", "COMMIT"]


@pytest.mark.parametrize(
    ("document", "headers", "status"),
    [(OCTOCAT, {"If-Match": '"stale"'}, 412), (OCTOCAT | {"id": 2}, {}, 404)],
)
def test_a_refusal_under_the_lock_rolls_back(
    hosted: Host, database: str, document: Any, headers: dict[str, str], status: int
) -> None:
    with hosted.statements() as sent:
        assert hosted.put(document, headers=headers).status_code == status
    assert outline(sent) == ["BEGIN", *LOCK[database], "ROLLBACK"]


@pytest.mark.parametrize(
    ("document", "headers", "status"),
    [(OCTOCAT, {"Authorization": "Bearer of-nobody"}, 401), ({}, {}, 400), ([], {}, 400)],
)
def test_a_refusal_before_the_lock_sends_nothing(
    hosted: Host, document: Any, headers: dict[str, str], status: int
) -> None:
    with hosted.statements() as sent:
        assert hosted.put(document, headers=headers).status_code == status
    assert sent == []


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("POST", 405), ("DELETE", 405)])
def test_another_method_sends_nothing(hosted: Host, method: str, status: int) -> None:
    with hosted.statements() as sent:
        answer = hosted.client.open(f"{URL}/1", method=method, headers=ADMIN)
    assert answer.status_code == status
    assert sent == []


@pytest.mark.parametrize("begun", [False, True])
def test_the_lock_of_sqlite_touches_no_row(host: Host, begun: bool) -> None:
    if begun:  # as the documentation of SQLAlchemy has it, for SAVEPOINT
        sa.event.listen(host.engine, "begin", lambda one: one.exec_driver_sql("BEGIN"))
    host.execute("CREATE TABLE touched (id INTEGER)")
    host.execute(
        "CREATE TRIGGER touch AFTER UPDATE ON builds BEGIN INSERT INTO touched VALUES (new.id); END"
    )
    assert host.put(OCTOCAT).status_code == 200
    assert host.put(OCTOCAT | {"id": 2}).status_code == 404
    with host.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM touched").all() == []
    assert host.put(OCTOCAT | {"status": "error"}).status_code == 200
    with host.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM touched").all() == [(1,)]


def test_a_database_that_is_attached_is_locked_alone(
    make_host: Callable[..., Host], tmp_path: Path
) -> None:
    main, other = (f"sqlite:///{tmp_path / name}.db" for name in ("main", "other"))
    attached, alone = sa.create_engine(main), sa.create_engine(main)
    attach = f"ATTACH '{tmp_path / 'other.db'}' AS other"
    sa.event.listen(attached, "connect", lambda connection, _: connection.execute(attach))
    host = make_host(other)
    model = model_of(__table_args__={"schema": "other"})
    host.session.configure(bind=attached)
    blueprint = BuildAdmin(model, host.session, token_auth().login_required(role="admin"))
    with alone.connect() as writer, host.app.app_context():
        writer.exec_driver_sql("CREATE TABLE builds (id INTEGER)")
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        blueprint.store.overwrite(OCTOCAT | {"status": "error"})
    for engine in (attached, alone):
        engine.dispose()
    assert host.row()["status"] == "error"
