"""Hooks, getters, events and related rows that do what no plain host does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, g
from marshmallow import EXCLUDE, ValidationError, fields, post_dump, pre_load, validates_schema
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import DeclarativeBase, Session, joinedload, object_session, relationship

from flask_build_admin import BuildAdmin, BuildSchema, Text, UnixTime, build_updating
from flask_build_admin.exceptions import ConfigurationError
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    BuildRevision,
    Host,
    history_of,
    model_of,
    row_of,
    token_auth,
)

MakeHost = Callable[..., Host]
QUEUE = "/api/v1/admin/builds/queue"


def odd(make_host: MakeHost, url: str, model: type[Any], **options: Any) -> Host:
    return make_host(url, model=model, history=history_of(model), **options)


def queued(host: Host) -> list[int]:
    found: Any = host.client.get(QUEUE, headers=ADMIN)
    return [one["id"] for one in found.json]


def changes(host: Host) -> Any:
    return host.revisions().json[0]["changes"]


class WithoutNulls(BuildSchema):
    title = fields.String(allow_none=True)

    @post_dump
    def drop(self, data: Any, **options: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None}


def test_a_member_that_is_no_longer_dumped_is_a_change(
    make_host: MakeHost, database_url: str
) -> None:
    host = odd(make_host, database_url, model_of(), schema=WithoutNulls)
    assert host.put(OCTOCAT | {"title": None}).status_code == 200
    assert changes(host) == {"title": {"before": OCTOCAT["title"], "after": None}}
    assert host.row()["title"] is None


class AsText(BuildSchema):
    """Times as text, made by hooks."""

    created = UnixTime(required=True)

    @post_dump
    def dump_times(self, data: Any, **options: Any) -> Any:
        return data | {key: str(data[key]) for key in ("created", "finished")}

    @pre_load
    def load_times(self, data: Any, **options: Any) -> Any:
        return data | {key: int(data[key]) for key in ("created", "finished")}


def test_hooks_that_dump_otherwise_change_no_other_member(
    make_host: MakeHost, sqlite_url: str
) -> None:
    model = model_of(created=sa.Column(sa.DateTime))
    host = odd(make_host, sqlite_url, model, schema=AsText, rows=[row_of(created=None)])
    host.execute("UPDATE builds SET finished = NULL, created = '2020-01-01 00:00:00.250000'")
    document = host.get().json
    assert (document["created"], document["finished"]) == ("1577836800", "0")
    assert host.put(document | {"status": "error"}).json == document | {"status": "error"}
    row = host.row()
    assert (row["finished"], row["created"].microsecond) == (None, 250_000)
    assert list(changes(host)) == ["status"]


def test_a_getter_that_writes_is_no_change(make_host: MakeHost, database_url: str) -> None:
    def caching(build: Any) -> Any:
        build.cache = "cached"
        object_session(build).execute(sa.text("SELECT 1"))  # type: ignore[union-attr]
        return "x"

    title = property(caching, lambda build, value: None)
    model = model_of("title", title=title, cache=sa.Column(sa.String(20)))
    host = odd(make_host, database_url, model, rows=[row_of("title")])
    document = host.get().json
    assert host.row()["cache"] is None
    assert host.put(document).status_code == 200
    assert host.put(document | {"status": "error"}).status_code == 200
    assert host.row()["cache"] is None


def test_what_a_related_object_and_a_receiver_write_is_recorded(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of()

    class State(model.__mro__[1]):  # type: ignore[misc, name-defined]
        __tablename__ = "states"
        id = sa.Column(sa.Integer, primary_key=True)

    @sa.event.listens_for(State, "after_insert")
    def write(mapper: Any, connection: Any, state: Any) -> None:
        connection.execute(sa.update(model).values(title="by the event"))

    @sa.event.listens_for(model, "before_update")
    def keep(mapper: Any, connection: Any, build: Any) -> None:
        build.author = "by the listener"

    def add(build: Any, value: Any, old: Any, initiator: Any) -> None:
        session = object_session(build)
        if session is not None:
            session.add(State())

    sa.event.listen(model.status, "set", add)
    host = odd(make_host, database_url, model)

    def update(sender: Any, build: Any, **options: Any) -> None:
        statement = sa.update(model).values(branch="by the receiver")
        session = object_session(build)
        assert session is not None
        session.execute(statement, execution_options={"synchronize_session": False})

    with build_updating.connected_to(update):
        put = host.put(OCTOCAT | {"status": "error"}).json
    wanted = {"title": "by the event", "author": "by the listener", "branch": "by the receiver"}
    assert put == host.row() == OCTOCAT | wanted | {"status": "error"}
    assert {*changes(host)} == {*wanted, "status"}


def test_a_receiver_cannot_change_the_id(make_host: MakeHost, database_url: str) -> None:
    def move(sender: Any, build: Any, **options: Any) -> None:
        build.id = 5

    host = odd(make_host, database_url, model_of())
    with build_updating.connected_to(move):
        assert host.put(OCTOCAT | {"status": "error"}).status_code == 500
    assert host.row() == OCTOCAT


def test_an_undo_restores_the_fraction_of_a_float(make_host: MakeHost, database_url: str) -> None:
    model = model_of(finished=sa.Column(sa.Double))
    host = odd(make_host, database_url, model, rows=[row_of(finished=1700000000.75)])
    document = host.get().json
    assert document["finished"] == 1700000000
    assert host.put(document | {"finished": 5}).json["finished"] == 5
    assert host.undo(host.recorded()[0]["id"]).json == document
    assert host.row()["finished"] == 1700000000.75
    assert changes(host) == {"finished": {"before": 5, "after": 1700000000}}


@pytest.mark.parametrize("member", ["status", "event", "repo_id"])
def test_an_undo_restores_a_null_that_no_put_may_store(
    make_host: MakeHost, database_url: str, member: str
) -> None:
    host = odd(make_host, database_url, model_of(), rows=[row_of(**{member: None})])
    document = host.get().json
    assert host.put(document | {member: OCTOCAT[member]}).json == OCTOCAT
    assert host.undo(host.recorded()[0]["id"]).json == document
    assert host.row()[member] is None


def test_a_prefix_whose_variable_the_host_takes_away(host: Host) -> None:
    tenants = Blueprint("tenants", __name__, url_prefix="/<tenant>")
    store = history_of(host.model)
    blueprint = BuildAdmin(
        host.model,
        host.session,
        token_auth().login_required(role="admin"),
        history=store,
        name="of_tenant",
    )

    @blueprint.url_value_preprocessor
    def take(endpoint: str | None, values: Any) -> None:
        g.tenant = values.pop("tenant")

    store.metadata.create_all(host.engine)
    tenants.register_blueprint(blueprint)
    host.app.register_blueprint(tenants)
    url = "/acme/api/v1/admin/build"
    put = host.client.put(url, json=OCTOCAT | {"status": "error"}, headers=ADMIN)
    assert put.headers["Content-Location"] == f"{url}/1"
    undone = host.client.post(f"{url}/1/revisions/1/undo/", headers=ADMIN)
    assert (undone.status_code, undone.headers["Content-Location"]) == (200, f"{url}/1")
    store.metadata.drop_all(host.engine, [store.__table__])


def test_a_build_that_is_flushed_elsewhere_than_it_is_found_is_refused(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Base(DeclarativeBase):
        pass

    class Job(Base):
        __tablename__ = "jobs"
        id = sa.Column(sa.Integer, primary_key=True)

    columns = {
        name: sa.Column(sa.BigInteger if isinstance(value, int) else sa.String(250))
        for name, value in OCTOCAT.items()
        if name != "id"
    }
    key: Any = sa.Column(sa.ForeignKey("jobs.id"), primary_key=True)
    build = type("Build", (Job,), {"__tablename__": "builds", "id": key, **columns})
    host = make_host(sqlite_url, model=build)
    other = sa.create_engine(sqlite_url)
    host.session.remove()
    host.session.configure(bind=None, binds={Job: other, build: host.engine})
    with host.app.app_context(), pytest.raises(ConfigurationError, match="one engine"):
        host.blueprint.store.overwrite(OCTOCAT | {"status": "error"})
    other.dispose()


def test_every_app_keeps_its_revisions_beside_its_builds(
    make_host: MakeHost, sqlite_url: str, tmp_path: Any
) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    assert host.put(OCTOCAT | {"status": "error"}).status_code == 200
    elsewhere = sa.create_engine(f"sqlite:///{tmp_path / 'revisions.db'}")
    host.session.remove()
    host.session.configure(binds={host.model: host.engine, BuildRevision: elsewhere})
    with host.app.app_context(), pytest.raises(ConfigurationError, match="in another database"):
        host.blueprint.store.overwrite(OCTOCAT)
    elsewhere.dispose()


def test_what_json_cannot_represent_is_text(make_host: MakeHost, sqlite_url: str) -> None:
    schema: Any = BuildSchema.from_dict(
        {"load": fields.Float(), "meta": fields.Raw()}, name="Measured"
    )
    model = model_of(load=sa.Column(sa.Float), meta=sa.Column(sa.JSON))
    meta = {"a": [float("nan"), "\ud800", None]}
    row = row_of(load=float("inf"), meta=meta, status="running")
    host = odd(make_host, sqlite_url, model, schema=schema, rows=[row])
    document = host.get().json
    assert document["load"] == "inf"
    assert document["meta"] == {"a": ["nan", "\ufffd", None]}
    assert queued(host) == [1]
    assert host.put(document).status_code == 200
    assert host.recorded() == []
    repaired = host.put(document | {"load": 1.5})
    assert (repaired.status_code, repaired.json["load"]) == (200, 1.5)


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, NoResultFound, KeyError])
def test_the_hosts_own_code_hides_one_build_only(
    make_host: MakeHost, sqlite_url: str, error: type[Exception]
) -> None:
    def fail(build: Any) -> str:
        if build.id == 1:
            raise error
        return "x"

    rows = [row_of("title", id=number, number=number, status="running") for number in (1, 2)]
    model = model_of("title", title=property(fail, lambda build, value: None))
    host = odd(make_host, sqlite_url, model, rows=rows)
    assert queued(host) == [2]
    assert host.get().status_code == 500


def test_a_related_row_that_cannot_be_loaded(make_host: MakeHost, sqlite_url: str) -> None:
    model = model_of("title", repo_id=sa.Column(sa.ForeignKey("repos.id")))

    class Repo(model.__mro__[1]):  # type: ignore[misc, name-defined]
        __tablename__ = "repos"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String(20))
        kind: Any = sa.Column(sa.Enum("public", "private", name="kinds", native_enum=False))

    model.repo = relationship(Repo)
    schema: Any = BuildSchema.from_dict(
        {"title": Text(attribute="repo.name", dump_only=True)}, name="OfRepo"
    )
    host = odd(make_host, sqlite_url, model, schema=schema, rows=[])
    with Session(host.engine) as session:
        session.add_all([Repo(id=1, name="r", kind="public"), model(**row_of("title"))])
        session.commit()
    host.execute("UPDATE repos SET kind = 'gone'")
    document = host.get().json
    assert document["title"] == ""
    assert host.put(document | {"status": "error"}).json == document | {"status": "error"}


class Ordered(BuildSchema):
    class Meta:
        unknown = EXCLUDE

    @validates_schema
    def in_order(self, data: Any, **options: Any) -> None:
        if data["finished"] < data["started"]:
            raise ValidationError("before started", "finished")


def test_an_ignored_member_makes_no_difference(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [row_of(started=9, finished=5)]
    host = odd(make_host, sqlite_url, model_of(), schema=Ordered, rows=rows)
    document = host.get().json
    assert host.put(document | {"ignored": 1}).status_code == 200
    assert host.put(document | {"ignored": 1, "status": "x"}).status_code == 400


def test_the_terminal_lists_moments_that_are_no_numbers(
    make_host: MakeHost, sqlite_url: str
) -> None:
    schema: Any = BuildSchema.from_dict({"created": fields.DateTime()}, name="OfDates")
    model = model_of(created=sa.Column(sa.DateTime))
    rows = [row_of(created=None, status="running")]
    host = odd(make_host, sqlite_url, model, schema=schema, rows=rows)
    host.execute("UPDATE builds SET created = '2020-01-01 00:00:00.000000'")
    listed = host.app.test_cli_runner().invoke(args=["build-admin", "queue"])
    assert (listed.exit_code, "2020-01-01T00:00:00" in listed.output) == (0, True)


def test_a_listener_may_join_a_collection_to_every_query(
    make_host: MakeHost, database_url: str
) -> None:
    status: Any = sa.Column(sa.Enum("created", "error", native_enum=False, length=20))
    model = model_of(steps=relationship("Step"), status=status)
    key: dict[str, Any] = {"id": sa.Column(sa.Integer, primary_key=True)}
    step = {"__tablename__": "steps", **key, "build_id": sa.Column(sa.ForeignKey("builds.id"))}
    Step: Any = type("Step", (model.__mro__[1],), step)
    host = make_host(database_url, model=model)

    def join(state: Any) -> None:
        if state.is_select and state.bind_mapper is sa.inspect(model):
            state.statement = state.statement.options(joinedload(model.steps))

    with Session(host.engine) as session, session.begin():
        session.add_all([Step(id=1, build_id=1), Step(id=2, build_id=1)])
    sa.event.listen(host.session, "do_orm_execute", join)
    assert host.get().json == OCTOCAT
    changed = OCTOCAT | {"status": "error"}
    assert host.put(changed).json == changed
    host.execute("UPDATE builds SET status = 'of another release'")
    malformed = OCTOCAT | {"status": "of another release"}
    assert host.get().json == malformed
    assert host.put(malformed | {"title": "x"}).json == malformed | {"title": "x"}
