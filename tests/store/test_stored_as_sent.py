"""What was put is stored, or nothing is; and whatever is stored, the revision has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    RAISE,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates_schema,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Session, object_session, relationship, validates
from sqlalchemy.types import TypeDecorator

from flask_build_admin import BuildSchema, Text, UnixTime, WholeNumber, build_updating
from tests.support.hosts import OCTOCAT, Host, history_of, model_of, row_of
from tests.support.repairs import (
    change,
    changes_of,
    command,
    differing,
    fetch,
    named,
    put_back,
    raw_row,
    undo_newest,
)

MakeHost = Callable[..., Host]

FINISHED = 1_700_000_000
SENT = OCTOCAT | {"status": "error"}


def keeping(make_host: MakeHost, url: str, model: type[Any], **options: Any) -> Host:
    """Make a host that keeps history."""
    return make_host(url, model=model, history=history_of(model), **options)


def count(host: Host, table: str) -> int:
    with host.engine.connect() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


# Setters that store through a relationship


class Few(BuildSchema):
    """A host with a fifth of the members."""

    reason = Text()

    class Meta:
        fields = ("id", "status", "reason", "created", "finished")


def states(make_host: MakeHost, url: str) -> Host:
    """Make a host whose status is the newest of a build's states; the setter adds one.

    The setter knows the foreign key only, and a final state sets the time of the end.
    """
    model = model_of(*OCTOCAT, state_id=sa.Column(sa.ForeignKey("states.id")))
    base = model.__mro__[1]
    state = {
        "__tablename__": "states",
        "id": sa.Column(sa.Integer, primary_key=True),
        "build_id": sa.Column(sa.Integer),
        "name": sa.Column(sa.String(20)),
        "reason": sa.Column(sa.String(50)),
    }
    State: Any = type("State", (base,), state)

    def add(build: Any, **members: Any) -> None:
        session = object_session(build)
        assert session is not None
        reason = members.get("reason", build.state.reason)
        new = State(build_id=build.id, name=members.get("name", build.state.name), reason=reason)
        session.add(new)
        session.flush()
        build.state_id = new.id
        if new.name in {"success", "error"}:
            build.finished = FINISHED

    model.State = State
    model.created, model.finished = sa.Column(sa.Integer), sa.Column(sa.Integer)
    model.state = relationship(State)
    model.status = property(
        lambda build: build.state.name, lambda build, name: add(build, name=name)
    )
    model.reason = property(
        lambda build: build.state.reason, lambda build, text: add(build, reason=text)
    )
    rows = [
        model(id=number, created=number, finished=0, state=State(name="running", reason=""))
        for number in (1, 2)
    ]
    return keeping(make_host, url, model, schema=Few, rows=rows)


BEFORE = {"id": 1, "status": "running", "reason": "", "created": 1, "finished": 0}


def test_a_setter_through_a_relationship(make_host: MakeHost, database_url: str) -> None:
    host = states(make_host, database_url)
    assert put_back(host) == BEFORE
    assert count(host, "states") == 2
    stored = BEFORE | {"status": "error", "finished": FINISHED}
    preview = host.put(BEFORE | {"status": "error"}, query_string={"dry_run": "true"})
    answer = host.put(BEFORE | {"status": "error"})
    assert (answer.status_code, answer.json) == (200, stored)
    assert answer.headers["ETag"] == host.get().headers["ETag"]
    assert fetch(host) == stored
    changes = {
        "status": {"before": "running", "after": "error"},
        "finished": {"before": 0, "after": FINISHED},
    }
    assert preview.json["changes"] == changes
    assert changes_of(host) == [changes]
    undone = undo_newest(host)
    assert (undone.status_code, undone.json) == (200, BEFORE)
    assert fetch(host) == BEFORE
    assert fetch(host, 2) == BEFORE | {"id": 2, "created": 2}


def test_a_setter_through_a_relationship_in_the_terminal(
    make_host: MakeHost, database_url: str
) -> None:
    host = states(make_host, database_url)
    assert command(host, "set", "1", "status=pending", "--yes").code == 0
    assert fetch(host) == BEFORE | {"status": "pending"}
    assert changes_of(host) == [{"status": {"before": "running", "after": "pending"}}]


def test_two_setters_through_one_relationship(make_host: MakeHost, database_url: str) -> None:
    host = states(make_host, database_url)
    sent = BEFORE | {"status": "error", "reason": "worker lost", "finished": FINISHED}
    answer = host.put(sent)
    assert (answer.status_code, answer.json) in ((200, sent), (400, answer.json))
    assert fetch(host) == (sent if answer.status_code == 200 else BEFORE)
    assert len(changes_of(host)) == (answer.status_code == 200)
    if answer.status_code == 400:  # each setter reads the state from before the other
        assert {*answer.json["fields"]} <= {"status", "reason"}
        assert count(host, "states") == 2


def test_a_member_that_another_setter_overwrites_is_not_stored_as_sent(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of("title", kept=sa.Column(sa.String(250)))

    def set_title(build: Any, text: str) -> None:
        build.kept = text
        build.event = "renamed"

    model.title = property(lambda build: build.kept, set_title)
    host = keeping(make_host, database_url, model)
    host.execute("UPDATE builds SET event = 'push'")  # the setter has run for the new row, too
    before = put_back(host)
    assert named(host.put(before | {"title": "x", "event": "tag"})) == (400, {"event"})
    assert host.recorded() == []
    answer = host.put(before | {"title": "x"})
    assert answer.json == before | {"title": "x", "event": "renamed"}
    assert changes_of(host)[0].keys() == {"title", "event"}


# Values that become others


class Trimmed(TypeDecorator[str]):
    impl = sa.String(250)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.strip()


def by_a_property() -> type[Any]:
    def tidy(build: Any, text: str) -> None:
        build.kept = text.strip()

    kept = property(lambda build: build.kept, tidy)
    return model_of("title", kept=sa.Column(sa.String(250)), title=kept)


def by_a_hybrid() -> type[Any]:
    def tidy(build: Any, text: str) -> None:
        build.kept = text.strip()

    title = hybrid_property(lambda build: build.kept, tidy)
    return model_of("title", kept=sa.Column(sa.String(250)), title=title)


def by_a_validator() -> type[Any]:
    tidy: Any = lambda build, key, text: text.strip()  # noqa: E731
    return model_of(tidy=validates("title")(tidy))


def by_a_type() -> type[Any]:
    return model_of(title=sa.Column(Trimmed))


def by_an_attribute_event() -> type[Any]:
    model = model_of()

    @sa.event.listens_for(model.title, "set", retval=True)
    def tidy(build: Any, text: str, old: Any, initiator: Any) -> str:
        return text.strip()

    return model


def by_a_mapper_event() -> type[Any]:
    model = model_of()

    @sa.event.listens_for(model, "before_update")
    def tidy(mapper: Any, connection: Any, build: Any) -> None:
        build.title = build.title.strip()

    return model


def by_an_event_that_writes() -> type[Any]:
    model = model_of()

    @sa.event.listens_for(model, "after_update")
    def tidy(mapper: Any, connection: Any, build: Any) -> None:
        tidied = sa.update(model.__table__).values(title=build.title.strip())
        connection.execute(tidied.where(model.__table__.c.id == build.id))

    return model


def by_nothing() -> type[Any]:
    """Ignore the value."""
    title = property(lambda build: build.kept, lambda build, text: None)
    return model_of("title", kept=sa.Column(sa.String(250)), title=title)


ALTERED: dict[str, Callable[[], type[Any]]] = {
    "property": by_a_property,
    "hybrid": by_a_hybrid,
    "validates": by_a_validator,
    "type": by_a_type,
    "attribute_event": by_an_attribute_event,
    "mapper_event": by_a_mapper_event,
    "event_that_writes": by_an_event_that_writes,
    "ignored": by_nothing,
}


@pytest.mark.parametrize("make_model", ALTERED.values(), ids=ALTERED)
def test_a_value_that_becomes_another_is_refused_and_nothing_is_stored(
    make_host: MakeHost, database_url: str, make_model: Callable[[], type[Any]]
) -> None:
    host = keeping(make_host, database_url, make_model(), rows=[row_of("title")])
    before, document = raw_row(host), fetch(host)
    for query in ({}, {"dry_run": "true"}):
        answer = host.put(document | {"title": " x ", "status": "error"}, query_string=query)
        assert named(answer) == (400, {"title"})
        assert answer.json["fields"]["title"] == ["not stored as sent"]
    assert differing(before, raw_row(host)) == set()
    assert host.recorded() == []
    assert put_back(host) == document


def test_a_value_that_a_hook_takes_out_is_refused(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        @post_load
        def forget(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
            del values["title"]
            return values

    host = keeping(make_host, sqlite_url, model_of(), schema=Schema)
    answer = host.put(OCTOCAT | {"title": "x", "status": "error"})
    assert named(answer) == (400, {"title"})
    assert host.row() == put_back(host) == OCTOCAT


class Accepting(BuildSchema):
    """Two words for the status: that of older clients counts."""

    @pre_load
    def accept(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "state" in data:
            data["status"] = data.pop("state")
        return data


class Failing(BuildSchema):
    @pre_load
    def accept(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["status"] = data.pop("state")
        return data


class Requiring(BuildSchema):
    @pre_load
    def accept(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "state" not in data:
            raise ValidationError("is required", "state")
        data["status"] = data.pop("state")
        return data


class Overriding(BuildSchema):
    def load(self, data: Any, **options: Any) -> Any:
        return super().load(Accepting.accept(self, {**data}), **options)


@pytest.mark.parametrize("unknown", [EXCLUDE, RAISE, INCLUDE])
@pytest.mark.parametrize("schema", [Accepting, Failing, Requiring, Overriding])
def test_what_a_hook_makes_of_an_unknown_member_is_stored_or_refused(
    make_host: MakeHost, sqlite_url: str, schema: Any, unknown: str
) -> None:
    class Schema(schema):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options, unknown=unknown)

    host = keeping(make_host, sqlite_url, model_of(), schema=Schema, rows=[row_of(number=0)])
    shown = fetch(host)
    renamed = {key: shown[key] for key in shown if key != "status"}
    for number, document in enumerate((shown, renamed), 1):
        for wrong in ("", 5):
            assert named(host.put(document | {"state": wrong})) == (400, {"status"})
            assert named(host.put(document | {"state": wrong, "title": "x"})) == (400, {"status"})
        assert fetch(host) == shown
        changed = shown | {"status": f"lost {number}"}
        for _ in ("stored", "the same"):
            answer = host.put(document | {"state": changed["status"]})
            assert (answer.status_code, answer.json) == (200, changed)
            assert len(host.recorded()) == number
        shown = changed


def test_a_hook_may_make_a_value_that_only_json_tells_apart(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        class Meta:
            unknown = EXCLUDE

        title = fields.Raw(required=True)

        @pre_load
        def keep(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            return data | {"title": data.get("urgent", data["title"])}

        @validates_schema(skip_on_field_errors=False)
        def judge(self, data: dict[str, Any], **_: Any) -> None:
            if data["title"] == "refused":
                raise ValidationError("cannot be urgent", "urgent")

    model = model_of("title", title=sa.Column(sa.JSON))
    host = keeping(make_host, sqlite_url, model, schema=Schema, rows=[row_of(title=1)])
    assert host.put(fetch(host) | {"ignored": 1}).json["title"] == 1
    assert named(host.put(fetch(host) | {"urgent": "refused"})) == (400, {"urgent"})
    assert host.put(fetch(host) | {"urgent": True}).json["title"] is True
    assert fetch(host)["title"] is True
    assert changes_of(host) == [{"title": {"before": 1, "after": True}}]


def test_a_number_may_be_stored_by_a_setter(make_host: MakeHost, sqlite_url: str) -> None:
    parent = property(lambda build: build.kept, lambda build, value: setattr(build, "kept", value))
    model = model_of("parent", kept=sa.Column(sa.BigInteger), parent=parent)
    host = make_host(sqlite_url, model=model, rows=[row_of("parent", kept=0)])
    answer = host.put(OCTOCAT | {"parent": 7})
    assert (answer.status_code, answer.json) == (200, OCTOCAT | {"parent": 7})


KEPT = [name for name in ALTERED if name != "ignored"]


@pytest.mark.parametrize("make_model", [ALTERED[name] for name in KEPT], ids=KEPT)
def test_a_value_that_stays_the_same_is_stored(
    make_host: MakeHost, database_url: str, make_model: Callable[[], type[Any]]
) -> None:
    host = keeping(make_host, database_url, make_model(), rows=[row_of("title")])
    answer = host.put(fetch(host) | {"title": "x"})
    assert (answer.status_code, answer.json["title"]) == (200, "x")
    assert changes_of(host) == [{"title": {"before": "", "after": "x"}}]


@pytest.mark.parametrize("make_model", [ALTERED[name] for name in KEPT], ids=KEPT)
def test_a_value_that_would_become_another_goes_back_unchanged(
    make_host: MakeHost, database_url: str, make_model: Callable[[], type[Any]]
) -> None:
    host = keeping(make_host, database_url, make_model(), rows=[row_of("title")])
    column = "kept" if "kept" in host.model.__table__.c else "title"
    host.execute(f"UPDATE builds SET {column} = ' x '")
    assert put_back(host)["title"] == " x "


# Whatever else is written


def onupdate_value() -> type[Any]:
    return model_of(finished=sa.Column(sa.BigInteger, onupdate=FINISHED))


def onupdate_function() -> type[Any]:
    return model_of(finished=sa.Column(sa.BigInteger, onupdate=lambda: FINISHED))


def onupdate_expression() -> type[Any]:
    return model_of(finished=sa.Column(sa.BigInteger, onupdate=sa.text(str(FINISHED))))


def before_update() -> type[Any]:
    model = model_of()

    @sa.event.listens_for(model, "before_update")
    def finish(mapper: Any, connection: Any, build: Any) -> None:
        build.finished = FINISHED

    return model


def after_update() -> type[Any]:
    model = model_of()

    @sa.event.listens_for(model, "after_update")
    def finish(mapper: Any, connection: Any, build: Any) -> None:
        finished = sa.update(model.__table__).values(finished=FINISHED)
        connection.execute(finished.where(model.__table__.c.id == build.id))

    return model


def attribute_event() -> type[Any]:
    model = model_of()

    @sa.event.listens_for(model.status, "set")
    def finish(build: Any, value: Any, old: Any, initiator: Any) -> None:
        build.finished = FINISHED

    return model


def validator() -> type[Any]:
    def finish(build: Any, key: str, value: Any) -> Any:
        build.finished = FINISHED
        return value

    return model_of(finish=validates("status")(finish))


def setter() -> type[Any]:
    def finish(build: Any, value: Any) -> None:
        build.state = value
        build.finished = FINISHED

    status = property(lambda build: build.state, finish)
    return model_of("status", state=sa.Column(sa.String(20)), status=status)


def other_object(event: str, touch: Callable[[Session, Any], None]) -> Callable[[], type[Any]]:
    """Write from an event of another mapper, whose object is flushed together with the build."""

    def make() -> type[Any]:
        def free(build: Any, key: str, value: Any) -> Any:
            if (session := object_session(build)) is not None:
                touch(session, Worker)
            return value

        model = model_of(free=validates("status")(free))
        worker = {
            "__tablename__": "workers",
            "id": sa.Column(sa.Integer, primary_key=True),
            "jobs": sa.Column(sa.Integer, default=0),
        }
        Worker: Any = type("Worker", (model.__mro__[1],), worker)

        @sa.event.listens_for(Worker.__table__, "after_create")
        def add_one(table: Any, connection: Any, **_: Any) -> None:
            connection.execute(table.insert().values(id=9))  # the sequence of PostgreSQL is at 1

        @sa.event.listens_for(Worker, event)
        def finish(mapper: Any, connection: Any, worker: Any) -> None:
            connection.execute(sa.update(model.__table__).values(finished=FINISHED))

        return model

    return make


def add_another(session: Session, worker: Any) -> None:
    session.add(worker())


def change_another(session: Session, worker: Any) -> None:
    session.get_one(worker, 9).jobs = 1


def delete_another(session: Session, worker: Any) -> None:
    session.delete(session.get_one(worker, 9))


WRITERS: dict[str, Callable[[], type[Any]]] = {
    "onupdate_value": onupdate_value,
    "onupdate_function": onupdate_function,
    "onupdate_expression": onupdate_expression,
    "before_update": before_update,
    "after_update": after_update,
    "attribute_event": attribute_event,
    "validates": validator,
    "setter": setter,
    "after_insert_of_another": other_object("after_insert", add_another),
    "after_update_of_another": other_object("after_update", change_another),
    "after_delete_of_another": other_object("after_delete", delete_another),
}


@pytest.mark.parametrize("make_model", WRITERS.values(), ids=WRITERS)
def test_what_is_written_beside_is_returned_and_recorded(
    make_host: MakeHost, database_url: str, make_model: Callable[[], type[Any]]
) -> None:
    model = make_model()
    # The events of the model are for changes, and so the status is set by SQL.
    host = keeping(make_host, database_url, model, rows=[row_of("status", finished=0)])
    column = "state" if "state" in model.__table__.c else "status"
    host.execute(f"UPDATE builds SET {column} = 'running', finished = 0")
    before = OCTOCAT | {"status": "running", "finished": 0}
    assert put_back(host) == before
    stored = before | {"status": "error", "finished": FINISHED}
    changes = {
        "status": {"before": "running", "after": "error"},
        "finished": {"before": 0, "after": FINISHED},
    }
    preview = host.put(before | {"status": "error"}, query_string={"dry_run": "true"})
    assert (preview.status_code, preview.json["changes"]) == (200, changes)
    answer = host.put(before | {"status": "error"})
    assert (answer.status_code, answer.json) == (200, stored)
    assert answer.headers["ETag"] == host.get().headers["ETag"]
    assert fetch(host) == stored
    assert changes_of(host) == [changes]
    assert put_back(host) == stored


@pytest.mark.parametrize("make_model", WRITERS.values(), ids=WRITERS)
def test_what_is_written_beside_is_recorded_of_a_change_in_the_terminal(
    make_host: MakeHost, database_url: str, make_model: Callable[[], type[Any]]
) -> None:
    host = keeping(make_host, database_url, make_model(), rows=[row_of()])
    assert command(host, "set", "1", "status=killed", "--yes").code == 0
    assert fetch(host)["finished"] == FINISHED
    assert changes_of(host)[-1].keys() >= {"status"}
    assert host.recorded()[-1]["after"]["finished"] == FINISHED


@pytest.mark.parametrize("event", ["after_flush", "after_flush_postexec"])
def test_what_a_listener_of_the_session_writes_is_returned_and_recorded(
    make_host: MakeHost, database_url: str, event: str
) -> None:
    host = keeping(make_host, database_url, model_of())

    def finish(session: Session, context: object) -> None:
        session.connection().execute(sa.update(host.model.__table__).values(finished=FINISHED))

    sa.event.listen(host.session, event, finish)
    answer = host.put(SENT)
    assert answer.json == fetch(host) == SENT | {"finished": FINISHED}
    assert changes_of(host)[0].keys() == {"status", "finished"}


def test_what_a_receiver_writes_is_returned_and_recorded(
    make_host: MakeHost, database_url: str
) -> None:
    host = keeping(make_host, database_url, model_of())

    def finish(sender: Any, build: Any, **change: Any) -> None:
        build.finished = FINISHED

    with build_updating.connected_to(finish, host.app):
        answer = host.put(SENT)
    assert answer.json == fetch(host) == SENT | {"finished": FINISHED}
    assert changes_of(host)[0].keys() == {"status", "finished"}


def test_a_protected_member_that_a_setter_changes_is_recorded(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        author = Text(dump_only=True)

    model = model_of()

    @sa.event.listens_for(model.status, "set")
    def sign(build: Any, value: Any, old: Any, initiator: Any) -> None:
        build.author = "the admin"

    rows = [OCTOCAT]
    host = keeping(make_host, database_url, model, schema=Schema, rows=rows)
    host.execute("UPDATE builds SET author = 'mona'")
    before = fetch(host)
    answer = host.put(before | {"status": "error"})
    assert answer.json == fetch(host) == before | {"status": "error", "author": "the admin"}
    assert changes_of(host)[0]["author"] == {"before": "mona", "after": "the admin"}


def test_a_member_of_the_other_side_of_a_relationship_is_recorded(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        author = Text(attribute="repo.last_author", dump_only=True)

    model = model_of(
        "author",
        "repo_id",
        "title",
        repo_id=sa.Column(sa.ForeignKey("repos.id")),
        kept=sa.Column(sa.String(250)),
    )
    repo = {
        "__tablename__": "repos",
        "id": sa.Column(sa.Integer, primary_key=True),
        "last_author": sa.Column(sa.String(20)),
    }
    Repo: Any = type("Repo", (model.__mro__[1],), repo)
    model.repo = relationship(Repo)

    def set_title(build: Any, text: str) -> None:
        build.kept = text
        build.repo.last_author = text

    model.title = property(lambda build: build.kept, set_title)
    row = model(**row_of("author", "title", "repo_id"), kept="a", repo=Repo(last_author="a"))
    host = keeping(make_host, database_url, model, schema=Schema, rows=[row])
    before = put_back(host)
    answer = host.put(before | {"title": "b"})
    assert answer.json == fetch(host) == before | {"title": "b", "author": "b"}
    assert changes_of(host)[0].keys() == {"title", "author"}


# Undo


def precise() -> Any:
    return sa.Column(sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb"))


def precise_and_aware() -> Any:
    kind = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
    return sa.Column(kind)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb"), datetime.max),
        (sa.Numeric(20, 2), Decimal("1.25")),
    ],
)
def test_an_undo_restores_what_no_json_number_has(
    make_host: MakeHost, database_url: str, column: Any, value: Any
) -> None:
    member = UnixTime() if value is datetime.max else WholeNumber()
    schema = type("Schema", (BuildSchema,), {"finished": member})
    model = model_of(finished=sa.Column(column))
    rows = [row_of(finished=value)]
    host = keeping(make_host, database_url, model, schema=schema, rows=rows)
    shown = host.get().json["finished"]
    change(host, title="x")
    assert host.revisions().json[0]["changed_outside"] == {}
    change(host, finished=1700000000)
    assert undo_newest(host).json["finished"] == shown
    # The nearest moment that a number has is less than a tenth of a millisecond away.
    left = host.row()["finished"]
    assert left == value or value - left < timedelta(microseconds=100)


@pytest.mark.parametrize("column", [precise, precise_and_aware])
@pytest.mark.parametrize("microsecond", [1, 123_456, 500_000, 999_999])
def test_an_undo_restores_fractions_of_a_second(
    make_host: MakeHost, database_url: str, column: Callable[[], Any], microsecond: int
) -> None:
    class Schema(BuildSchema):
        finished = UnixTime()
        started = UnixTime()

    model = model_of(finished=column(), started=column())
    moment = datetime(2024, 2, 29, 12, 30, 59, microsecond, tzinfo=UTC)
    if column is precise:
        moment = moment.replace(tzinfo=None)
    rows = [row_of(finished=moment, started=moment)]
    host = keeping(make_host, database_url, model, schema=Schema, rows=rows)
    before, document = raw_row(host), put_back(host)
    second = document["finished"]

    change(host, finished=second + 1)  # another second, and back
    assert undo_newest(host).json == document
    assert differing(before, raw_row(host)) == set()

    change(host, finished=0, started=7)  # NULL, and back
    changed = raw_row(host)
    assert undo_newest(host).json == document
    assert differing(before, raw_row(host)) == set()
    assert undo_newest(host).status_code == 200  # the undo of the undo
    assert differing(changed, raw_row(host)) == set()
    assert undo_newest(host).json == document
    assert differing(before, raw_row(host)) == set()


def test_an_undo_in_the_terminal_restores_fractions_of_a_second(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        finished = UnixTime()

    rows = [row_of(finished=datetime(2024, 2, 29, 12, 30, 59, 250_000))]
    model = model_of(finished=precise())
    host = keeping(make_host, database_url, model, schema=Schema, rows=rows)
    before = raw_row(host)
    change(host, finished=9, status="error")
    assert command(host, "undo", "1", "1", "--yes").code == 0
    assert differing(before, raw_row(host)) == set()
