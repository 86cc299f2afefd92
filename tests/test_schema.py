"""Hosts whose model differs from the contract say so in a subclass of ``BuildSchema``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates_schema,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import relationship, synonym

from flask_build_admin import (
    BuildSchema,
    Text,
    UnixTime,
    WholeNumber,
    build_updating,
)
from tests.support.databases import on_mariadb
from tests.support.hosts import ADMIN, OCTOCAT, Host, Status, history_of, model_of, row_of

MakeHost = Callable[..., Host]


def test_a_member_may_have_another_column(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        repo_id = fields.Integer(strict=True, required=True, attribute="repository_id")

    model = model_of("repo_id", repository_id=sa.Column(sa.SmallInteger))
    host = make_host(
        database_url, model=model, schema=Schema, rows=[row_of("repo_id", repository_id=7)]
    )
    assert host.get().json == OCTOCAT | {"repo_id": 7}
    assert list(host.get().json) == list(OCTOCAT)
    assert host.put(OCTOCAT | {"repo_id": 8}).json == OCTOCAT | {"repo_id": 8}
    assert host.row()["repository_id"] == 8
    refused = host.put({name: OCTOCAT[name] for name in OCTOCAT if name != "repo_id"})
    assert refused.json == {"error": "repo_id: missing", "fields": {"repo_id": ["missing"]}}
    if host.engine.dialect.name != "sqlite":
        refused = host.put(OCTOCAT | {"repo_id": 2**15})
        assert refused.json["fields"] == {"repo_id": ["greater than 32767"]}


def _synonym() -> dict[str, Any]:
    return {"subject": sa.Column(sa.String(9)), "title": synonym("subject")}


def _hybrid() -> dict[str, Any]:
    def title(self: Any) -> Any:
        return self.subject

    def set_title(self: Any, value: Any) -> None:
        self.subject = value

    return {"subject": sa.Column(sa.String(9)), "title": hybrid_property(title, set_title)}


def _property() -> dict[str, Any]:
    def title(self: Any) -> Any:
        return self.subject

    def set_title(self: Any, value: Any) -> None:
        self.subject = value

    return {"subject": sa.Column(sa.String(9)), "title": property(title, set_title)}


@pytest.mark.parametrize("attributes", [_synonym, _hybrid, _property])
def test_a_member_may_be_any_settable_attribute(
    make_host: MakeHost, database_url: str, attributes: Callable[[], dict[str, Any]]
) -> None:
    model = model_of("title", **attributes())
    host = make_host(database_url, model=model, rows=[row_of("title", subject="before")])
    assert host.get().json["title"] == "before"
    assert host.put(OCTOCAT | {"title": "after"}).json["title"] == "after"
    assert host.row()["subject"] == "after"


@pytest.mark.parametrize("attributes", [_synonym, _hybrid])
def test_the_column_behind_an_attribute_sets_the_limit(
    make_host: MakeHost, sqlite_url: str, attributes: Callable[[], dict[str, Any]]
) -> None:
    host = make_host(
        sqlite_url, model=model_of("title", **attributes()), rows=[row_of("title", subject="")]
    )
    refused = host.put(OCTOCAT | {"title": "0123456789"})
    assert refused.json["fields"] == {"title": ["longer than 9 characters"]}


def test_the_database_sets_the_limit_of_a_property(make_host: MakeHost, server_url: str) -> None:
    model = model_of("title", **_property())
    host = make_host(server_url, model=model, rows=[row_of("title", subject="")])
    assert host.put(OCTOCAT | {"title": "0123456789"}).status_code == 409
    assert host.row()["subject"] == ""


def test_a_status_may_be_an_enum(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        status = fields.Enum(Status, by_value=True, required=True, allow_none=True)

    host = make_host(
        database_url,
        model=model_of("status", status=sa.Column(sa.Enum(Status))),
        schema=Schema,
        rows=[row_of(status=Status.RUNNING), row_of(id=2, status=None)],
    )
    assert host.put(OCTOCAT | {"status": "error"}).json["status"] == "error"
    assert host.row()["status"] is Status.ERROR
    refused = host.put(OCTOCAT | {"status": "odd"})
    assert refused.status_code == 400
    assert list(refused.json["fields"]) == ["status"]
    # A NULL that has no zero is shown as null, and put back as such.
    assert host.get(2).json["status"] is None
    assert host.put(data=host.get(2).data).status_code == 200
    assert host.row(2)["status"] is None


def test_a_column_of_words_allows_no_other(make_host: MakeHost, database_url: str) -> None:
    words = sa.Enum("created", "running", name="words")
    host = make_host(database_url, model=model_of("status", status=sa.Column(words)))
    assert host.put(OCTOCAT | {"status": "running"}).status_code == 200
    refused = host.put(OCTOCAT | {"status": "odd"})
    assert refused.json["fields"] == {"status": ["not one of created, running"]}


class Code(fields.Field):  # type: ignore[type-arg]
    """A status that the model keeps as a number."""

    names = ("created", "running", "error")
    default_error_messages = {"unknown": "no status"}

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return self.names[value]

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if value not in self.names:
            raise self.make_error("unknown")
        return self.names.index(value)


def test_a_status_may_be_a_number_in_the_model(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        status = Code(required=True)

    host = make_host(
        database_url,
        model=model_of("status", status=sa.Column(sa.SmallInteger)),
        schema=Schema,
        rows=[row_of(status=1)],
    )
    assert host.get().json["status"] == "running"
    assert host.put(OCTOCAT | {"status": "error"}).json["status"] == "error"
    assert host.row()["status"] == 2
    assert host.put(OCTOCAT | {"status": 2}).json["fields"] == {"status": ["no status"]}


def test_an_id_may_be_a_uuid(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        id = fields.UUID(required=True)

    one, other = uuid.UUID(int=2**127 + 1), uuid.UUID(int=2**126)
    model = model_of(id=sa.Column(sa.Uuid, primary_key=True))
    host = make_host(database_url, model=model, schema=Schema, rows=[row_of(id=one)])
    assert host.get(one).json["id"] == str(one)
    assert host.get(str(one).upper()).json["id"] == str(one)
    put = host.put(OCTOCAT | {"id": str(one).upper(), "status": "error"})
    assert put.status_code == 200
    assert put.json["id"] == str(one)
    assert put.headers["Content-Location"].endswith(f"/build/{one}")
    assert host.row(one)["status"] == "error"
    assert host.put(OCTOCAT | {"id": str(other)}).status_code == 404
    assert [host.get(text).status_code for text in (other, "1", "x")] == [404, 404, 404]


def test_an_id_that_the_database_finds_in_another_case_is_not_the_build(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        id = Text(empty=False)

    model = model_of(id=sa.Column(sa.String(20), primary_key=True))
    host = make_host(database_url, model=model, schema=Schema, rows=[row_of(id="abc")])
    assert host.get("abc").status_code == 200
    assert host.get("ABC").status_code == 404
    assert host.put(OCTOCAT | {"id": "ABC"}).status_code == 404
    assert host.put(OCTOCAT | {"id": "abc", "title": "x"}).status_code == 200
    assert host.row("abc")["id"] == "abc"


def test_members_may_be_constant_protected_or_left_out(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        class Meta:
            exclude = ("distribution",)
            dump_only = ("id", "number")

        runtime = fields.Constant("docker", dump_only=True)
        sender = fields.String(attribute="author", dump_only=True)

    left_out = ("distribution", "runtime", "sender")
    host = make_host(
        database_url, model=model_of(*left_out), schema=Schema, rows=[row_of(*left_out)]
    )
    shown = {name: value for name, value in OCTOCAT.items() if name != "distribution"}
    assert host.get().json == shown
    assert host.put(shown | {"status": "error"}).json == shown | {"status": "error"}
    changed = {"number": 2, "runtime": "podman", "sender": "Mona", "title": "x"}
    refused = host.put(shown | changed)
    told = {name: ["cannot be changed"] for name in ("number", "runtime", "sender")}
    assert refused.status_code == 400
    assert refused.json["fields"] == told
    assert host.put(shown | {"number": 1.0}).json["fields"] == {"number": ["cannot be changed"]}
    assert host.put(shown | {"id": 2}).status_code == 404
    assert host.put(shown | {"id": "1"}).json["fields"] == {"id": ["not an integer"]}
    assert host.put({"title": 1}).json["fields"] == {
        name: ["missing"] for name in shown if name != "title"
    } | {"title": ["not a string"]}
    assert host.put(OCTOCAT).json["fields"] == {"distribution": ["unknown"]}
    assert host.row()["title"] == OCTOCAT["title"]


def test_a_protected_member_may_come_from_a_relationship(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        repo = fields.String(attribute="repository.name", dump_only=True)

    model = model_of(
        "repo_id",
        repo_id=sa.Column(sa.ForeignKey("repositories.id")),
        repository=relationship("Repository"),
    )
    base = model.__mro__[1]
    name = sa.Column(sa.String(20))
    key = sa.Column(sa.Integer, primary_key=True)
    repository = type(
        "Repository", (base,), {"__tablename__": "repositories", "id": key, "name": name}
    )
    row = row_of("repo_id", repository=repository(id=1, name="octocat"))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row])
    assert host.get().json == OCTOCAT | {"repo": "octocat"}
    assert host.put(OCTOCAT | {"repo": "octocat", "title": "x"}).status_code == 200
    assert host.put(OCTOCAT | {"repo": "hello"}).json["fields"] == {"repo": ["cannot be changed"]}


def test_members_may_be_added(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        labels = fields.List(fields.String(), required=True, allow_none=True)

    host = make_host(
        database_url,
        model=model_of(labels=sa.Column(sa.JSON(none_as_null=True))),
        schema=Schema,
        rows=[row_of(labels=["a"]), row_of(id=2, labels=None)],
    )
    assert host.get().json == OCTOCAT | {"labels": ["a"]}
    assert host.put(OCTOCAT | {"labels": ["a", "b"]}).json["labels"] == ["a", "b"]
    assert host.row()["labels"] == ["a", "b"]
    assert host.get(2).json["labels"] is None
    assert host.put(OCTOCAT).json["fields"] == {"labels": ["missing"]}
    refused = host.put(OCTOCAT | {"labels": ["a", 1, "\ud800"]})
    assert refused.json["fields"] == {"labels": ["1: Not a valid string."]}
    refused = host.put(OCTOCAT | {"labels": ["a\0"]})
    assert refused.json["fields"] == {"labels": ["holds U+0000"]}


def test_hooks_and_validators_keep_working(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        branch = Text(data_key="head")

        @pre_load
        def fill_in(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
            return {"runtime": "docker"} | data

        @validates_schema
        def in_order(self, data: dict[str, Any], **kwargs: Any) -> None:
            if 0 < data["finished"] < data["started"]:
                raise ValidationError("ends before it starts", "finished")

        @post_load
        def close(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
            if data["status"] == "error" and not data["error"]:
                data["error"] = "unknown"
            return data

    host = make_host(sqlite_url, schema=Schema)
    sent = {("head" if name == "branch" else name): value for name, value in OCTOCAT.items()}
    assert host.get().json == sent
    assert host.put(sent | {"finished": 1}).json["fields"] == {
        "finished": ["ends before it starts"]
    }
    del sent["runtime"]
    assert host.put(sent | {"status": "error", "head": "x"}).json["error"] == "unknown"
    assert host.row() == OCTOCAT | {"status": "error", "error": "unknown", "branch": "x"}


def test_unknown_members_that_the_host_admits_are_never_stored(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        class Meta:
            unknown = INCLUDE

    model = model_of(secret=sa.Column(sa.String(20)))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row_of(secret="kept")])
    put = host.put(OCTOCAT | {"secret": "stolen", "title": "x"})
    assert put.json == OCTOCAT | {"title": "x"}
    assert host.row() == OCTOCAT | {"title": "x", "secret": "kept"}


def test_a_post_load_hook_that_answers_no_mapping_is_named(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        @post_load
        def make(self, data: dict[str, Any], **kwargs: Any) -> object:
            return object()

    host = make_host(sqlite_url, schema=Schema)
    host.app.testing = True
    with pytest.raises(TypeError, match=r"Schema\.load.* returned object.* post_load"):
        host.put(OCTOCAT)


class Times(BuildSchema):
    started = UnixTime(attribute="started_at")
    finished = UnixTime(attribute="finished_at")


@pytest.mark.parametrize("aware", [False, True])
def test_times_may_be_datetimes(make_host: MakeHost, database_url: str, aware: bool) -> None:
    zone = UTC if aware else None
    model = model_of(
        "started",
        "finished",
        started_at=sa.Column(sa.DateTime(timezone=aware)),
        finished_at=sa.Column(sa.DateTime(timezone=aware)),
    )
    began = datetime(2019, 7, 18, 18, 21, 17, tzinfo=zone)
    host = make_host(
        database_url,
        model=model,
        schema=Times,
        rows=[row_of("started", "finished", started_at=began, finished_at=None)],
    )
    assert host.get().json == OCTOCAT | {"started": 1563474077, "finished": 0}
    put = host.put(OCTOCAT | {"started": 1563474077, "finished": 1563474099})
    assert put.json["finished"] == 1563474099
    stored = host.row()["finished_at"]
    assert stored.replace(tzinfo=stored.tzinfo or UTC) == datetime.fromtimestamp(1563474099, UTC)
    assert host.get().data == put.data
    assert host.put(OCTOCAT | {"started": 1563474077, "finished": 0}).json["finished"] == 0
    assert host.row()["finished_at"] is None
    told = {"started": ["less than 0"], "finished": ["greater than 253402300799"]}
    assert host.put(OCTOCAT | {"started": -1, "finished": 10**12}).json["fields"] == told
    told = {"started": ["not an integer"], "finished": ["not an integer"]}
    assert host.put(OCTOCAT | {"started": 1.0, "finished": True}).json["fields"] == told


def test_a_fraction_of_a_second_survives_a_put_that_leaves_the_member(
    make_host: MakeHost, database_url: str
) -> None:
    precise = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    began = datetime(2019, 7, 18, 18, 21, 17, 987654)
    host = make_host(
        database_url,
        model=model_of(
            "started",
            "finished",
            started_at=sa.Column(precise),
            finished_at=sa.Column(precise),
        ),
        schema=Times,
        rows=[row_of("started", "finished", started_at=began, finished_at=began)],
    )
    changed = host.get().json | {"finished": 1563474078}
    assert changed["started"] == 1563474077
    assert host.put(changed).status_code == 200
    assert host.row()["started_at"] == began
    assert host.row()["finished_at"] == datetime(2019, 7, 18, 18, 21, 18)


class Zeros(BuildSchema):
    started = WholeNumber(zero_is_null=True)
    finished = UnixTime(zero_is_null=False)


def test_zero_is_null_or_it_is_not(make_host: MakeHost, database_url: str) -> None:
    model = model_of(started=sa.Column(sa.BigInteger), finished=sa.Column(sa.DateTime))
    rows: list[dict[str, Any]] = [
        row_of(started=5, finished=datetime(2020, 1, 1)),
        row_of(id=2, number=2, started=0, finished=None),
        row_of(id=3, number=3, started=None, finished=None),
    ]
    host = make_host(database_url, model=model, schema=Zeros, rows=rows, history=history_of(model))
    document = host.get().json
    assert host.put(document | {"started": 0, "finished": 0}).json["started"] == 0
    assert (host.row()["started"], host.row()["finished"]) == (None, datetime(1970, 1, 1))
    [revision] = host.revisions().json
    assert revision["changes"]["started"] == {"before": 5, "after": 0}
    assert host.undo(revision["id"]).json == document
    assert host.row()["started"] == 5
    for build_id, kept in ((2, 0), (3, None)):  # what is not changed stays
        zero = host.get(build_id).json
        assert (zero["started"], zero["finished"]) == (0, 0)
        assert host.put(zero | {"title": "x"}).status_code == 200
        assert (host.row(build_id)["started"], host.row(build_id)["finished"]) == (kept, None)
        assert host.put(zero | {"title": "x", "started": 7}).status_code == 200
        assert host.put(zero | {"title": "x", "started": 0}).status_code == 200
        assert host.row(build_id)["started"] is None
    told = {"started": ["less than 0"], "finished": ["less than 0"]}
    assert host.put(document | {"started": -1, "finished": -1}).json["fields"] == told


def test_by_default_zero_is_stored_unless_the_row_has_null(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url, rows=[row_of(started=5, finished=None)], model=model_of())
    put = host.put(host.get().json | {"started": 0})
    assert (put.json["started"], put.json["finished"]) == (0, 0)
    assert (host.row()["started"], host.row()["finished"]) == (0, None)


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (None, 0),
        (datetime(1970, 1, 1, 0, 0, 1), 1),
        (datetime(1970, 1, 1, 0, 0, 1, 999999), 1),
        (datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), 2**31),
        (datetime(2000, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 946684800),
        (datetime(9999, 12, 31, 23, 59, 59), UnixTime.latest),
    ],
)
def test_unix_time_counts_whole_seconds_of_utc(moment: datetime | None, seconds: int) -> None:
    assert UnixTime().serialize("at", {"at": moment}) == seconds


def test_unix_time_answers_what_it_is_told_to() -> None:
    assert UnixTime().deserialize(86400) == datetime(1970, 1, 2)
    assert UnixTime(aware=True).deserialize(86400) == datetime(1970, 1, 2, tzinfo=UTC)
    assert UnixTime().deserialize(UnixTime.latest) == datetime(9999, 12, 31, 23, 59, 59)


def test_the_kinds_of_member_show_null_as_their_zero() -> None:
    assert WholeNumber().serialize("x", {"x": None}) == 0
    assert Text().serialize("x", {"x": None}) == ""


@pytest.mark.parametrize(
    ("column", "field", "sent"),
    [
        pytest.param(sa.CHAR(9), fields.String(allow_none=True), "ab ", id="CHAR strips or pads"),
        pytest.param(sa.Numeric(9, 2), fields.Float(allow_none=True), 1.005, id="NUMERIC rounds"),
    ],
)
def test_a_value_that_its_column_would_not_keep_is_refused(
    make_host: MakeHost,
    server_url: str,
    column: sa.types.TypeEngine[Any],
    field: fields.Field[Any],
    sent: object,
) -> None:
    class Schema(BuildSchema):
        extra = field

    model = model_of(extra=sa.Column(column))
    host = make_host(server_url, model=model, schema=Schema, rows=[row_of(extra=None)])
    refused = host.put(OCTOCAT | {"extra": sent})
    assert refused.status_code == 400
    assert refused.json["fields"] == {"extra": ["not stored as sent"]}
    assert host.row()["extra"] is None


def test_a_value_that_a_rounding_column_keeps_is_stored(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of("created", created=sa.Column(sa.Numeric(12, 0)))
    host = make_host(database_url, model=model)
    assert host.put(OCTOCAT | {"created": 1563474000}).json["created"] == 1563474000
    assert host.get().json["created"] == 1563474000


class Shouting(sa.types.TypeDecorator[str]):
    """A type that keeps no text as it is."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        if value == "odd":
            raise ValueError("secret")
        return value and value.upper()


