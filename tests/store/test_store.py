"""The store works on the host's model as the host would: its hooks, events and rules hold."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from marshmallow import fields
from sqlalchemy.exc import IllegalStateChangeError, InvalidRequestError
from sqlalchemy.orm import (
    Session,
    deferred,
    relationship,
    validates,
)

from flask_build_admin import BuildSchema, BuildStore, Text, build_updating
from flask_build_admin.exceptions import (
    BuildNotFound,
    ConfigurationError,
    InvalidBuild,
    PreconditionFailed,
)
from flask_build_admin.representation import Representation
from flask_build_admin.store import ChangeOptions
from tests.support.databases import on_mariadb
from tests.support.hosts import OCTOCAT, Build, Host, history_of, model_of, row_of

MakeHost = Callable[..., Host]


def test_the_store_stands_without_flask(host: Host, octocat: dict[str, Any]) -> None:
    store = BuildStore(Build, host.session)
    assert store.find("1").document == octocat
    octocat["status"] = "error"
    assert store.overwrite(octocat).build.document == octocat
    assert host.row() == octocat
    with pytest.raises(BuildNotFound):
        store.find("2")
    with pytest.raises(InvalidBuild) as caught:
        store.overwrite(octocat | {"number": 0})
    assert caught.value.fields == {"number": ["less than 1"]}
    assert str(caught.value) == "number: less than 1"
    assert not host.session().in_transaction()


def test_no_update_gives_a_build_another_id(make_host: MakeHost, sqlite_url: str) -> None:
    schema = type("Known", (BuildSchema,), {"id": fields.UUID(required=True)})
    model = model_of(id=sa.Column(sa.Uuid, primary_key=True))
    known, other = UUID(int=0xA), str(UUID(int=0xB))
    host = make_host(sqlite_url, model=model, schema=schema, rows=[row_of(id=known)])
    store = host.blueprint.store
    for dry_run in (True, False):
        options = ChangeOptions(dry_run=dry_run)
        with pytest.raises(InvalidBuild) as caught:
            store.update(str(known), {"id": other, "status": "error"}, options)
        assert caught.value.fields == {"id": ["cannot be changed"]}
        [failure] = store.set([str(known)], {"id": other}, options).failed
        assert str(failure.error) == "id: cannot be changed"
    assert host.get(str(known)).json["status"] == OCTOCAT["status"]
    upper = {"id": str(known).upper(), "status": "error"}
    assert store.update(str(known), upper).build.document["status"] == "error"


def test_the_precondition_sees_the_build_as_it_is(host: Host, octocat: dict[str, Any]) -> None:
    store = BuildStore(Build, host.session)
    seen: list[Any] = []

    def refuse(build: dict[str, Any]) -> None:
        seen.append(build)
        raise PreconditionFailed

    with pytest.raises(PreconditionFailed):
        store.overwrite(octocat | {"status": "error"}, ChangeOptions(precondition=refuse))
    assert seen == [octocat]
    assert host.row() == octocat


@pytest.mark.parametrize("changed", [{}, {"status": "error"}])
def test_what_the_session_has_loaded_before_the_lock_is_read_again(
    host: Host, changed: dict[str, Any]
) -> None:
    seen: list[Any] = []
    with host.app.app_context():
        loaded = host.session.get_one(Build, 1)
        host.execute("UPDATE builds SET title = 'theirs'")
        document = OCTOCAT | {"title": "theirs"} | changed
        options = ChangeOptions(precondition=seen.append)
        result = BuildStore(Build, host.session).overwrite(document, options)
        assert loaded.title == "theirs"
    assert seen == [OCTOCAT | {"title": "theirs"}]
    assert result.revision.changes.keys() == changed.keys()
    assert host.row() == document


def test_what_the_host_has_left_pending_is_committed_with_a_read(host: Host) -> None:
    with host.app.app_context():
        host.session.get_one(Build, 1).title = "of the host"
        found = BuildStore(Build, host.session).find("1")
    assert found.document == host.row() == OCTOCAT | {"title": "of the host"}


def test_an_id_that_the_database_takes_for_another_is_unknown(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        id = Text()

    model = model_of(id=sa.Column(sa.String(9, collation="NOCASE"), primary_key=True))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row_of(id="abc")])
    assert host.get("abc").status_code == 200
    assert host.get("ABC").status_code == 404
    assert host.put(row_of(id="ABC", status="error")).status_code == 404
    assert host.row("abc") == row_of(id="abc")


def test_a_number_that_the_driver_cannot_pass_on_is_a_conflict(
    make_host: MakeHost, sqlite_url: str
) -> None:
    grow: Any = lambda build, key, value: value << 64  # noqa: E731
    host = make_host(
        sqlite_url,
        model=model_of(grow=validates("parent")(grow)),
        rows=[row_of("parent", parent=0)],
    )
    answer = host.put(OCTOCAT | {"parent": 1})
    assert (answer.status_code, [*answer.json]) == (409, ["error"])
    assert host.row()["parent"] == 0


def test_a_null_that_the_document_leaves_alone_stays(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url, rows=[OCTOCAT | {"finished": None, "deploy": None}])
    fetched = host.get()
    assert fetched.json == OCTOCAT
    assert host.put(fetched.json | {"status": "error"}).json == OCTOCAT | {"status": "error"}
    assert host.row() == OCTOCAT | {"status": "error", "finished": None, "deploy": None}
    assert host.put(fetched.json | {"finished": 5, "deploy": "x"}).status_code == 200
    assert host.put(fetched.json).status_code == 200
    assert host.row() == OCTOCAT  # what was set once is set back to zero, not to NULL


def test_only_what_differs_is_assigned(make_host: MakeHost, sqlite_url: str) -> None:
    assigned: list[tuple[str, Any]] = []

    def note(self: Any, key: str, value: Any) -> Any:
        assigned.append((key, value))
        return value

    model = model_of(note=validates("title", "status", "finished")(note))
    host = make_host(sqlite_url, model=model)
    assigned.clear()
    assert host.put(OCTOCAT).status_code == 200
    assert assigned == []
    assert host.put(OCTOCAT | {"title": "x"}).status_code == 200
    assert assigned == [("title", "x")]


@pytest.mark.parametrize(
    ("raised", "problem"),
    [
        ("not from failed to in_progress", "not from failed to in_progress"),
        ("", "refused by the model"),
        ("100 %\n\tof\x1b it", "100 \\u0025 of\\u001b it"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
    ],
)
def test_what_the_model_says_of_a_value_is_passed_on(
    make_host: MakeHost, sqlite_url: str, raised: str, problem: str
) -> None:
    def refuse(self: Any, key: str, value: Any) -> Any:
        if value == "odd":
            raise ValueError(raised)
        return value

    host = make_host(sqlite_url, model=model_of(refuse=validates("title", "status")(refuse)))
    refused = host.put(OCTOCAT | {"title": "odd", "status": "odd", "branch": "x"})
    assert refused.status_code == 400
    assert refused.json["fields"] == {"status": [problem], "title": [problem]}
    if len(problem) < 100:
        assert refused.json["error"] == f"status: {problem}; title: {problem}"
    assert host.row() == OCTOCAT


def test_a_value_that_the_model_changes_is_refused(make_host: MakeHost, sqlite_url: str) -> None:
    def lower(self: Any, key: str, value: str) -> str:
        return value.lower()

    host = make_host(sqlite_url, model=model_of(lower=validates("branch")(lower)))
    refused = host.put(OCTOCAT | {"branch": "Topic", "title": "x"})
    assert refused.status_code == 400
    assert refused.json["fields"] == {"branch": ["not stored as sent"]}
    assert host.row() == OCTOCAT
    assert host.put(OCTOCAT | {"branch": "topic"}).json["branch"] == "topic"


def test_what_cannot_be_rolled_back_is_not_committed_by_the_host(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(
        database_url, model=model_of(loud=validates("title")(lambda _, key, text: text.upper()))
    )

    def change(session: Session) -> None:
        # The refusal comes after the flush. In the midst of a commit no session can be rolled back.
        with suppress(InvalidBuild):
            host.blueprint.store.overwrite(OCTOCAT | {"title": "x", "status": "error"})

    session = host.session()
    sa.event.listen(session, "before_commit", change)
    with host.app.app_context():
        session.execute(sa.text("UPDATE builds SET branch = branch"))
        with pytest.raises(IllegalStateChangeError):
            session.commit()
    assert host.row()["status"] == OCTOCAT["status"]


def test_a_version_counter_counts_changes_only(make_host: MakeHost, database_url: str) -> None:
    version = sa.Column(sa.Integer, nullable=False)
    model = model_of(version=version, __mapper_args__={"version_id_col": version})
    host = make_host(database_url, model=model)
    for title, count in (("x", 2), ("x", 2), ("y", 3)):
        assert host.put(OCTOCAT | {"title": title}).status_code == 200
        assert host.row()["version"] == count


def test_a_version_counter_that_does_not_match_refuses(
    make_host: MakeHost, sqlite_url: str
) -> None:
    version = sa.Column(sa.Integer, nullable=False)
    model = model_of(version=version, __mapper_args__={"version_id_col": version})

    def interfere(session: Session, *args: object) -> None:
        session.connection().execute(sa.text("UPDATE builds SET version = version + 1"))

    host = make_host(sqlite_url, model=model)
    sa.event.listen(host.session, "before_flush", interfere)
    refused = host.put(OCTOCAT | {"title": "x"})
    assert refused.status_code == 409
    assert host.row()["title"] == OCTOCAT["title"]
    assert host.row()["version"] == 1


def test_onupdate_runs_for_a_change_and_for_no_other_put(
    make_host: MakeHost, database_url: str
) -> None:
    counted = iter(range(1, 9))
    column = sa.Column(sa.Integer, default=0, onupdate=lambda: next(counted))
    host = make_host(database_url, model=model_of(updates=column))
    assert host.put(OCTOCAT).status_code == 200
    assert host.row()["updates"] == 0
    assert host.put(OCTOCAT | {"title": "x"}).status_code == 200
    assert host.row()["updates"] == 1


def test_a_trigger_does_not_fire_for_a_put_that_changes_nothing(host: Host) -> None:
    host.execute("CREATE TABLE fired (at INTEGER)")
    host.execute(
        "CREATE TRIGGER fire AFTER UPDATE ON builds BEGIN INSERT INTO fired VALUES (1); END"
    )
    for title in (OCTOCAT["title"], "x"):
        assert host.put(OCTOCAT | {"title": title}).status_code == 200
    with host.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM fired")) == 1


def test_eager_relationships_neither_repeat_nor_lock(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of(
        "repo_id",
        repo_id=sa.Column(sa.BigInteger),
        __table_args__=(sa.Index("by_repo", "repo_id"),),
        steps=relationship("Step", lazy="joined", order_by="Step.id"),
        message=deferred(sa.Column(sa.String(250))),
    )
    columns = {
        "id": sa.Column(sa.Integer, primary_key=True, autoincrement=False),
        "build_id": sa.Column(sa.ForeignKey("builds.id")),
        "name": sa.Column(sa.String(20)),
    }
    step = type("Step", (model.__mro__[1],), {"__tablename__": "steps", **columns})
    steps = [step(id=1, name="clone"), step(id=2, name="test")]
    host = make_host(database_url, model=model, rows=[row_of(steps=steps)])
    assert host.put(OCTOCAT | {"title": "x"}).json == OCTOCAT | {"title": "x"}
    assert host.get().json == OCTOCAT | {"title": "x"}
    with Session(host.engine) as session:
        assert [one.name for one in session.get_one(model, 1).steps] == ["clone", "test"]


def test_an_inherited_model_is_stored_in_both_tables(
    make_host: MakeHost, database_url: str
) -> None:
    base = model_of("title", "message", kind=sa.Column(sa.String(20)))
    base.__mapper__.polymorphic_on = None
    columns = {
        "id": sa.Column(sa.ForeignKey("builds.id"), primary_key=True, autoincrement=False),
        "title": sa.Column(sa.String(250)),
        "message": sa.Column(sa.String(250)),
    }
    model = type("Release", (base,), {"__tablename__": "releases", **columns})
    host = make_host(database_url, model=model)
    changed = OCTOCAT | {"title": "x", "status": "error"}
    assert host.put(changed).json == changed
    assert host.get().json == changed


def test_a_bare_attribute_error_of_a_model_is_no_answer(
    make_host: MakeHost, sqlite_url: str
) -> None:
    def title(self: Any) -> str:
        raise LookupError("secret")

    model = model_of("title", title=property(title, lambda self, value: None))
    host = make_host(sqlite_url, model=model, rows=[row_of("title")])
    answer = host.get()
    assert answer.status_code == 500
    assert answer.json == {"error": "The server failed to handle the request."}


def test_one_line_tells_of_an_update(
    make_host: MakeHost, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host = make_host(sqlite_url, actor=lambda: "mona\n\x1b[31m")
    host.put(OCTOCAT)
    host.put(OCTOCAT | {"title": "secret", "status": "error"})
    host.put(OCTOCAT | {"number": 0})
    lines = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    told = "build 1 updated by 'mona\\n\\x1b[31m': status, title"
    assert lines == [("flask_build_admin", "INFO", told)]


def test_the_log_names_no_actor_where_none_is_known(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.put(OCTOCAT | {"status": "error"})
    assert caplog.messages == ["build 1 updated: status"]


def test_a_session_may_be_bound_to_a_connection(host: Host) -> None:
    with host.engine.connect() as connection, Session(connection) as session:
        outer = connection.begin()
        store = BuildStore(Build, lambda: session)
        assert store.overwrite(OCTOCAT | {"title": "x"}).build.document["title"] == "x"
        outer.rollback()
    assert host.row()["title"] == OCTOCAT["title"]


def test_a_database_without_row_locks_is_refused(host: Host) -> None:
    engine = sa.create_mock_engine("mssql+pyodbc://", lambda *args: None)

    class Elsewhere(Session):
        def get_bind(self, *args: Any, **kwargs: Any) -> Any:
            return engine

    with pytest.raises(ConfigurationError, match="mssql locks no row"):
        BuildStore(Build, lambda: Elsewhere()).overwrite(OCTOCAT)


def test_a_relationship_is_followed_where_the_build_has_come_to(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        repo = fields.String(attribute="repo.name", dump_only=True)
        owner = fields.String(dump_only=True)

    model = model_of(
        "repo_id",
        repo_id=sa.Column(sa.ForeignKey("repos.id")),
        repo=relationship("Repo"),
        owner=property(lambda build: build.repo.owner),
    )
    columns = {
        "id": sa.Column(sa.BigInteger, primary_key=True, autoincrement=False),
        "name": sa.Column(sa.String(20)),
        "owner": sa.Column(sa.String(20)),
    }
    repo = type("Repo", (model.__mro__[1],), {"__tablename__": "repos", **columns})
    repos = [repo(id=number, name=f"r{number}", owner=f"o{number}") for number in (1, 2, 3)]
    rows = [row_of("repo_id", repo=one, id=one.id, number=one.id) for one in repos]
    host = make_host(database_url, model=model, schema=Schema, rows=rows, history=history_of(model))
    document = host.get().json
    assert (document["repo"], document["owner"]) == ("r1", "o1")
    put = host.put(document | {"repo_id": 2})
    assert (put.json["repo"], put.json["owner"]) == ("r2", "o2")
    assert put.data == host.get().data
    assert host.revisions().json[0]["changes"].keys() == {"repo_id", "repo", "owner"}

    def move(sender: Any, build: Any, **told: Any) -> None:
        build.repo_id = 3

    with build_updating.connected_to(move, host.app):
        put = host.put(put.json | {"title": "x"})
    assert (put.json["repo"], put.json["owner"]) == ("r3", "o3")
    assert host.undo(host.recorded()[0]["id"]).status_code == 409
    assert host.undo(host.recorded()[1]["id"]).json["repo"] == "r2"


def test_an_id_that_two_builds_have_changes_neither(make_host: MakeHost, sqlite_url: str) -> None:
    model = model_of(id=sa.Column(sa.Integer), key=sa.Column(sa.Integer, primary_key=True))
    host = make_host(sqlite_url, model=model, rows=[OCTOCAT, OCTOCAT])
    assert host.put(OCTOCAT | {"title": "x"}).status_code == 500
    with host.engine.connect() as connection:
        titles = connection.scalars(sa.select(model.__table__.c.title)).all()
    assert titles == [OCTOCAT["title"]] * 2


@pytest.mark.parametrize(
    ("statement", "status"),
    [("SELECT secret FROM nowhere", 500), ("INSERT INTO builds (id) VALUES (1)", 409)],
)
def test_an_actor_that_the_database_refuses_is_answered_without_its_words(
    make_host: MakeHost,
    sqlite_url: str,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    status: int,
) -> None:
    statements = iter([statement, "SELECT 1"])

    def actor() -> Any:
        return host.session.scalar(sa.text(next(statements)))

    host = make_host(sqlite_url, actor=actor)
    answer = host.put(OCTOCAT)
    assert answer.status_code == status
    assert list(answer.json) == ["error"]
    assert not {"SELECT", "secret", "builds"} & set(f"{answer.text} {caplog.text}".split())
    assert host.put(OCTOCAT | {"title": "x"}).status_code == 200


def test_a_mistake_of_the_host_with_sqlalchemy_is_a_500(
    make_host: MakeHost, sqlite_url: str
) -> None:
    def actor() -> None:
        raise InvalidRequestError("secret")

    answer = make_host(sqlite_url, actor=actor).put(OCTOCAT)
    assert answer.status_code == 500
    assert answer.json == {"error": "The server failed to handle the request."}


def test_a_deferred_column_is_read_under_the_lock(make_host: MakeHost, server_url: str) -> None:
    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked() -> Any:
            host.session.execute(sa.text("SELECT count(*) FROM builds"))
            host.execute("UPDATE builds SET message = 'of a worker'")
            return view()

        return checked

    kinds: list[Any] = [deferred, lambda column: deferred(column, raiseload=True)]
    for kind in kinds:
        model = model_of("message", message=kind(sa.Column(sa.String(250))))
        host = make_host(server_url, model=model, auth=auth)
        tag = f'"{Representation.of(OCTOCAT).tag}"'
        refused = host.put(OCTOCAT | {"status": "error"}, headers={"If-Match": tag})
        assert refused.status_code == 412
        shown = OCTOCAT | {"message": "of a worker"}
        assert host.get().json == shown
        put = host.put(
            shown | {"status": "error"}, headers={"If-Match": host.get().headers["ETag"]}
        )
        assert put.json == shown | {"status": "error"}


def test_subclasses_that_are_joined_in_are_not_locked(
    make_host: MakeHost, database_url: str
) -> None:
    kind = sa.Column(sa.String(20), default="build")
    mapping = {
        "polymorphic_on": kind,
        "polymorphic_identity": "build",
        "with_polymorphic": "*",
    }
    model = model_of(kind=kind, __mapper_args__=mapping)
    columns = {
        "id": sa.Column(sa.ForeignKey("builds.id"), primary_key=True),
        "version": sa.Column(sa.String(20)),
        "__mapper_args__": {"polymorphic_identity": "release"},
    }
    type("Release", (model,), {"__tablename__": "releases", **columns})
    host = make_host(database_url, model=model)
    assert host.put(OCTOCAT | {"title": "x"}).json == OCTOCAT | {"title": "x"}


class Unspeakable:
    """An actor that cannot be named."""

    def __str__(self) -> str:
        raise LookupError


def test_what_cannot_be_told_is_not_stored(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        ratio = fields.Raw(dump_only=True)

    host = make_host(sqlite_url, actor=Unspeakable)
    assert host.put(OCTOCAT | {"title": "x"}).status_code == 500
    assert host.row() == OCTOCAT
    odd = Decimal(1)  # no JSON value, and the same before and after
    model = model_of(ratio=property(lambda self: odd if self.title == "x" else 1))
    host = make_host(sqlite_url, model=model, schema=Schema)
    assert host.get().json["ratio"] == 1
    assert host.put(OCTOCAT | {"title": "x", "ratio": 1}).status_code == 500
    assert host.row() == OCTOCAT


def test_a_session_that_does_not_begin_by_itself(make_host: MakeHost, database_url: str) -> None:
    host = make_host(database_url)
    host.session.configure(autobegin=False)
    assert host.get().json == OCTOCAT
    assert host.put(OCTOCAT | {"title": "x"}).json == OCTOCAT | {"title": "x"}
    result = host.blueprint.store.set(["1"], {"title": "y"})
    assert [one.changes["title"]["after"] for one in result.changed] == ["y"]


def test_what_the_auth_left_pending_is_no_fault_of_the_id(
    make_host: MakeHost, server_url: str
) -> None:
    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked() -> Any:
            host.session.add(host.model(**OCTOCAT | {"id": 2, "event": "x" * 300}))
            return view()

        return checked

    host = make_host(server_url, model=model_of(), auth=auth)
    assert host.get().status_code == 409
    assert host.put(OCTOCAT).status_code == 409


def test_a_listener_that_fails_after_the_commit_is_answered_in_form(host: Host) -> None:
    def fail(session: Session) -> None:
        raise LookupError

    sa.event.listen(host.session, "after_commit", fail)
    answer = host.put(OCTOCAT | {"title": "x"})
    assert answer.status_code == 500
    assert answer.json == {"error": "The server failed to handle the request."}
    with pytest.raises(LookupError):
        BuildStore(Build, host.session).overwrite(OCTOCAT)
    assert not host.session().in_transaction()
    sa.event.remove(host.session, "after_commit", fail)
    assert BuildStore(Build, host.session).find("1").document == OCTOCAT


@on_mariadb
@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("CALL no_such_procedure()", 500),
        ("UPDATE builds SET title = 'x' WHERE id = 2", 500),
        ("SET NEW.parent = CAST(0 AS UNSIGNED) - 1", 409),
        ("SIGNAL SQLSTATE '45000'", 409),
    ],
)
def test_a_trigger_that_always_fails_asks_for_no_other_try(
    make_host: MakeHost, server_url: str, statement: str, status: int
) -> None:
    host = make_host(server_url)
    host.execute(f"CREATE TRIGGER fail BEFORE UPDATE ON builds FOR EACH ROW {statement}")
    assert host.put(OCTOCAT | {"status": "error"}).status_code == status
    assert host.row() == OCTOCAT
