"""The recipes of docs/recipes.md, each on a server that follows it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, Response, request
from sqlalchemy import event

from example_app import create_app, db
from flask_build_admin import BuildRevisionMixin
from tests.support.ci_servers import CiServer, Service, Step, bearer
from tests.support.examples import (
    SCRIPT,
    TOKEN,
    copy_example,
    listening,
    paste,
    served,
    typed,
)
from tests.support.hosts import OCTOCAT
from tests.support.pages import ROOT, from_page
from tests.support.terminals import at_terminal

PAGE = "docs/recipes.md"
RUNNING = OCTOCAT | {"status": "running"}
CLOSED = RUNNING | {"status": "error", "finished": 1563474099}

#: The run of the fence, and its repair.
RUN = {"id": 1, "status": "running", "finished": 0}
REPAIRED = RUN | {"status": "error", "finished": 5}

#: What the endpoint has for the fence.
FENCE = """\
    if run.version != reported["version"]:
        abort(409)  # somebody changed the run since the worker fetched it
"""
VERSIONED = '    __mapper_args__ = {"version_id_col": version}\n'


class Runs:
    """A server with the endpoint of the worker, and one run."""

    def __init__(self, server: CiServer, code: str) -> None:
        self.server = server
        of_runs = {"__tablename__": "run_revisions"}
        server.own(BuildRevision=type("BuildRevision", (BuildRevisionMixin, server.Base), of_runs))
        self.model = server.run(code)["Run"]
        server.fill(self.model, **RUN)
        self.client = server.app.test_client(use_cookies=False)

    def take(self) -> Any:
        """Fetch the run as the worker."""
        return self.client.get("/worker/runs/1", **bearer("hubot")).json

    def report(self, version: int, status: str) -> Any:
        """Report a status as the worker, with the version that it knows."""
        told = {"status": status, "finished": 9, "version": version}
        return self.client.put("/worker/runs/1", json=told, **bearer("hubot"))

    def repair(self) -> None:
        """Put the repair as the administrator."""
        assert self.server.ask("PUT", document=REPAIRED).json == REPAIRED

    @property
    def run(self) -> Any:
        return self.server.ask("GET", "/1").json

    @property
    def overwritten(self) -> list[Any]:
        path = "/api/v1/admin/revisions?overwritten=true"
        found: Any = self.client.get(path, **bearer("mona")).json
        return [one["overwritten"] for one in found]


@from_page(PAGE, code="version_id_col")
def test_a_late_worker_is_refused_and_the_repair_stands(server: CiServer, code: str) -> None:
    runs = Runs(server, code)
    taken = runs.take()
    assert taken == {"id": 1, "status": "running", "version": 1}
    runs.repair()
    assert runs.report(taken["version"], "success").status_code == 409
    assert (runs.run, runs.overwritten) == (REPAIRED, [])
    again = runs.take()
    assert (again["status"], again["version"]) == ("error", 2)
    assert runs.client.put("/worker/runs/1", json=again).status_code == 401


@from_page(PAGE, code="version_id_col")
def test_a_worker_that_is_in_time_reports_again_and_again(server: CiServer, code: str) -> None:
    runs = Runs(server, code)
    version = runs.take()["version"]
    for status in ("running", "success"):
        told = runs.report(version, status).json
        assert told == {"id": 1, "status": status, "version": version + 1}
        version = told["version"]
    assert runs.run == {"id": 1, "status": "success", "finished": 9}
    assert server.ask("PUT", document=runs.run).status_code == 200  # it changes nothing
    assert runs.take()["version"] == version


@from_page(PAGE, code="version_id_col")
def test_every_change_by_the_blueprint_raises_the_version(server: CiServer, code: str) -> None:
    runs = Runs(server, code)
    runs.repair()
    assert runs.take()["version"] == 2
    assert server.ask("POST", "/1/revisions/1/undo").json == RUN
    assert runs.take()["version"] == 3
    arguments = ("build-admin", "set", "1", "status=error", "--yes")
    assert at_terminal(server.app, *arguments).code == 0
    assert runs.take()["version"] == 4
    assert server.ask("PUT", "?dry_run=true", RUN).status_code == 200
    assert runs.take()["version"] == 4


@from_page(PAGE, code="version_id_col")
@pytest.mark.parametrize("fenced", [True, False])
def test_a_repair_between_the_two_statements_of_the_worker(
    server: CiServer, code: str, fenced: bool
) -> None:
    assert VERSIONED in code
    runs = Runs(server, code if fenced else code.replace(VERSIONED, ""))
    meanwhile = [Thread(target=runs.repair)]

    def before_flush(*_: Any) -> None:
        if meanwhile:
            repairing = meanwhile.pop()
            repairing.start()
            repairing.join()

    event.listen(server.db.session, "before_flush", before_flush)
    try:
        answer = runs.report(1, "success")
    finally:
        event.remove(server.db.session, "before_flush", before_flush)
    assert answer.status_code == (409 if fenced else 200)
    assert runs.run["status"] == ("error" if fenced else "success")


@from_page(PAGE, code="version_id_col")
def test_without_the_fence_the_repair_is_overwritten(server: CiServer, code: str) -> None:
    assert FENCE in code
    runs = Runs(server, code.replace(FENCE, "").replace(VERSIONED, ""))
    version = runs.take()["version"]
    runs.repair()
    assert runs.report(version, "success").status_code == 200
    assert runs.run["status"] == "success"
    assert runs.overwritten == [
        {
            "status": {"before": "error", "after": "success"},
            "finished": {"before": 5, "after": 9},
        }
    ]


@from_page(PAGE, code="version_id_col")
def test_the_version_of_the_worker_cannot_be_assigned(server: CiServer, code: str) -> None:
    assigned = FENCE.replace("if run.version !=", "run.version =").replace("]:\n", "]\n")
    assigned, _, _ = assigned.partition("        abort")
    runs = Runs(server, code.replace(FENCE, assigned))
    runs.repair()
    assert runs.report(1, "success").status_code == 200  # as the page says, it does not help


@from_page(PAGE, code="version_id_col", migration="ADD COLUMN version")
def test_a_table_that_exists_gets_the_column(server: CiServer, code: str, migration: str) -> None:
    server.db.init_app(server.app)
    with server.app.app_context(), server.db.engine.begin() as connection:
        columns = "id INTEGER PRIMARY KEY, status TEXT NOT NULL, finished INTEGER NOT NULL"
        connection.exec_driver_sql(f"CREATE TABLE runs ({columns})")
        connection.exec_driver_sql("INSERT INTO runs VALUES (2, 'running', 0)")
        connection.exec_driver_sql(migration)
    runs = Runs(server, code)
    assert server.ask("PUT", document=REPAIRED | {"id": 2}).status_code == 200
    with server.app.app_context():
        assert server.db.session.get_one(runs.model, 2).version == 2


#: The parts of build 1, and one of build 2.
PARTS = [
    (Step, 1, "success", 3),
    (Step, 1, "running", 0),
    (Step, 1, "pending", 0),
    (Step, 2, "running", 0),
    (Service, 1, "running", 0),
]


@pytest.fixture
def with_parts(server: CiServer) -> CiServer:
    """A server whose builds have steps and services."""
    server.register()
    with server.app.app_context():
        session = server.db.session
        session.execute(sa.text("UPDATE builds SET status = 'running'"))
        rows = [part(build_id=of, status=name, finished=at) for part, of, name, at in PARTS]
        session.add_all(rows)
        session.commit()
    return server


def parts(server: CiServer) -> list[tuple[Any, ...]]:
    models: tuple[Any, ...] = (Step, Service)
    with server.app.app_context():
        return [
            (part, one.build_id, one.status, one.finished)
            for part in models
            for one in server.db.session.scalars(sa.select(part).order_by(part.id))
        ]


def closed(finished: int) -> list[tuple[Any, ...]]:
    return [
        (part, of, "error", finished) if of == 1 and name != "success" else (part, of, name, at)
        for part, of, name, at in PARTS
    ]


@from_page(PAGE, code="close_parts")
def test_steps_and_services_are_closed_with_the_build(with_parts: CiServer, code: str) -> None:
    names = with_parts.run(code)
    assert with_parts.ask("PUT", "?dry_run=true", CLOSED).status_code == 200
    titled = RUNNING | {"title": "x"}
    assert with_parts.ask("PUT", document=titled).json == titled
    assert parts(with_parts) == PARTS
    assert with_parts.ask("PUT", document=CLOSED).json == CLOSED
    assert parts(with_parts) == closed(CLOSED["finished"])
    assert with_parts.ask("PUT", document=RUNNING).json == RUNNING
    assert parts(with_parts) == closed(CLOSED["finished"])  # they are not opened again
    assert names  # the receivers are held weakly


@from_page(PAGE, code="close_parts")
def test_a_step_that_is_refused_leaves_the_build_unchanged(with_parts: CiServer, code: str) -> None:
    names = with_parts.run(code)
    with with_parts.app.app_context(), with_parts.db.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER kept BEFORE UPDATE ON services BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert with_parts.ask("PUT", document=CLOSED).status_code == 409
    assert with_parts.ask("GET", "/1").json == RUNNING
    assert parts(with_parts) == PARTS
    assert names


@from_page(PAGE, code="close_parts")
@pytest.mark.parametrize("by", ["clean", "terminal"])
def test_steps_are_closed_by_a_clean_and_in_the_terminal(
    with_parts: CiServer, code: str, by: str
) -> None:
    names = with_parts.run(code)
    if by == "clean":
        client: Any = with_parts.app.test_client()
        cleaned = client.put("/api/v1/admin/clean", **bearer("mona"))
        assert cleaned.json == "1 build cleaned."
    else:
        arguments = ("build-admin", "set", "1", "status=error", "--yes")
        assert at_terminal(with_parts.app, *arguments).code == 0
    found = parts(with_parts)
    finished = max(at for *_, at in found)
    assert finished > OCTOCAT["created"]  # the time of now, where the build has none
    assert found == closed(finished)
    assert names


class Forge:
    """A forge that is told the status of commits."""

    def __init__(self) -> None:
        self.app = Flask("forge")
        self.told: list[tuple[str, str | None, Any]] = []
        #: Whether it answers.
        self.open = Event()
        self.status = 201
        self.app.post("/repos/<int:repo>/statuses/<commit>")(self.tell)

    def tell(self, repo: int, commit: str) -> Response:
        assert self.open.wait(30)
        sent = (f"{repo}/{commit}", request.headers.get("Authorization"), request.get_json())
        self.told.append(sent)
        return Response(status=self.status)


@contextmanager
def telling(server: CiServer, code: str, url: str) -> Iterator[dict[str, Any]]:
    """Have a server tell the forge at a URL."""
    server.own(FORGE=url, FORGE_TOKEN="of-the-ci")
    server.register()
    names = server.run(code)
    try:
        yield names
    finally:
        names["executor"].shutdown()


def told(state: str) -> tuple[str, str, Any]:
    body = {"state": state, "context": "ci"}
    return (f"1/{OCTOCAT['commit']}", "Bearer of-the-ci", body)


@from_page(PAGE, code="ThreadPoolExecutor")
def test_the_forge_is_told_and_nobody_waits_for_it(server: CiServer, code: str) -> None:
    forge = Forge()
    with listening(forge.app) as url:
        try:
            with telling(server, code, url):
                for status in ("error", "running", "success", "success"):
                    document = OCTOCAT | {"status": status, "title": status}
                    assert server.ask("PUT", document=document).json == document
                assert server.ask("PUT", "?dry_run=true", OCTOCAT).status_code == 200
                titled = OCTOCAT | {"status": "success", "title": "x"}
                assert server.ask("PUT", document=titled).json == titled
                assert forge.told == []  # and yet all is stored
                forge.open.set()
        finally:
            forge.open.set()
    assert forge.told == [told("error"), told("pending"), told("success")]


@from_page(PAGE, code="ThreadPoolExecutor")
@pytest.mark.parametrize("fault", ["down", "refuses"])
def test_a_forge_that_fails_leaves_the_change(
    server: CiServer, code: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    forge = Forge()
    forge.open.set()
    forge.status = 500
    with listening(forge.app) as url:
        with telling(server, code, url if fault == "refuses" else "http://127.0.0.1:1"):
            assert server.ask("PUT", document=CLOSED).json == CLOSED
        assert server.ask("GET", "/1").json == CLOSED
    [line] = [one for one in caplog.records if one.name == "ci_server"]
    assert (line.levelno, line.getMessage()) == (
        logging.ERROR,
        "the status of build 1 (error) was not reported to the forge",
    )


#: A command of a server with the recipe, in a process of its own.
COMMAND = """
import sys
from pathlib import Path
from tests.support.ci_servers import CiServer
server = sys.modules["ci_server"] = CiServer(Path(sys.argv[1]))
server.own(FORGE=sys.argv[2], FORGE_TOKEN="of-the-ci")
server.register()
names = server.run(sys.argv[3])
server.app.cli.main(["build-admin", "set", "1", "status=error", "--yes"], "flask", obj=
    __import__("flask.cli").cli.ScriptInfo(create_app=lambda: server.app))
