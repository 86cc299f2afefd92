"""Under the lock a build is read as it is now, also what comes by further statements.

MariaDB shows a transaction what was stored when it began, but for locking reads. It may have begun
in the host's auth. PostgreSQL reads again only the row for which it has waited, and a session keeps
what the auth has read.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
import sqlalchemy as sa
from flask import g
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    Session,
    deferred,
    object_session,
    relationship,
    scoped_session,
    sessionmaker,
)

from flask_build_admin import BuildSchema, Text, build_updating
from tests.support.hosts import ADMIN, URL, Host, history_of, model_of, row_of

MakeHost = Callable[..., Host]


class Schema(BuildSchema):
    error = Text(attribute="failure")


def deferred_column(of_failure: Any) -> dict[str, Any]:
    return {"log": deferred(sa.Column("log", sa.String(250))), "failure": of_failure}


def related(lazy: Any) -> dict[str, Any]:
    return {
        "details": relationship("Details", uselist=False, lazy=lazy),
        "failure": association_proxy("details", "text"),
    }


def details_of(build: Any) -> Any:
    session: Any = object_session(build)
    return session.scalars(sa.select(type(build).other)).one()


def text_of_details(build: Any) -> Any:
    return details_of(build).text


def set_text_of_details(build: Any, text: str) -> None:
    details_of(build).text = text


def set_text(build: Any, text: str) -> None:
    build.text = text


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
    "subquery": lambda: related("subquery"),
    "query": lambda: {"failure": property(text_of_details, set_text_of_details)},
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
    # An attribute, too, because the registry of SQLAlchemy has weak references.
    Details: Any = type("Details", (model.__mro__[1],), details)
    model.other = Details
    host = make_host(url, model=model, schema=Schema, rows=[], history=history_of(model), **options)
    with Session(host.engine) as session, session.begin():
        session.add(model(**row_of("error")))
        session.flush()
        if "log" in ODD[kind]():
            session.execute(sa.update(model).values(log="old"))
        else:
            session.add(Details(id=1, build_id=1, text="old"))
    return host


def begun_before(
    host: list[Host], meanwhile: list[Callable[[], Any]], table: str = "builds"
) -> Callable[..., Any]:
    """An auth that reads in the session, before somebody else changes the build."""

    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked(**values: Any) -> Any:
            if meanwhile:
                session = host[0].session
                if session.get_bind().dialect.name == "mysql":
                    session.execute(sa.text("SET innodb_snapshot_isolation = OFF"))
                session.execute(sa.text(f"SELECT id FROM {table}")).all()
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


@pytest.mark.parametrize("kind", ["lazy", "selectin", "joined", "query"])
def test_what_the_auth_holds_is_read_again(
    make_host: MakeHost, database_url: str, kind: str
) -> None:
    meanwhile: list[Callable[[], Any]] = []

    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked(**values: Any) -> Any:
            if meanwhile:
                details = host.model.other
                g.held = host.session.get(details, 1)
                g.build = host.session.get(host.model, 1)
                assert (g.held.text, g.build.failure) == ("old", "old")
                meanwhile.pop()()
            return view(**values)

        return checked

    host = odd_host(make_host, database_url, kind, auth=auth)
    fetched = host.get()
    tag = {"If-Match": fetched.headers["ETag"]}
    meanwhile.append(lambda: host.execute("UPDATE details SET text = 'theirs'"))
    assert host.put(fetched.json | {"error": "mine"}, headers=tag).status_code == 412
    # Nor is it taken for what is stored.
    host.execute("UPDATE details SET text = 'old'")
    meanwhile.append(lambda: host.execute("UPDATE details SET text = 'theirs'"))
    assert host.put(fetched.json | {"title": "mine", "error": "old"}).json["error"] == "old"
    changes = host.revisions().json[0]["changes"]
    assert changes["error"] == {"before": "theirs", "after": "old"}


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("kind", ["lazy", "selectin", "joined"])
def test_of_two_changes_at_once_the_second_is_refused(
    make_host: MakeHost, server_url: str, kind: str, isolation: str
) -> None:
    """The second one waits for the lock of a row that the first has not changed."""
    engine = sa.create_engine(server_url, isolation_level=isolation)
    session = scoped_session(sessionmaker(engine))
    host = odd_host(make_host, server_url, kind, session=session)
    fetched = host.get()
    tag = {"If-Match": fetched.headers["ETag"]}
    waits: list[Any] = []

    def put(**members: str) -> Any:
        body = fetched.json | members
        try:
            return host.app.test_client().put(URL, json=body, headers=ADMIN | tag)
        finally:
            session.remove()  # of this thread

    def receive(sender: object, **change: Any) -> None:
        if not waits:
            waits.append(threads.submit(put, title="second"))
            wait(waits, timeout=0.3)

    with ThreadPoolExecutor(1) as threads, build_updating.connected_to(receive, host.app):
        assert put(error="first").status_code == 200
        second = waits[0].result()
    # PostgreSQL's REPEATABLE READ finds that it would read what is not so any more.
    assert second.status_code in ((412, 503) if isolation == "REPEATABLE READ" else (412,))
    [revision] = host.revisions().json
    assert revision["changes"] == {"error": {"before": "old", "after": "first"}}
    assert revision["changed_outside"] == {}
    session.remove()
    engine.dispose()


@pytest.mark.parametrize("joined", [True, False])
def test_what_a_subclass_has_is_read_as_it_is(
    make_host: MakeHost, server_url: str, joined: bool
) -> None:
    task = model_of(
        "error",
        __tablename__="tasks",
        kind=sa.Column(sa.String(20)),
        __mapper_args__={"polymorphic_on": "kind", "polymorphic_identity": "task"},
        failure=property(
            lambda build: build.text, lambda build, text: setattr(build, "text", text)
        ),
    )
    own: dict[str, Any] = {"text": sa.Column(sa.String(250))}
    own["__mapper_args__"] = {"polymorphic_identity": "build"}
    if joined:
        own["__tablename__"] = "builds"
        own["id"] = sa.Column(sa.ForeignKey("tasks.id"), primary_key=True)
    model: Any = type("Build", (task,), own)
    hosts: list[Host] = []
    meanwhile: list[Callable[[], Any]] = []
    auth = begun_before(hosts, meanwhile, "tasks")
    history = history_of(task)
    host = make_host(server_url, model=task, schema=Schema, history=history, rows=[], auth=auth)
    hosts.append(host)
    with Session(host.engine) as session, session.begin():
        session.add(model(**row_of("error"), text="old"))
    fetched = host.get()
    table = "builds" if joined else "tasks"
    meanwhile.append(lambda: host.execute(f"UPDATE {table} SET text = 'theirs'"))
    tag = {"If-Match": fetched.headers["ETag"]}
    mine = fetched.json | {"error": "mine"}
    assert host.put(mine, headers=tag).status_code == 412
    assert host.put(mine).json == mine


def test_a_relationship_of_distinct_rows_is_changed(make_host: MakeHost, server_url: str) -> None:
    """A subquery of the locked statement would be DISTINCT, which PostgreSQL does not lock."""
    host = odd_host(make_host, server_url, "subquery")
    mine = host.get().json | {"error": "mine"}
    assert host.put(mine).json == mine


def test_what_a_listener_of_another_object_writes_is_read_back(
    make_host: MakeHost, database_url: str
) -> None:
    host = odd_host(make_host, database_url, "lazy")
    details = host.model.other

    def touch(mapper: Any, connection: Any, target: Any) -> None:
        connection.execute(sa.update(host.model.__table__).values(title="touched"))

    sa.event.listen(details, "after_update", touch)
    answer = host.put(host.get().json | {"error": "new"})
    assert (answer.status_code, answer.json["title"]) == (200, "touched")
    assert host.get().headers["ETag"] == answer.headers["ETag"]
    assert host.revisions().json[0]["changed_outside"] == {}


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