def test_a_type_of_the_hosts_own_is_read_back(make_host: MakeHost, database_url: str) -> None:
    host = make_host(database_url, model=model_of("branch", branch=sa.Column(Shouting)))
    shown = OCTOCAT | {"branch": "MAIN"}
    assert host.get().json == shown
    assert host.put(shown | {"branch": "TOPIC"}).json["branch"] == "TOPIC"
    refused = host.put(shown | {"branch": "topic"})
    assert refused.json["fields"] == {"branch": ["not stored as sent"]}
    refused = host.put(shown | {"branch": "odd"})
    assert refused.status_code == 409
    assert "secret" not in refused.text
    assert host.row()["branch"] == "TOPIC"


class Number(sa.types.TypeDecorator[int]):
    """A type whose range nobody knows."""

    impl = sa.Integer
    cache_ok = True


def test_a_number_beyond_an_unknown_range_is_refused(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of(
        "number",
        id=sa.Column(Number, primary_key=True, autoincrement=False),
        number=sa.Column(Number),
    )
    host = make_host(database_url, model=model)
    assert host.get(10**30).status_code == 404
    assert host.put(OCTOCAT | {"id": 10**30}).status_code == 404
    assert host.put(OCTOCAT | {"number": 10**30}).status_code == 409
    assert host.put(OCTOCAT | {"number": 2}).json["number"] == 2


def test_a_hybrid_that_cannot_be_said_in_sql_is_stored(
    make_host: MakeHost, sqlite_url: str
) -> None:
    def branch(self: Any) -> str:
        return str(self.full.removeprefix("refs/"))

    def set_branch(self: Any, value: str) -> None:
        self.full = f"refs/{value}"

    model = model_of(
        "branch", full=sa.Column(sa.String(20)), branch=hybrid_property(branch, set_branch)
    )
    host = make_host(sqlite_url, model=model, rows=[row_of("branch", full="refs/main")])
    assert host.get().json == OCTOCAT
    assert host.put(OCTOCAT | {"branch": "topic"}).json["branch"] == "topic"
    assert host.row()["full"] == "refs/topic"


def test_a_member_may_be_a_pair_of_methods(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        title = fields.Method("show", deserialize="read", required=True)

        def show(self, build: Any) -> str:
            return str(build.title.upper())

        def read(self, value: str) -> str:
            return value.lower()

    host = make_host(sqlite_url, schema=Schema, rows=[row_of(title="before")])
    assert host.get().json["title"] == "BEFORE"
    assert host.put(data=host.get().data).status_code == 200
    assert host.row()["title"] == "before"
    assert host.put(OCTOCAT | {"title": "AFTER"}).json["title"] == "AFTER"
    assert host.row()["title"] == "after"


def test_text_is_checked_however_deep_it_lies(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        labels = fields.Dict(required=True)

    model = model_of(labels=sa.Column(sa.JSON))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row_of(labels={})])
    for labels in ({"a\0": 1}, {"a": ["b", {"c": "d\0"}]}):
        refused = host.put(OCTOCAT | {"labels": labels})
        assert refused.json["fields"] == {"labels": ["holds U+0000"]}
    refused = host.put(OCTOCAT | {"labels": {"a": ["\ud800"]}})
    assert refused.json["fields"] == {"labels": ["holds a lone surrogate"]}
    assert host.put(OCTOCAT | {"labels": {"a": [1]}}).json["labels"] == {"a": [1]}
    assert host.put(OCTOCAT | {"labels": {"a": [True]}}).json["labels"] == {"a": [True]}
    assert host.row()["labels"]["a"][0] is True


def test_a_member_that_is_not_required_may_be_left_out_and_stays(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        priority = WholeNumber(required=False)

    model = model_of(priority=sa.Column(sa.Integer))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row_of(priority=3)])
    assert host.put(OCTOCAT | {"title": "x"}).json == OCTOCAT | {"title": "x", "priority": 3}
    assert host.put(OCTOCAT | {"priority": 4}).json == OCTOCAT | {"priority": 4}