"""


@from_page(PAGE, code="ThreadPoolExecutor")
def test_a_command_waits_until_the_forge_is_told(code: str, tmp_path: Path) -> None:
    forge = Forge()
    forge.open.set()
    with listening(forge.app) as url:
        command = [sys.executable, "-c", COMMAND, str(tmp_path), url, code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert forge.told == [told("error")]


#: A ``mail`` that keeps what it is given.
MAIL = 'mail() { { echo "$2 for $3"; cat; } > mail.txt; }\n'


def mailed(folder: Path) -> str | None:
    """Return what was mailed since the last look."""
    mail = folder / "mail.txt"
    text = mail.read_text() if mail.exists() else None
    mail.unlink(missing_ok=True)
    return text


@from_page(PAGE, alert="overwritten --since 1d")
def test_cron_mails_what_was_overwritten(alert: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ci.db"
    app = create_app({"SQLALCHEMY_DATABASE_URI": url})
    flask = f'flask() {{ {sys.executable} -m flask "$@"; }}\n'
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)}

    def run() -> str | None:
        command = ["bash", "-c", flask + MAIL + alert]
        subprocess.run(command, cwd=tmp_path, env=environment, check=False, timeout=60)
        return mailed(tmp_path)

    def execute(statement: str) -> None:
        with app.app_context(), db.engine.begin() as connection:
            connection.exec_driver_sql(statement)

    try:
        repair = ("build-admin", "set", "1", "status=error", "--yes", "--actor", "mona")
        assert at_terminal(app, *repair).code == 0
        assert run() is None
        execute("UPDATE builds SET status = 'success'")
        for _ in range(2):  # it comes again
            text = run()
            assert text is not None
            head, shown, what, count = text.splitlines()
            assert head == "A repair was overwritten for admins@example.com"
            assert "build 1" in shown
            assert "mona" in shown
            assert what == '  overwritten: status: "error" → "success"'
            assert count == "1 repair of the last 1d 0h overwritten."
        assert at_terminal(app, *repair).code == 0
        assert run() is None
        execute("DROP TABLE build_revisions")
        execute("CREATE TABLE build_revisions (id INTEGER PRIMARY KEY)")
        assert "The database failed" in (run() or "")
    finally:
        with app.app_context():
            db.engine.dispose()


@from_page(PAGE, alert="overwritten=true")
def test_an_alert_from_another_machine(alert: str, tmp_path: Path) -> None:
    copy_example(tmp_path)
    sql = (
        "import sqlite3; one = sqlite3.connect('instance/ci.db');"
        """ one.execute("UPDATE builds SET status = 'success'"); one.commit()"""
    )
    repair = (
        f"{sys.executable} -m flask --app example_app build-admin set 1 status=error --yes"
        " > printed.txt"
    )
    last_hour = alert.replace("overwritten=true", "overwritten=true&after=$(($(date +%s) - 3600))")
    assert "after=$(($(date +%s) - 3600))" in Path(ROOT, PAGE).read_text()
    with served(tmp_path, SCRIPT) as (printed, port):
        [token] = TOKEN.findall(printed)

        def run(given: str = token, script: str = alert) -> str | None:
            paste(f"{MAIL}{typed(script, given, port)}", tmp_path)
            return mailed(tmp_path)

        paste(repair, tmp_path)
        assert run() is None
        paste(f"{sys.executable} -c \"$(cat <<'END'\n{sql}\nEND\n)\"", tmp_path)
        for script in (alert, last_hour):
            head, _, listed = (run(script=script) or "").partition("\n")
            assert head == "A repair was overwritten for admins@example.com"
            [one] = json.loads(listed)
            assert one["overwritten"] == {"status": {"before": "error", "after": "success"}}
        assert '{"error":' in (run("x") or "")
        paste(repair, tmp_path)
        assert run() is None
    assert "Failed to connect" in (run() or "")
