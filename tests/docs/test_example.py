"""The example server, as a newcomer starts it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.schema import CreateTable

import example_app
from tests.support.examples import SCRIPT, TOKEN, copy_example, paste, served, typed
from tests.support.hosts import OCTOCAT
from tests.support.pages import README, block, from_page

CURL = block(README, "curl -X PUT")
FLASK = [sys.executable, "-m", "flask", "--app", "example_app", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the example, in a folder where nothing was started before."""
    copy_example(tmp_path)
    return tmp_path


def curl_of_readme(token: str, port: int) -> str:
    return f"{typed(CURL, token, port).rstrip()} -s"


@pytest.mark.parametrize("command", [SCRIPT, FLASK], ids=["python", "flask"])
def test_the_printed_commands_work_when_pasted_again_and_again(
    folder: Path, command: list[str]
) -> None:
    changes = {"status": {"before": "created", "after": "error"}}
    told = {"build_id": 1, "actor": "admin", "changes": changes}
    warning = "the status is final, but finished is 0"
    warnings = [{"members": ["status", "finished"], "warning": warning}]
    with served(folder, command) as (printed, port):
        commands = re.findall(r"^(?:url=|build=|put|curl|last=).*$", printed, re.MULTILINE)
        assert f"127.0.0.1:{port}/" in commands[0]
        for turn in range(2):
            answers = paste("\n".join(commands), folder).splitlines()
            preview, changed, listed, undone = map(json.loads, answers)
            assert preview == told | {"reason": None, "warnings": warnings}
            assert changed == OCTOCAT | {"status": "error"}
            assert len(listed) == 1 + 2 * turn
            assert listed[0].items() >= (told | {"reason": "worker lost"}).items()
            assert undone == OCTOCAT


def test_the_curl_of_the_contract_puts_its_sample(folder: Path, database_url: str) -> None:
    environment = {"DATABASE_URL": database_url, "BUILD_ADMIN_TOKEN": "of-the-operator"}
    try:
        with served(folder, SCRIPT, **environment) as (printed, port):
            assert TOKEN.findall(printed) == ["of-the-operator"]
            assert json.loads(paste(curl_of_readme("of-the-operator", port), folder)) == OCTOCAT
            refused = json.loads(paste(curl_of_readme("x", port), folder))
            assert list(refused) == ["error"]
    finally:
        engine = sa.create_engine(database_url)
        example_app.Base.metadata.drop_all(engine)
        engine.dispose()


@from_page("docs/contract.md", commands="If-Match: $tag")
def test_the_build_is_fetched_edited_and_put_unless_it_has_changed(
    folder: Path, commands: str
) -> None:
    with served(folder, SCRIPT) as (printed, port):
        [token] = TOKEN.findall(printed)
        pasted = typed(commands, token, port)
        assert json.loads(paste(pasted, folder)) == OCTOCAT | {"status": "error"}
        put = pasted[pasted.index("sed 's/") :]
        stale = f"{pasted.splitlines()[0]}\ntag='\"stale\"'\n{put}"
        assert json.loads(paste(stale, folder))["error"].startswith("The build was changed")


def test_every_start_makes_a_new_token_and_keeps_the_builds(folder: Path) -> None:
    with served(folder, SCRIPT) as (printed, port):
        [first] = TOKEN.findall(printed)
        edit = """sed -i 's/"status": "created"/"status": "killed"/' octocat.json"""
        put = f"{edit}; {curl_of_readme(first, port)}"
        assert json.loads(paste(put, folder))["status"] == "killed"
    with served(folder, SCRIPT) as (printed, port):
        [second] = TOKEN.findall(printed)
        assert list(json.loads(paste(curl_of_readme(first, port), folder))) == ["error"]
        get = f'curl -s -H "Authorization: Bearer {second}" 127.0.0.1:{port}/api/v1/admin/build/1'
        assert json.loads(paste(get, folder))["status"] == "killed"
    stored = (folder / "instance" / "ci.db").read_bytes()
    assert first.encode() not in stored
    assert second.encode() not in stored


def test_another_command_leaves_the_token_of_the_server(folder: Path) -> None:
    with served(folder, SCRIPT) as (printed, port):
        [token] = TOKEN.findall(printed)
        routes = paste(f"{sys.executable} -m flask --app example_app routes", folder)
        assert "build_admin.overwrite" in routes
        assert "bearer" not in routes
        assert json.loads(paste(curl_of_readme(token, port), folder)) == OCTOCAT


def test_who_is_no_administrator_is_refused(tmp_path: Path) -> None:
    app = example_app.create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/ci.db"})
    with app.app_context():
        hashed = example_app.hash_token("of-a-worker")
        worker = example_app.User(name="worker", role="worker", token_hash=hashed)
        example_app.db.session.add(worker)
        example_app.db.session.commit()
    headers = {"Authorization": "Bearer of-a-worker"}
    answer = app.test_client().put("/api/v1/admin/build", json=OCTOCAT, headers=headers)
    assert answer.status_code == 401
    with app.app_context():
        example_app.db.engine.dispose()


def started(folder: Path) -> tuple[Flask, dict[str, str]]:
    """Start the server, and return it with the headers of its administrator."""
    app = example_app.create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/ci.db"})
    with app.app_context():
        hashed = example_app.hash_token("of-the-test")
        example_app.db.session.add(example_app.User(name="mona", role="admin", token_hash=hashed))
        example_app.db.session.commit()
    return app, {"Authorization": "Bearer of-the-test"}


def replace_build(app: Flask, build_id: int) -> int:
    """Delete a build, and return the id of the next one."""
    session = example_app.db.session
    with app.app_context():
        session.delete(session.get_one(example_app.Build, build_id))
        session.commit()
        build = example_app.Build(**OCTOCAT | {"id": None})
        session.add(build)
        session.commit()
        return build.id


def test_a_new_build_has_no_revisions_of_an_old_one(tmp_path: Path) -> None:
    app, headers = started(tmp_path)
    client = app.test_client()
    url = "/api/v1/admin/build"
    changed = client.put(url, json=OCTOCAT | {"status": "error"}, headers=headers)
    assert changed.status_code == 200
    build_id = replace_build(app, 1)
    assert build_id == 2
    assert client.get(f"{url}/{build_id}/revisions", headers=headers).json == []
    with app.app_context():
        example_app.db.engine.dispose()


def test_a_database_from_before_works_as_it_did(tmp_path: Path) -> None:
    """Its tables have no AUTOINCREMENT, which SQLite cannot add to them."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ci.db")
    with engine.begin() as connection:
        for table in example_app.Base.metadata.sorted_tables:
            made = str(CreateTable(table).compile(engine))
            connection.exec_driver_sql(made.replace(" AUTOINCREMENT", ""))
    engine.dispose()
    app, headers = started(tmp_path)
    client = app.test_client()
    for status in ("error", "created"):
        document = OCTOCAT | {"status": status}
        put = client.put("/api/v1/admin/build", json=document, headers=headers)
        assert put.json == document
    assert replace_build(app, 1) == 1
    with app.app_context():
        example_app.db.engine.dispose()