def test_json_behind_a_synonym_is_not_left_for_its_equal(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        labels = fields.Raw(required=True, attribute="tags")

    model = model_of(words=sa.Column(sa.JSON), tags=synonym("words"))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row_of(words=[1])])
    assert host.put(OCTOCAT | {"labels": [2]}).json["labels"] == [2]
    assert host.put(OCTOCAT | {"labels": [True, 2]}).json["labels"] == [True, 2]
    assert host.put(OCTOCAT | {"labels": [1, 2]}).text.count("[1,2]") == 1
    assert [type(one) for one in host.row()["words"]] == [int, int]
    assert host.put(OCTOCAT | {"labels": True}).json["labels"] is True
    assert type(host.put(OCTOCAT | {"labels": 1}).json["labels"]) is int


class Renamed(BuildSchema):
    """Members whose attributes have other names, of which none is a member."""

    id = WholeNumber(minimum=1, attribute="build_pk")
    title = Text(attribute="subject")
    branch = Text(data_key="head")  # its attribute is "branch"
    author = Text(attribute="written_by", dump_only=True)


class Including(Renamed):
    class Meta:
        unknown = INCLUDE


class IncludingMade(Renamed):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, unknown=INCLUDE)


class IncludingLoaded(Renamed):
    class Meta:
        unknown = EXCLUDE

    def load(self, data: Any, **options: Any) -> Any:
        return super().load(data, **options, unknown=INCLUDE)


