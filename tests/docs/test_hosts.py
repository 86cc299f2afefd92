"""The hosts of docs/hosts.md: their models, their sessions, their apps and their receivers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_build_admin import BuildAdmin, BuildSchema, build_updated
from tests.support.ci_servers import Audit, CiServer, OtherBuild, Status, bearer
from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, BuildRevision, Host, row_of, stuck
from tests.support.pages import PAGES, from_page
from tests.support.terminals import pipe

PAGE = "docs/hosts.md"
CHANGED = OCTOCAT | {"status": "error"}


def section(title: str) -> str:
    [found] = re.findall(rf"^## {title}\n(.*?)^## ", PAGES[PAGE], re.MULTILINE | re.DOTALL)
    return str(found)


def test_every_option_is_told() -> None:
    rows = re.findall(r"^\|([^|]*)\|", section("Options"), re.MULTILINE)
    told = [name for row in rows for name in re.findall("`([a-z_]+)`", row)]
    assert told == list(inspect.signature(BuildAdmin).parameters)


@from_page(PAGE, code="class RoutingSession")
def test_a_session_that_reads_from_a_replica(server: CiServer, code: str, tmp_path: Path) -> None:
    names = server.run(code.replace("sqlite:///ci.db", f"sqlite:///{tmp_path / 'routed.db'}"))
    Build.metadata.create_all(names["primary"])
    with Session(names["primary"]) as session:
        session.add(Build(**OCTOCAT))
        session.commit()
    assert server.ask("PUT", document=CHANGED).json == CHANGED
    assert server.ask("GET", "/1").json == CHANGED
    for engine in (names["primary"], *names["replicas"]):
        engine.dispose()


@from_page(PAGE, code="class RunSchema")
def test_a_host_with_eight_columns(server: CiServer, code: str) -> None:
    assert PAGES[PAGE].index("Meta.fields") < PAGES[PAGE].index("```")
    run = server.run(code)["Run"]
    sa.Table("projects", run.metadata, sa.Column("id", sa.Integer, primary_key=True))
    columns = {"id": 1, "project_id": 3, "state": None, "log": "", "branch": "main"}
    server.fill(run, **columns, created_at=datetime(2020, 1, 1), ended_on=5, canceled=True)
    shown = server.ask("GET", "/1").json
    assert shown == {
        "id": 1,
        "repo_id": 3,
        "status": "pending",
        "error": "",
        "created": 1577836800,
        "finished": 5,
        "branch": "main",
        "canceled": True,
    }
    changed = shown | {"status": "failure", "finished": 0, "canceled": False}
    assert server.ask("PUT", document=changed).json == changed
    with server.app.app_context():
        row: Any = server.db.session.get(run, 1)
        assert (row.state, row.ended_on, row.canceled) == (2, None, False)
    refused = server.ask("PUT", document=changed | {"status": "lost", "canceled": "yes"})
    assert refused.json["fields"] == {
        "status": ["not one of pending, running, success, failure"],
        "canceled": ["not true or false"],
    }


def test_a_second_meta_drops_that_of_the_parent() -> None:
    class Parent(BuildSchema):
        class Meta:
            dump_only = ("status",)

    class Dropping(Parent):
        class Meta:
            fields = ("id", "status", "title")

    class Keeping(Parent):
        class Meta(Parent.Meta):
            fields = ("id", "status", "title")

    found = [one().fields["status"].dump_only for one in (Parent, Dropping, Keeping)]
    assert found == [True, False, True]


@from_page(PAGE, code="OtherBuildSchema")
def test_another_model(server: CiServer, code: str) -> None:
    server.run(code)
    left_out = ("repo_id", "started", "finished", "runtime", "distribution")
    server.fill(OtherBuild, **row_of(*left_out, repository_id=1, status=Status.RUNNING))
    shown = server.ask("GET", "/1").json
    expected = OCTOCAT | {"status": "running", "started": 0, "priority": 0}
    del expected["distribution"]
    assert shown == expected
    shown |= {"status": "error", "finished": 1563474099, "priority": 3}
    assert server.ask("PUT", document=shown).json == shown
    refused = server.ask("PUT", document=shown | {"author": "Mona"})
    assert refused.json["fields"] == {"author": ["cannot be changed"]}


@from_page(PAGE, code="flask_sqlalchemy_lite")
def test_flask_sqlalchemy_lite(server: CiServer, code: str, tmp_path: Path) -> None:
    made = server.run(code.replace("sqlite:///", f"sqlite:///{tmp_path}/"))
    with server.app.app_context():
        changed_by_mona(server, made["db"].engine)
        made["db"].engine.dispose()


@from_page(PAGE, code="sessionmaker(binds=")
def test_sqlalchemy_alone(server: CiServer, code: str, tmp_path: Path) -> None:
    made = server.run(code.replace("sqlite:///", f"sqlite:///{tmp_path}/"))
    changed_by_mona(server, made["builds"])
    assert not made["session"].registry.has()
    assert sa.inspect(made["users"]).get_table_names() == []
    made["builds"].dispose()
    made["users"].dispose()


def changed_by_mona(server: CiServer, engine: sa.Engine) -> None:
    """Make the table in a database that the host has made, and change the build there."""
    Build.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Build(**OCTOCAT))
        session.commit()
    assert server.ask("PUT", document=CHANGED).json == CHANGED
    assert server.ask("GET", "/1").json == CHANGED
    assert server.statuses({}) == [401]


@from_page(PAGE, code="def create_app")
def test_two_apps_with_three_registrations_each(
    server: CiServer, code: str, tmp_path: Path
) -> None:
    create_app = server.run(code)["create_app"]
    for name in ("one", "two"):
        server.app = create_app(f"sqlite:///{tmp_path}/{name}.db")
        server.fill()
        put: dict[str, Any] = {"json": OCTOCAT | {"title": name}, **bearer("mona")}
        client = server.app.test_client()
        assert client.put("/again/build", **put).headers["Content-Location"] == "/again/build/1"
        assert server.ask("GET", "/1").json["title"] == name
        assert client.put("/strict/build", **put).status_code == 428
        assert {"build-admin", "again", "strict"} <= {*server.app.cli.commands}
        server.close()


@from_page(PAGE, code="connect_via")
def test_the_signals(server: CiServer, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.register()
    names = server.run(code)
    for query in ("?dry_run=true", ""):
        assert server.ask("PUT", query, CHANGED).status_code == 200
    assert capsys.readouterr().out == "mona repaired build 1\n"
    with server.app.app_context():
        told: Any = sa.select(Audit.actor, Audit.before, Audit.after)
        [audit] = server.db.session.execute(told)
        assert tuple(audit) == ("mona", OCTOCAT, CHANGED)
    assert names  # the receivers are held weakly


#: Members of a build, by the warning that the page has for it: without it, and with it.
IMPOSSIBLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "finished is before started": ({"started": 5, "finished": 5}, {"started": 6, "finished": 5}),
    "started is before created": ({"created": 5, "started": 5}, {"created": 6, "started": 5}),
    "finished is in the future": ({"finished": 1060}, {"finished": 1061}),
    "the status is final, but finished is 0": ({"finished": 1}, {"finished": 0}),
    "the status is not final, but finished is not 0": (
        {"status": "running", "finished": 0},
        {"status": "running", "finished": 1},
    ),
}


def test_every_warning_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_build_admin.store.warnings.time", lambda: 1000.5)
    rows = re.findall(r"^\| ([^|]*) \| `([^`]*)` \|", section("Contradictions"), re.MULTILINE)
    assert [warning for _, warning in rows] == [*IMPOSSIBLE]
    plain = OCTOCAT | {"enqueued": 0, "created": 0, "started": 0, "finished": 9}
    for named, warning in rows:
        possible, impossible = IMPOSSIBLE[warning]
        assert host.blueprint.store.warnings_of(plain | possible) == []
        [found] = host.blueprint.store.warnings_of(plain | impossible)
        assert found.warning == warning
        told = re.findall("`([a-z]+)`", named) or ["finished"]
        assert sorted(found.members) == sorted(told)


def test_a_status_is_not_judged_without_a_queue(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    host = make_host(sqlite_url, queue_statuses=())
    document = OCTOCAT | {"started": 0, "finished": 0}
    assert host.blueprint.store.warnings_of(document) == []


def test_warnings_are_refused_unless_they_are_forced(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    rows = [OCTOCAT, stuck(2)]
    host = make_host(sqlite_url, history=BuildRevision, refuse_warnings=True, rows=rows)
    heard: list[str | None] = []

    def note(sender: Any, reason: str | None, **_: Any) -> None:
        heard.append(reason)

    wrong = OCTOCAT | {"started": 1563474078, "finished": 1563474077}
    warning = "finished is before started"
    refused = host.put(wrong)
    assert (refused.status_code, refused.json) == (
        400,
        {
            "error": f"Refused, unless you force it: {warning}.",
            "fields": {"started": [warning], "finished": [warning]},
        },
    )
    assert host.put(wrong | {"number": 2}).status_code == 409  # the database is asked before
    with build_updated.connected_to(note):
        forced = {"force": "true", "reason": "worker lost"}
        assert host.put(wrong, query_string=forced).json == wrong
        # What it leaves as it was is not refused.
        titled = wrong | {"title": "x"}
        assert host.put(titled, query_string={"reason": "typo"}).json == titled
        forced["reason"] = "x" * 990
        again = titled | {"finished": 1563474076}
        assert host.put(again, query_string=forced).json == again
    reasons = [one["reason"] for one in host.recorded()]
    assert reasons == [f"worker lost (forced: {warning})", "typo", f"{'x' * 990} (forced)"]
    assert heard == ["worker lost", "typo", "x" * 990]
    assert " ".join(section("Contradictions").split()).count(f"`{reasons[0]}`") == 1
    store = host.blueprint.store
    set_back = ("set", "1", "finished=5", "--yes")
    assert pipe(host, *set_back).code == 1
    assert pipe(host, *set_back, "--force").code == 0
    assert store.find("1").document["finished"] == 5


def test_a_clean_names_what_it_leaves(make_host: Callable[..., Host], sqlite_url: str) -> None:
    late = int(time()) + 3600
    rows = [stuck(1), stuck(2, started=late)]
    message = "finished is before started, started is in the future"
    path = f"{URL.removesuffix('/build')}/clean"

    def clean(refuse: bool, query: str = "") -> Any:
        host = make_host(sqlite_url, rows=rows, refuse_warnings=refuse)
        return host.client.put(f"{path}{query}", headers=ADMIN).json

    told = f"2 builds would be cleaned. What cannot be: 2 ({message})."
    assert clean(False, "?dry_run=true") == told
    assert clean(False) == "2 builds cleaned."
    told = "1 build cleaned. 1 build not cleaned: 2 (Refused, unless you force it: "
    assert clean(True) == f"{told}finished is before started)."
    assert clean(True, "?force=true") == f"2 builds cleaned. What cannot be: 2 ({message})."
