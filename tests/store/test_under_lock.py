"""Under the lock a build is read as it is now, also what comes by further statements.

MariaDB shows a transaction what was stored when it began, but for locking reads. It may have begun
in the host's auth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Session, deferred, relationship

from flask_build_admin import BuildSchema, Text, build_updating
from tests.support.databases import SERVERS
from tests.support.hosts import Host, history_of, model_of, row_of

MakeHost = Callable[..., Host]

pytestmark = pytest.mark.skipif(not any(SERVERS.values()), reason="SQLite has one writer at a time")


class Schema(BuildSchema):
    error = Text(attribute="failure")


def deferred_column(of_failure: Any) -> dict[str, Any]:
    return {"log": deferred(sa.Column("log", sa.String(250))), "failure": of_failure}


def related(lazy: Any) -> dict[str, Any]:
    return {
        "details": relationship("Details", uselist=False, lazy=lazy),
        "failure": association_proxy("details", "text"),
    }


def set_log(build: Any, text: str) -> None:
    build.log = text


ODD: dict[str, Callable[[], dict[str, Any]]] = {
    "property": lambda: deferred_column(property(lambda build: build.log, set_log)),
    "hybrid": lambda: deferred_column(
        hybrid_property(
            lambda build: build.log, set_log, expr=lambda build: sa.func.trim(build.log)
        )
    ),
    "lazy": lambda: related("select"),
    "selectin": lambda: related("selectin"),
    "joined": lambda: related("joined"),
}


def odd_host(make_host: MakeHost, url: str, kind: str, **options: Any) -> Host:
    """A host whose ``error`` is not among the columns that are read at once."""
    model = model_of("error", **ODD[kind]())
    details = {
        "__tablename__": "details",
        "id": sa.Column(sa.Integer, primary_key=True),
        "build_id": sa.Column(sa.ForeignKey("builds.id")),
        "text": sa.Column(sa.String(250)),
    }
    Details: Any = type("Details", (model.__mro__[1],), details)
    host = make_host(url, model=model, schema=Schema, rows=[], history=history_of(model), **options)
    with Session(host.engine) as session, session.begin():
        session.add(model(**row_of("error")))
        session.flush()
        if "log" in ODD[kind]():
            session.execute(sa.update(model).values(log="old"))
        else:
            session.add(Details(id=1, build_id=1, text="old"))
    return host


def begun_before(host: list[Host], meanwhile: list[Callable[[], Any]]) -> Callable[..., Any]:
    """An auth that reads in the session, before somebody else changes the build."""

    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked(**values: Any) -> Any:
            if meanwhile:
                session = host[0].session
                if session.get_bind().dialect.name == "mysql":
                    session.execute(sa.text("SET innodb_snapshot_isolation = OFF"))
                session.execute(sa.text("SELECT id FROM builds")).all()
                meanwhile.pop()()
            return view(**values)

        return checked

    return auth


@pytest.mark.parametrize("kind", ODD)
def test_a_change_of_what_is_read_later_is_noticed(
    make_host: MakeHost, server_url: str, kind: str
) -> None:
    hosts: list[Host] = []
    meanwhile: list[Callable[[], Any]] = []
    host = odd_host(make_host, server_url, kind, auth=begun_before(hosts, meanwhile))
    hosts.append(host)
    fetched = host.get()
    theirs, mine = (fetched.json | {"error": text} for text in ("theirs", "mine"))
    table = "builds SET log" if "log" in ODD[kind]() else "details SET text"
    meanwhile.append(lambda: host.execute(f"UPDATE {table} = 'theirs'"))
    tag = {"If-Match": fetched.headers["ETag"]}
    assert host.put(mine, headers=tag).status_code == 412
    assert host.get().json == theirs
    assert host.put(mine).json == mine
    [revision] = host.revisions().json
    assert revision["changes"] == {"error": {"before": "theirs", "after": "mine"}}


@pytest.mark.parametrize("inexact", [True, False])
def test_what_is_read_back_is_what_is_stored(
    make_host: MakeHost, server_url: str, inexact: bool
) -> None:
    """The row of the base class is not updated, so MariaDB would show it as it was."""
    status = sa.Column((sa.CHAR if inexact else sa.String)(20))
    task = model_of(
        "error",
        __tablename__="tasks",
        kind=sa.Column(sa.String(20)),
        status=status,
        __mapper_args__={"polymorphic_on": "kind", "polymorphic_identity": "task"},
    )
    own = {
        "__tablename__": "builds",
        "id": sa.Column(sa.ForeignKey("tasks.id"), primary_key=True),
        "error": sa.Column(sa.String(250)),
        "__mapper_args__": {"polymorphic_identity": "build"},
    }
    model: Any = type("Build", (task,), own)
    history = history_of(task)
    hosts: list[Host] = []
    meanwhile: list[Callable[[], Any]] = []
    auth = begun_before(hosts, meanwhile)
    host = make_host(server_url, model=model, history=history, rows=[row_of()], auth=auth)
    hosts.append(host)
    build = host.get().json
    assert host.put(build | {"error": "lost"}).status_code == 200
    [revision] = host.revisions().json
    meanwhile.append(lambda: host.execute("UPDATE tasks SET status = 'error'"))

    def receive(sender: object, **values: Any) -> None:
        pass

    with build_updating.connected_to(receive, host.app):
        answer = host.undo(revision["id"])
    assert answer.json["status"].rstrip() == "error"
    assert host.get().json == answer.json
    undone = host.revisions().json[0]
    assert undone["changes"] == {"error": {"before": "lost", "after": build["error"]}}