class IncludingHooked(Including):
    @validates_schema
    def is_included(self, data: Any, **options: Any) -> None:
        assert data["note"] == "of the host"
        assert "subject" in data
        assert "written_by" not in data

    @post_load
    def keep(self, data: Any, **options: Any) -> Any:
        return data


class Excluding(Renamed):
    class Meta:
        unknown = EXCLUDE


class RaisingLoaded(Renamed):
    def load(self, data: Any, **options: Any) -> Any:
        return super().load(data, **options, unknown=INCLUDE)


def renamed_host(make_host: MakeHost, url: str, schema: type[BuildSchema]) -> Host:
    model = model_of(
        "title",
        "author",
        build_pk=sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        id=synonym("build_pk"),
        subject=sa.Column(sa.String(20)),
        written_by=sa.Column(sa.String(20)),
    )
    rows = [row_of("id", "title", "author", build_pk=one, number=one) for one in (1, 2)]
    return make_host(url, model=model, schema=schema, rows=rows)


#: Names of attributes, of fields and of parts of either.
ALIASES = {"build_pk": 2, "subject": 5, "branch": None, "written_by": "me", "id.x": 1, "head.x": 1}


@pytest.mark.parametrize(
    "schema", [Including, IncludingMade, IncludingLoaded, IncludingHooked, Excluding]
)
def test_an_unknown_member_does_not_pass_for_an_attribute(
    make_host: MakeHost, sqlite_url: str, schema: type[BuildSchema]
) -> None:
    host = renamed_host(make_host, sqlite_url, schema)
    document, other, row = host.get().json, host.row(2), host.row()
    for name, value in ALIASES.items():
        sent = document | {name: value, "note": "of the host"}
        assert host.put(sent | {"status": name}).json == document | {"status": name}
        assert host.row() == row | {"status": name}
        assert host.put(sent | {"title": 5}).json["fields"] == {"title": ["not a string"]}
    sent = {key: document[key] for key in document if key != "id"} | ALIASES
    assert host.put(sent).json["fields"] == {"id": ["missing"]}
    assert host.row(2) == other


@pytest.mark.parametrize("schema", [Renamed, RaisingLoaded])
def test_the_name_of_an_attribute_is_as_unknown_as_any(
    make_host: MakeHost, sqlite_url: str, schema: type[BuildSchema]
) -> None:
    host = renamed_host(make_host, sqlite_url, schema)
    document, rows = host.get().json, [host.row(), host.row(2)]
    for name in ("build_pk", "subject", "branch", "written_by"):
        refused = host.put(document | {name: ALIASES[name]})
        assert (refused.status_code, refused.json["fields"]) == (400, {name: ["unknown"]})
    assert [host.row(), host.row(2)] == rows


def test_a_hook_may_load_a_member_from_the_name_of_its_attribute(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Hooked(Including):
        @pre_load
        def accept(self, data: Any, **options: Any) -> Any:
            return {("title" if key == "subject" else key): data[key] for key in data}

    host = renamed_host(make_host, sqlite_url, Hooked)
    document = host.get().json
    sent = {key: document[key] for key in document if key != "title"} | {"subject": "x"}
    assert host.put(sent).json == document | {"title": "x"}


def test_the_id_may_be_a_member_of_another_name(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        class Meta:
            exclude = ("id",)

        build_id = WholeNumber(minimum=1, data_key="id")

    host = make_host(sqlite_url, model=model_of(build_id=synonym("id")), schema=Schema)
    assert host.get().json == OCTOCAT
    assert host.put(OCTOCAT | {"title": "x"}).json == OCTOCAT | {"title": "x"}


def test_a_hybrid_with_an_expression_of_its_own_has_no_limits(
    make_host: MakeHost, sqlite_url: str
) -> None:
    names = ["created", "error"]
    status = hybrid_property(
        lambda self: names[self.code],
        lambda self, name: setattr(self, "code", names.index(name)),
        expr=lambda cls: cls.code,
    )
    model = model_of("status", code=sa.Column(sa.Integer), status=status)
    host = make_host(sqlite_url, model=model, rows=[row_of("status", code=0)])
    assert host.get().json == OCTOCAT
    assert host.put(OCTOCAT | {"status": "error"}).json["status"] == "error"
    assert host.put(OCTOCAT | {"status": "odd"}).json["fields"] == {
        "status": ["'odd' is not in list"]
    }


@on_mariadb
@pytest.mark.parametrize("length", [50, 100_000])
def test_text_of_a_length_holds_what_mariadb_makes_of_it(
    make_host: MakeHost, server_url: str, length: int
) -> None:
    model = model_of("message", message=sa.Column(sa.Text(length)))
    host = make_host(server_url, model=model)
    limit = 255 if length == 50 else 2**24 - 1
    longest = OCTOCAT | {"message": "x" * min(limit, 200_000)}
    assert host.put(longest).json == longest
    if length == 50:
        refused = host.put(OCTOCAT | {"message": "x" * 256})
        assert refused.json["fields"] == {"message": ["longer than 255 bytes in UTF-8"]}


def test_a_moment_that_its_column_keeps_otherwise_is_refused(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        at = fields.DateTime(required=True)

    model = model_of(at=sa.Column(sa.DateTime))
    rows = [row_of(at=datetime(2020, 1, 1))]
    host = make_host(database_url, model=model, schema=Schema, rows=rows)
    document = host.get().json
    assert document["at"] == "2020-01-01T00:00:00"
    refused = host.put(document | {"at": "2021-01-01T00:00:00+02:00"})
    assert refused.json["fields"] == {"at": ["not stored as sent"]}
    changed = document | {"at": "2021-01-01T00:00:00"}
    assert host.put(changed).json == changed == host.get().json


def test_a_boolean_column_holds_0_and_1(make_host: MakeHost, database_url: str) -> None:
    host = make_host(database_url, model=model_of("parent", parent=sa.Column(sa.Boolean)))
    assert host.get().json == OCTOCAT
    assert host.put(OCTOCAT | {"parent": 0}).json["parent"] == 0
    assert host.put(OCTOCAT | {"parent": 2}).json["fields"] == {"parent": ["greater than 1"]}


def test_what_a_receiver_writes_is_read_back(make_host: MakeHost, server_url: str) -> None:
    def sign(sender: object, build: Any, **told: Any) -> None:
        build.branch = "x"

    host = make_host(server_url, model=model_of("branch", branch=sa.Column(sa.CHAR(4))))
    with build_updating.connected_to(sign, host.app):
        put = host.put(host.get().json | {"title": "x"})
    assert put.data == host.get().data


def test_hooks_do_not_see_the_protected_members(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        author = Text(dump_only=True)
        sender = Text(attribute="branch", dump_only=True)

        @pre_load
        def sign(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
            return data | {"message": ", ".join(sorted({"author", "sender", "host"} & {*data}))}

    host = make_host(sqlite_url, schema=Schema)
    document = OCTOCAT | {"sender": "main"}
    assert host.get().json == document
    put = host.put(document | {"title": "x"})
    assert put.json == document | {"title": "x", "message": "host"}
    refused = host.put(document | {"author": "Mona", "number": 0})
    assert refused.json["fields"] == {"number": ["less than 1"], "author": ["cannot be changed"]}
    without = {key: document[key] for key in document if key not in {"sender", "number"}}
    refused = host.put(without)
    assert refused.json["fields"] == {"number": ["missing"], "sender": ["missing"]}
    refused = host.put(document | {"author": "Mona", "sender": None})
    problems = {"sender": ["cannot be changed"], "author": ["cannot be changed"]}
    assert refused.json["fields"] == problems


def test_a_protected_member_may_have_the_name_of_anothers_attribute(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        class Meta:
            unknown = INCLUDE

        title = Text(attribute="subject")
        subject = fields.Constant("fixed", dump_only=True)

    model = model_of("title", subject=sa.Column(sa.String(20)))
    host = make_host(sqlite_url, model=model, schema=Schema, rows=[row_of("title", subject="a")])
    shown = OCTOCAT | {"title": "a", "subject": "fixed"}
    assert host.get().json == shown
    assert host.put(shown | {"title": "b"}).json == shown | {"title": "b"}
    refused = host.put(shown | {"subject": "c"})
    assert refused.json["fields"] == {"subject": ["cannot be changed"]}


def test_the_id_is_required_whatever_the_schema_says(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        id = fields.Integer(strict=True, load_default=1)

    host = make_host(sqlite_url, schema=Schema)
    without = {name: value for name, value in OCTOCAT.items() if name != "id"}
    assert host.put(without).json["fields"] == {"id": ["missing"]}
    assert host.put(OCTOCAT | {"title": "x"}).json == OCTOCAT | {"title": "x"}


def test_what_showing_a_build_changes_of_it_is_not_stored(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    def noticed(build: Any) -> str:
        build.host = "looked at"
        return str(build.title)

    model = model_of(noticed=property(noticed))
    schema = type("Noticing", (BuildSchema,), {"noticed": Text(dump_only=True)})
    host = make_host(sqlite_url, model=model, schema=schema)
    assert host.get().json["noticed"] == OCTOCAT["title"]
    assert host.client.get("/api/v1/admin/builds/queue", headers=ADMIN).status_code == 200
    assert host.row()["host"] == OCTOCAT["host"]


def test_a_number_as_text_is_taken_as_it_is_dumped(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    numbers = {"id": WholeNumber(minimum=1, as_string=True), "parent": WholeNumber(as_string=True)}
    schema = type("Schema", (BuildSchema,), numbers)
    host = make_host(sqlite_url, model=model_of(), schema=schema, rows=[row_of(parent=None)])
    fetched = host.get()
    assert (fetched.json["id"], fetched.json["parent"]) == ("1", "0")
    assert host.put(data=fetched.data).data == fetched.data
    assert host.put(fetched.json | {"id": 1, "parent": "7"}).json["parent"] == "7"
    assert host.row()["parent"] == 7
    for wrong in ("01", " 1", "1 ", "+1", "1.0", 1.0, 1.9, True, "", "\u0661", "9" * 101, None):
        answer = host.put(fetched.json | {"id": wrong})
        assert (answer.status_code, [*answer.json["fields"]]) == (400, ["id"]), wrong
