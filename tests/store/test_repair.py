"""Any row that can be shown can be repaired: only what changes is judged.

A row may break a rule of today, or hold what the model cannot even load. What GET returns goes
back unchanged, every other member can be changed, and the broken one can be repaired.
"""

from __future__ import annotations

import enum
import json
import logging
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from marshmallow import (
    Schema,
    ValidationError,
    fields,
    post_dump,
    post_load,
    pre_load,
    validate,
    validates_schema,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, load_only, relationship, validates

from flask_build_admin import BuildSchema, Text, UnixTime, WholeNumber
from flask_build_admin.schema import AnyField
from flask_build_admin.store import ChangeOptions
from flask_build_admin.store.dberrors import converting_values
from tests.support.databases import DATABASES, on_mariadb
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    Build,
    Host,
    history_of,
    model_of,
    row_of,
)
from tests.support.repairs import (
    QUEUE,
    change,
    changes_of,
    command,
    differing,
    fetch,
    named,
    put_back,
    queue_of,
    queued,
    raw_row,
    undo_newest,
)
from tests.support.terminals import in_pipe

MakeHost = Callable[..., Host]

ALL = SQLITE, POSTGRESQL, MARIADB = ("sqlite",), ("postgresql",), ("mariadb",)
EVERY = ("sqlite", "postgresql", "mariadb")

RUNNING = OCTOCAT | {"status": "running"}

#: The last second that a datetime holds, the first of 1950, and any other.
LATEST, IN_1950, SECOND = UnixTime.latest, -631_152_000, 1_563_474_099


def schema_of(**members: AnyField) -> type[BuildSchema]:
    """Make a schema with other fields for some members."""
    made: type[BuildSchema] = type("HostSchema", (BuildSchema,), dict(members))
    return made


def on(rows: Collection[Any]) -> pytest.MarkDecorator:
    """Give a test each row on each database that it concerns."""
    pairs = [
        pytest.param(name, row, id=f"{row.case}-{name}")
        for name in DATABASES
        for row in rows
        if name in row.databases
    ]
    return pytest.mark.parametrize(
        ("database", "row"), pairs, indirect=["database"], scope="module"
    )


class Broken(NamedTuple):
    """A value that a row may have, and no put may give it.

    :param sql: of the column.
    :param good: a value that the member may be given.
    :param wrong: another value that it may not.
    """

    case: str
    member: str
    sql: str
    good: Any
    wrong: Any
    databases: tuple[str, ...] = EVERY


BROKEN = [
    Broken("repo_id_is_null", "repo_id", "NULL", 3, -1),
    Broken("number_is_null", "number", "NULL", 3, -1),
    Broken("event_is_null", "event", "NULL", "push", "\0"),
    Broken("status_is_null", "status", "NULL", "error", "s" * 251),
    Broken("repo_id_is_0", "repo_id", "0", 3, -1),
    Broken("number_is_0", "number", "0", 3, -5),
    Broken("number_is_negative", "number", "-7", 3, 0),
    Broken("parent_is_negative", "parent", "-1", 0, -2),
    Broken("finished_is_negative", "finished", "-62135596800", 0, -1),
    Broken("created_is_negative", "created", "-1", 1, -(2**63)),
    Broken("event_is_empty", "event", "''", "push", "e" * 251),
    Broken("status_is_empty", "status", "''", "error", "\0"),
    Broken("title_is_too_long", "title", f"'{'x' * 300}'", "x" * 250, "x" * 251, SQLITE),
    Broken("title_is_much_too_long", "title", f"'{'é' * 9000}'", "", "x" * 300, SQLITE),
    Broken("message_has_u_0000", "message", "CAST(x'610062' AS TEXT)", "ab", "b\0", SQLITE),
    Broken("message_has_u_0000", "message", "CONCAT('a', CHAR(0), 'b')", "ab", "b\0", MARIADB),
]


@pytest.fixture(scope="module")
def nullable(database_url: str) -> Iterator[Host]:
    """A host with nullable columns and a history."""
    host = of_model(Host, database_url, model_of(__tablename__="nullable_builds"), rows=[])
    yield host
    host.close()


@pytest.fixture
def host(nullable: Host) -> Host:
    """The same, with two builds that run."""
    nullable.refill(two_running())
    return nullable


def two_running(*left_out: str) -> list[dict[str, Any]]:
    return [row_of(*left_out, id=number, number=number, status="running") for number in (1, 2)]


def of_model(make_host: MakeHost, url: str, model: type[Any], **options: Any) -> Host:
    options.setdefault("rows", two_running())
    return make_host(url, model=model, history=history_of(model), **options)


def spoil(host: Host, member: str, sql: str) -> None:
    """Give a member of the first build a value behind the back of the model."""
    host.execute(f"UPDATE {host.model.__tablename__} SET {member} = {sql} WHERE id = 1")


@pytest.fixture
def broken(host: Host, row: Broken) -> Host:
    """The same; one value of the first build cannot be put."""
    spoil(host, row.member, row.sql)
    return host


@on(BROKEN)
def test_what_get_returns_can_be_put_back(broken: Host, row: Broken) -> None:
    document = put_back(broken)
    preview = broken.put(document, query_string={"dry_run": "true"})
    assert (preview.status_code, preview.json["changes"]) == (200, {})


@on(BROKEN)
def test_another_member_can_be_changed(broken: Host, row: Broken) -> None:
    change(broken, error="lost", host="hubot")
    before = raw_row(broken)
    assert undo_newest(broken).status_code == 200
    assert differing(before, raw_row(broken)) == {"error", "host"}


@on(BROKEN)
def test_the_broken_member_can_be_repaired(broken: Host, row: Broken) -> None:
    change(broken, **{row.member: row.good})


@on(BROKEN)
def test_a_new_value_is_judged_and_its_problem_alone_is_reported(broken: Host, row: Broken) -> None:
    before, document = raw_row(broken), fetch(broken)
    answer = broken.put(document | {row.member: row.wrong})
    assert named(answer) == (400, {row.member})
    other = "parent" if row.member != "parent" else "number"
    answer = broken.put(document | {other: -1})
    assert named(answer) == (400, {other})
    answer = broken.put(document | {row.member: row.wrong, other: -1})
    assert named(answer) == (400, {row.member, other})
    assert differing(before, raw_row(broken)) == set()
    assert broken.recorded() == []


@on(BROKEN)
def test_the_form_is_checked_as_in_any_row(broken: Host, row: Broken) -> None:
    document = fetch(broken)
    shown = document.pop(row.member)
    assert named(broken.put(document)) == (400, {row.member})
    swapped = str(shown) if isinstance(shown, int) else 1
    assert named(broken.put(document | {row.member: swapped})) == (400, {row.member})
    assert named(broken.put(document | {row.member: None})) == (400, {row.member})
    complete = document | {row.member: shown}
    assert named(broken.put(complete | {"colour": "red"})) == (400, {"colour"})
    doubled = json.dumps(complete)[:-1] + f', "{row.member}": {json.dumps(shown)}}}'
    assert broken.put(data=doubled).status_code == 400


@on(BROKEN)
def test_it_is_repaired_in_the_terminal(broken: Host, row: Broken) -> None:
    shown = command(broken, "show", "1", "--json")
    assert json.loads(shown.output) == fetch(broken)
    applied = in_pipe(broken.app, "build-admin", "apply", "-", sent=shown.output)
    assert (applied.code, applied.output) == (0, "Nothing would be changed.\n")
    before = raw_row(broken)
    done = command(broken, "set", "1", "host=hubot", f"{row.member}={row.good}", "--yes")
    assert done.code == 0, done.errors
    assert differing(before, raw_row(broken)) == {"host", row.member}


def test_several_values_may_be_broken_at_once(host: Host) -> None:
    broken = {"repo_id": "NULL", "event": "NULL", "number": "0", "finished": "-9"}
    for member, sql in broken.items():
        spoil(host, member, sql)
    put_back(host)
    answer = host.put(fetch(host) | {"number": -5})
    assert named(answer) == (400, {"number"})
    change(host, number=7)
    change(host, status="error", finished=0)
    change(host, repo_id=1, event="push")


def test_preconditions_hold_in_a_broken_row(host: Host) -> None:
    spoil(host, "number", "0")
    stale = host.get()
    change(host, error="lost")
    before = raw_row(host)
    answer = host.put(stale.json, headers={"If-Match": stale.headers["ETag"]})
    assert answer.status_code == 412
    answer = host.put(stale.json | {"number": -1}, headers={"If-Match": stale.headers["ETag"]})
    assert answer.status_code == 412
    assert differing(before, raw_row(host)) == set()


# Rules of the host's own


class Ruled(BuildSchema):
    """Validators of one member, and hooks that judge the whole."""

    branch = Text(validate=validate.OneOf(["main", "next"]))
    clone = Text()
    deploy = Text()

    @validates_schema
    def in_order(self, data: Any, **options: Any) -> None:
        if data["finished"] and data["finished"] < data["started"]:
            raise ValidationError("before started", "finished")

    @post_load
    def of_a_known_host(self, data: Any, **options: Any) -> Any:
        if data["host"] == "retired":
            raise ValidationError("has retired", "host")
        return data

    @pre_load
    def of_a_known_runtime(self, data: Any, **options: Any) -> Any:
        if data.get("runtime") == "gone":
            raise ValidationError("is gone", "runtime")
        return data


HOOKED = {"validates_schema": ("finished", 5), "post_load": ("host", "retired")} | {
    "pre_load": ("runtime", "gone")
}


def ruled(make_host: MakeHost, url: str, **members: Any) -> Host:
    rows = [row_of(**members)]
    return of_model(make_host, url, model_of(), schema=Ruled, rows=rows)


def test_a_validator_counts_where_its_member_differs(
    make_host: MakeHost, database_url: str
) -> None:
    host = ruled(make_host, database_url, branch="gone")
    put_back(host)
    change(host, status="error")
    assert named(host.put(fetch(host) | {"branch": "lost"})) == (400, {"branch"})
    change(host, branch="main")
    assert named(host.put(fetch(host) | {"branch": "gone"})) == (400, {"branch"})


@pytest.mark.parametrize(("member", "value"), HOOKED.values(), ids=HOOKED)
def test_a_hook_counts_unless_nothing_differs(
    make_host: MakeHost, database_url: str, member: str, value: Any
) -> None:
    host = ruled(make_host, database_url, **{member: value})
    document = put_back(host)
    assert named(host.put(document | {"error": "lost"})) == (400, {member})
    assert named(host.put(document | {"error": "lost", "number": 0})) in (
        (400, {member, "number"}),
        (400, {"number"}),  # marshmallow runs no such hook after a problem with a member
        (400, {member}),  # … and finds no problem of a member after one of a pre_load hook
    )
    assert raw_row(host)["error"] == OCTOCAT["error"]
    good = OCTOCAT[member]
    change(host, error="lost", **{member: good})
    assert named(host.put(fetch(host) | {member: value})) == (400, {member})


def test_a_hook_that_changes_values_changes_none_of_a_put_that_changes_none(
    make_host: MakeHost, database_url: str
) -> None:
    class Tidy(BuildSchema):
        @post_load
        def strip(self, data: Any, **options: Any) -> Any:
            return data | {"title": data["title"].strip()}

    rows = [row_of(title=" wide ")]
    host = of_model(make_host, database_url, model_of(), schema=Tidy, rows=rows)
    put_back(host)


def test_the_model_judges_only_what_is_assigned(make_host: MakeHost, database_url: str) -> None:
    def refuse(build: object, key: str, value: str) -> str:
        if value == "refused":
            raise ValueError("is refused")
        return value

    model = model_of(refuse=validates("branch")(refuse))
    host = of_model(make_host, database_url, model)
    host.execute("UPDATE builds SET branch = 'refused'")
    put_back(host)
    change(host, status="error")
    change(host, branch="main")
    assert named(host.put(fetch(host) | {"branch": "refused"})) == (400, {"branch"})


# NULL as null

NULLABLE: dict[str, tuple[str, AnyField, Any, Any]] = {
    "number_from_1": ("repo_id", WholeNumber(minimum=1, allow_none=True), 3, 0),
    "number_from_0": ("parent", WholeNumber(allow_none=True), 0, -1),
    "text": ("error", Text(allow_none=True), "", "x" * 251),
    "text_not_empty": ("event", Text(empty=False, allow_none=True), "push", ""),
}


@pytest.mark.parametrize(("member", "field", "good", "wrong"), NULLABLE.values(), ids=NULLABLE)
def test_a_member_that_allows_null_shows_null(
    make_host: MakeHost, database_url: str, member: str, field: AnyField, good: Any, wrong: Any
) -> None:
    rows = [row_of(status="running") | {member: None}]
    schema = schema_of(**{member: field})
    host = of_model(make_host, database_url, model_of(), schema=schema, rows=rows)
    assert put_back(host)[member] is None
    assert queue_of(host)[0][member] is None
    change(host, status="pending")
    change(host, **{member: good})
    assert raw_row(host)[member] == good
    assert named(host.put(fetch(host) | {member: wrong})) == (400, {member})
    change(host, **{member: None})
    assert raw_row(host)[member] is None
    assert undo_newest(host).json[member] == good
    assert undo_newest(host).json[member] is None
    assert raw_row(host)[member] is None


# Rows that the model cannot load


class Event(enum.Enum):
    PUSH = "push"
    TAG = "tag"


#: For what is shown: anything, as long as it can go back.
ANYTHING: Any = object()


class Malformed(NamedTuple):
    """A row that SQLAlchemy, the driver or the field cannot read.

    :param sql: of the column.
    :param shown: how the member is shown.
    :param good: a value that the member may be given.
    :param wrong: one that it may not.
    :param column: of the model, if it is not the plain one.
    :param field: of the schema, likewise.
    """

    case: str
    databases: tuple[str, ...]
    member: str
    sql: str
    shown: Any
    good: Any
    wrong: Any
    column: Callable[[], Any] = lambda: None
    field: Callable[[], AnyField | None] = lambda: None


def words() -> Any:
    kinds = sa.Enum("push", "tag", native_enum=False, create_constraint=False, length=20)
    return sa.Column(kinds)


def names() -> Any:
    kinds = sa.Enum(Event, native_enum=False, create_constraint=False, length=20)
    return sa.Column(kinds)


def values() -> Any:
    kinds = sa.Enum(
        Event,
        native_enum=False,
        create_constraint=False,
        length=20,
        values_callable=lambda kind: [one.value for one in kind],
    )
    return sa.Column(kinds)


def by_name() -> AnyField:
    return fields.Enum(Event, required=True)


def by_value() -> AnyField:
    return fields.Enum(Event, by_value=True, required=True)


def moment() -> Any:
    return sa.Column(sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb"))


def aware_moment() -> Any:
    return sa.Column(sa.DateTime(timezone=True))


def plain_moment() -> Any:
    return sa.Column(sa.DateTime)


def timestamp() -> Any:
    return sa.Column(sa.TIMESTAMP)


def labels() -> Any:
    return sa.Column(sa.JSON)


def identifier() -> Any:
    return sa.Column(sa.Uuid)


def dictionary() -> AnyField:
    return fields.Dict(required=True, allow_none=True)


def uuid() -> AnyField:
    return fields.UUID(required=True, allow_none=True)


UUID = "00000000-0000-0000-0000-000000000007"
BYTES = "CAST(x'636166e9' AS TEXT)"

MALFORMED = [
    Malformed("a_word", EVERY, "event", "'merge_group'", "merge_group", "tag", "lost", words),
    Malformed("no_word", EVERY, "event", "''", "", "tag", "lost", words),
    Malformed("a_name", EVERY, "event", "'MERGE'", "MERGE", "TAG", "LOST", names, by_name),
    Malformed("a_value", EVERY, "event", "'merge'", "merge", "tag", "lost", values, by_value),
    Malformed("a_word_in_bytes", SQLITE, "event", BYTES, "caf\ufffd", "tag", "lost", words),
    *(
        Malformed(case, MARIADB, "finished", f"'{sql}'", shown, SECOND, -1, column, UnixTime)
        for case, sql, shown, column in (
            ("zero_date", "0000-00-00 00:00:00", 0, plain_moment),
            ("zero_date_with_fractions", "0000-00-00 00:00:00", 0, moment),
            ("zero_timestamp", "0000-00-00 00:00:00", 0, timestamp),
            ("zero_month", "2024-00-10 00:00:00", ANYTHING, plain_moment),
            ("zero_day", "2024-10-00 10:00:00", ANYTHING, plain_moment),
            ("year_0", "0000-01-01 00:00:00", ANYTHING, plain_moment),
        )
    ),
    *(
        Malformed(
            f"{case}_{zone}",
            POSTGRESQL,
            "finished",
            f"'{sql}'",
            shown,
            SECOND,
            -1,
            column,
            UnixTime,
        )
        for zone, column in (("naive", moment), ("aware", aware_moment))
        for case, sql, shown in (
            ("infinity", "infinity", LATEST),
            ("minus_infinity", "-infinity", ANYTHING),
            ("year_12000", "12000-01-01 00:00:00", LATEST),
            ("year_294276", "294276-01-01 00:00:00", LATEST),
            ("before_christ", "0044-03-15 12:00:00 BC", ANYTHING),
        )
    ),
    Malformed(
        "1950", EVERY, "finished", "'1950-01-01 00:00:00'", IN_1950, SECOND, -1, moment, UnixTime
    ),
    Malformed(
        "year_1",
        ("sqlite", "postgresql"),
        "finished",
        "'0001-01-01 00:00:00'",
        -62_135_596_800,
        SECOND,
        -1,
        moment,
        UnixTime,
    ),
    Malformed(
        "words_as_a_time", SQLITE, "finished", "'soon'", ANYTHING, SECOND, -1, moment, UnixTime
    ),
    Malformed(
        "nothing_as_a_time", SQLITE, "finished", "''", ANYTHING, SECOND, -1, moment, UnixTime
    ),
    Malformed("number_as_a_time", SQLITE, "finished", "5", ANYTHING, SECOND, -1, moment, UnixTime),
    Malformed(
        "month_13",
        SQLITE,
        "finished",
        "'2024-13-45 00:00:00'",
        ANYTHING,
        SECOND,
        -1,
        moment,
        UnixTime,
    ),
    Malformed("text_in_latin_1", SQLITE, "message", BYTES, "caf\ufffd", "café", "\0"),
    Malformed("half_a_character", SQLITE, "title", "CAST(x'c3' AS TEXT)", "\ufffd", "é", "\0"),
    Malformed("surrogate", SQLITE, "title", "CAST(x'eda080' AS TEXT)", ANYTHING, "é", "\0"),
    Malformed("bytes_as_text", SQLITE, "title", "x'636166e9'", ANYTHING, "café", "\0"),
    Malformed("bytes_of_utf_8_as_text", SQLITE, "title", "x'61'", ANYTHING, "b", "\0"),
    Malformed("no_number", SQLITE, "finished", "''", ANYTHING, 5, -1),
    Malformed("no_number_from_1", SQLITE, "repo_id", "''", ANYTHING, 5, -1),
    Malformed("a_word_as_a_number", SQLITE, "finished", "'soon'", ANYTHING, 5, -1),
    Malformed("no_utf_8_as_a_number", SQLITE, "finished", BYTES, ANYTHING, 5, -1),
    Malformed("bytes_as_a_number", SQLITE, "finished", "x'00ff'", ANYTHING, 5, -1),
    Malformed("a_fraction_as_a_number", SQLITE, "finished", "1.5", ANYTHING, 5, -1),
    Malformed("too_many_digits", SQLITE, "finished", "1e300", ANYTHING, 5, -1),
    Malformed("infinite", SQLITE, "finished", "9e999", ANYTHING, 5, -1),
    Malformed("a_word_as_created", SQLITE, "created", "'soon'", ANYTHING, 5, -1),
    Malformed(
        "broken_json", SQLITE, "labels", "'{not JSON'", ANYTHING, {"a": 1}, 1, labels, dictionary
    ),
    Malformed("empty_json", SQLITE, "labels", "''", ANYTHING, {"a": 1}, 1, labels, dictionary),
    Malformed("bytes_as_json", SQLITE, "labels", BYTES, ANYTHING, {"a": 1}, 1, labels, dictionary),
    Malformed("no_uuid", SQLITE, "clone", "'not-a-uuid'", ANYTHING, UUID, "x", identifier, uuid),
]


@pytest.fixture(scope="module")
def of_case(database_url: str, row: Malformed) -> Iterator[Host]:
    """A host on which a build can be malformed so."""
    column, field = row.column(), row.field()
    columns = {} if column is None else {row.member: column}
    schema = schema_of(**({} if field is None else {row.member: field}))
    model = model_of(__tablename__="malformed_builds", **columns)
    host = of_model(Host, database_url, model, schema=schema, rows=[])
    yield host
    host.close()


@pytest.fixture
def malformed(of_case: Host, row: Malformed) -> Host:
    """The same, with a malformed build and a good one, both running."""
    of_case.refill(two_running(row.member))
    spoil(of_case, row.member, row.sql)
    return of_case


@on(MALFORMED)
def test_a_malformed_row_is_shown_and_can_be_put_back(malformed: Host, row: Malformed) -> None:
    document = put_back(malformed)
    if row.shown is not ANYTHING:
        assert document[row.member] == row.shown
    assert document == RUNNING | {row.member: document[row.member]}
    assert put_back(malformed) == document


def test_the_host_reads_text_of_sqlite_as_before(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url)
    host.execute("UPDATE builds SET title = CAST(x'ff' AS TEXT)")
    assert fetch(host)["title"] == "\ufffd"
    with host.engine.connect() as connection, pytest.raises(DBAPIError, match="UTF-8"):
        connection.execute(sa.select(Build.title)).all()


@on_mariadb
def test_a_malformed_row_is_read_as_it_is_under_the_lock(
    make_host: MakeHost, server_url: str
) -> None:
    status = sa.Enum("created", native_enum=False, length=20)
    host = make_host(server_url, model=model_of(status=sa.Column(status)))
    host.execute("UPDATE builds SET status = 'of another release'")
    seen: list[Any] = []
    with host.app.app_context():
        host.session.execute(sa.text("SET innodb_snapshot_isolation = OFF"))
        host.session.scalars(sa.select(host.model.title)).one()  # the transaction's snapshot
        host.execute("UPDATE builds SET title = 'theirs'")
        document = OCTOCAT | {"status": "of another release", "title": "theirs", "error": "lost"}
        options = ChangeOptions(precondition=seen.append)
        assert host.blueprint.store.overwrite(document, options).revision.changes.keys() == {
            "error"
        }
    assert seen[0]["title"] == "theirs"


@pytest.mark.parametrize("attribute", ["subject", "repo.name"])
def test_nothing_of_a_malformed_row_is_as_the_host_has_loaded_it_before(
    make_host: MakeHost, database_url: str, database: str, attribute: str
) -> None:
    status: Any = sa.Column(sa.Enum("created", native_enum=False, length=20))
    model = model_of(
        "title",
        status=status,
        repo_pk=sa.Column(sa.ForeignKey("repos.id")),
        repo=relationship("Repo"),
        title_of_its_own=sa.Column(sa.String(20)),
        subject=property(lambda build: build.title_of_its_own),
    )
    repo = {
        "__tablename__": "repos",
        "id": sa.Column(sa.Integer, primary_key=True),
        "name": sa.Column(sa.String(20)),
    }
    Repo: Any = type("Repo", (model.__mro__[1],), repo)
    schema = schema_of(title=Text(attribute=attribute, dump_only=True))
    host = make_host(database_url, model=model, schema=schema, rows=[])
    with Session(host.engine) as session, session.begin():
        session.add_all([Repo(id=1, name="mine"), Repo(id=2, name="theirs")])
        session.flush()
        session.add(model(**row_of("title"), repo_pk=1, title_of_its_own="mine"))
    host.execute("UPDATE builds SET status = 'of another release'")
    with host.app.app_context():
        if database == "mariadb":
            host.session.execute(sa.text("SET innodb_snapshot_isolation = OFF"))
        sound = load_only(model.id, model.repo_pk, model.title_of_its_own)
        build = host.session.scalars(sa.select(model).options(sound)).one()
        assert (build.repo.name, build.subject) == ("mine", "mine")
        host.execute("UPDATE builds SET repo_pk = 2, title_of_its_own = 'theirs'")
        document = OCTOCAT | {"status": "of another release", "title": "theirs", "error": "lost"}
        changed = host.blueprint.store.overwrite(document)
        assert changed.build.document == document
        assert changed.revision.changes.keys() == {"error"}


@on(MALFORMED)
def test_another_member_of_a_malformed_row_can_be_changed(malformed: Host, row: Malformed) -> None:
    change(malformed, error="lost", parent=7)
    before = raw_row(malformed)
    assert undo_newest(malformed).status_code == 200
    assert differing(before, raw_row(malformed)) == {"error", "parent"}


@on(MALFORMED)
def test_a_malformed_member_can_be_repaired(malformed: Host, row: Malformed) -> None:
    before = raw_row(malformed)
    repaired = fetch(malformed) | {row.member: row.good}
    preview = malformed.put(repaired, query_string={"dry_run": "true"})
    assert preview.json["changes"].keys() == {row.member}
    assert differing(before, raw_row(malformed)) == set()
    change(malformed, **{row.member: row.good})
    put_back(malformed)


@on(MALFORMED)
def test_a_malformed_member_takes_no_wrong_value(malformed: Host, row: Malformed) -> None:
    before = raw_row(malformed)
    assert named(malformed.put(fetch(malformed) | {row.member: row.wrong})) == (400, {row.member})
    assert named(malformed.put(fetch(malformed) | {"number": 0})) == (400, {"number"})
    assert differing(before, raw_row(malformed)) == set()


@on(MALFORMED)
def test_a_malformed_row_hides_nothing_in_the_queue(malformed: Host, row: Malformed) -> None:
    assert sorted(queued(malformed)) == [1, 2]
    assert {build["id"]: build for build in queue_of(malformed)}[1] == fetch(malformed)


@on(MALFORMED)
def test_a_malformed_row_in_the_terminal(malformed: Host, row: Malformed) -> None:
    shown = command(malformed, "show", "1", "--json")
    assert shown.code == 0, shown.errors
    assert json.loads(shown.output) == fetch(malformed)
    assert command(malformed, "show", "1").code == 0
    listed = command(malformed, "queue")
    assert listed.code == 0, listed.errors
    lines = [line.split() for line in listed.output.splitlines()]
    assert {"1", "2"} <= {words[0] for words in lines if words}
    before = raw_row(malformed)
    done = command(malformed, "set", "1", "host=hubot", "--yes")
    assert done.code == 0, done.errors
    assert differing(before, raw_row(malformed)) == {"host"}


@on([row for row in MALFORMED if row.case in {"a_word", "text_in_latin_1", "infinity_naive"}])
def test_the_tag_of_a_malformed_row_is_heeded(malformed: Host, row: Malformed) -> None:
    fetched = malformed.get()
    change(malformed, error="lost")
    repaired = fetched.json | {row.member: row.good}
    stale = malformed.put(repaired, headers={"If-Match": fetched.headers["ETag"]})
    assert stale.status_code == 412
    now = malformed.get().headers["ETag"]
    answer = malformed.put(repaired, headers={"If-Match": now})
    assert (answer.status_code, answer.json) == (200, repaired)


HIDDEN = [
    Malformed("a_word", EVERY, "extra", "'merge_group'", None, None, None, words),
    Malformed("zero_date", MARIADB, "extra", "'0000-00-00 00:00:00'", 0, None, None, plain_moment),
    Malformed("infinity", POSTGRESQL, "extra", "'infinity'", None, None, None, moment),
    Malformed("text_in_latin_1", SQLITE, "extra", BYTES, None, None, None, words),
    Malformed("broken_json", SQLITE, "extra", "'{'", None, None, None, labels),
    Malformed("words_as_a_time", SQLITE, "extra", "'soon'", None, None, None, moment),
]


@on(HIDDEN)
def test_a_malformed_column_that_no_member_shows_is_left_alone(
    make_host: MakeHost, database_url: str, row: Malformed
) -> None:
    model = model_of(extra=row.column())
    host = of_model(make_host, database_url, model)
    spoil(host, "extra", row.sql)
    assert put_back(host) == RUNNING
    change(host, error="lost")
    assert sorted(queued(host)) == [1, 2]
    assert undo_newest(host).json == RUNNING


# Protected members through a relationship


class RepoSchema(Schema):
    name = fields.String()


#: A protected member of a repository that a build does not have, and how it is shown.
PROTECTED: dict[str, tuple[AnyField, Any]] = {
    "text": (Text(attribute="repo.name", dump_only=True), ""),
    "text_or_null": (Text(attribute="repo.name", dump_only=True, allow_none=True), None),
    "number": (WholeNumber(attribute="repo.counter", dump_only=True), 0),
    "number_or_null": (
        WholeNumber(attribute="repo.counter", dump_only=True, allow_none=True),
        None,
    ),
    "time": (UnixTime(attribute="repo.since", dump_only=True), 0),
    "string": (fields.String(attribute="repo.name", dump_only=True), None),
    "integer": (fields.Integer(attribute="repo.counter", dump_only=True), None),
    "boolean": (fields.Boolean(attribute="repo.counter", dump_only=True), None),
    "property": (Text(attribute="repo_name", dump_only=True), ""),
    "two_relationships": (Text(attribute="repo.owner.name", dump_only=True), ""),
    "nested": (fields.Nested(RepoSchema, attribute="repo", dump_only=True), None),
    "nested_behind_another": (
        fields.Nested(RepoSchema, attribute="repo.owner", dump_only=True),
        None,
    ),
}


@pytest.mark.parametrize(("field", "shown"), PROTECTED.values(), ids=PROTECTED)
def test_a_protected_member_without_its_relationship_is_shown_and_taken_back(
    make_host: MakeHost, database_url: str, field: AnyField, shown: Any
) -> None:
    model = model_of(
        "title",
        "repo_id",
        repo_id=sa.Column(sa.ForeignKey("repos.id")),
        repo=relationship("Repo"),
        repo_name=property(lambda build: build.repo.name),
    )
    base = model.__mro__[1]
    key: dict[str, Any] = {"id": sa.Column(sa.Integer, primary_key=True)}
    owner = key | {"__tablename__": "owners", "name": sa.Column(sa.String(20))}
    repo = {
        "__tablename__": "repos",
        "id": sa.Column(sa.Integer, primary_key=True),
        "name": sa.Column(sa.String(20)),
        "counter": sa.Column(sa.Integer),
        "since": sa.Column(sa.DateTime),
        "owner_id": sa.Column(sa.ForeignKey("owners.id")),
        "owner": relationship("Owner"),
    }
    # A registry holds its classes by weak references only.
    kept = type("Owner", (base,), owner), type("Repo", (base,), repo)
    schema = schema_of(title=field, repo_id=WholeNumber(minimum=1, allow_none=True))
    rows = [row_of("title", id=number, repo_id=None, status="running") for number in (1, 2)]
    host = of_model(make_host, database_url, model, schema=schema, rows=rows)
    document = put_back(host)
    assert document == RUNNING | {"title": shown, "repo_id": None}
    assert queue_of(host)[-1] == document
    assert named(host.put(document | {"title": "octocat"})) == (400, {"title"})
    without = {name: value for name, value in document.items() if name != "title"}
    assert named(host.put(without)) == (400, {"title"})
    change(host, status="error")
    assert undo_newest(host).json == document
    assert len(kept) == 2


# What cannot be read at all


class UnreadableField(fields.String):
    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return {"push": "push"}[value]


class UnreadableHook(BuildSchema):
    @post_dump
    def of_a_known_event(self, data: Any, **options: Any) -> Any:
        return data | {"event": {"push": "push"}[data["event"]]}


UNREADABLE: dict[str, dict[str, Any]] = {
    "a_field": {"schema": schema_of(event=UnreadableField(required=True))},
    "a_hook": {"schema": UnreadableHook},
    "a_property": {
        "schema": schema_of(title=Text(dump_only=True)),
        "attributes": {"title": property(lambda build: {"push": "x"}[build.event])},
    },
}


@pytest.fixture(params=[*UNREADABLE.values()], ids=[*UNREADABLE])
def unreadable(request: pytest.FixtureRequest, make_host: MakeHost, database_url: str) -> Host:
    """A host of seven builds that run; of the builds 76 and 77 the host's own code fails."""
    attributes = request.param.get("attributes", {})
    rows = [
        row_of(*attributes, id=build_id, created=created, status="running", event=event)
        for created, (build_id, event) in enumerate(
            [
                (1, "push"),
                (76, "tag"),
                (2, "push"),
                (3, "push"),
                (77, "tag"),
                (4, "push"),
                (5, "push"),
            ],
            1,
        )
    ]
    model = model_of(*attributes, **attributes)
    return of_model(make_host, database_url, model, schema=request.param["schema"], rows=rows)


READABLE = [5, 4, 3, 2, 1]


def test_what_cannot_be_read_hides_only_itself(
    unreadable: Host, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "flask_build_admin"):
        found = queued(unreadable)
    assert [one for one in found if one in READABLE] == READABLE
    warned = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    for build_id in ("76", "77"):
        assert any(build_id in line for line in warned)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_what_cannot_be_read_ends_no_walk_through_the_pages(unreadable: Host, limit: int) -> None:
    seen: list[Any] = []
    url, pages = f"{QUEUE}?limit={limit}", 0
    while url:
        page: Any = unreadable.client.get(url, headers=ADMIN)
        assert page.status_code == 200, page.data
        seen += [build.get("id") for build in page.json]
        url = page.headers.get("Link", "").removeprefix("<").partition(">")[0]
        pages += 1
        assert pages < 20
    assert [one for one in seen if one in READABLE] == READABLE


def test_what_cannot_be_read_is_named_in_the_terminal(unreadable: Host) -> None:
    listed = command(unreadable, "queue")
    assert listed.code == 0, listed.errors
    for build_id in (*READABLE, 76, 77):
        assert re.search(rf"\b{build_id}\b", listed.output)
    assert "Traceback" not in listed.output + listed.errors
    as_json = command(unreadable, "queue", "--json")
    assert as_json.code == 0
    assert [
        one["id"] for one in json.loads(as_json.output) if one.get("id") in READABLE
    ] == READABLE


def test_the_builds_beside_what_cannot_be_read_are_repaired(unreadable: Host) -> None:
    for build_id in READABLE:
        change(unreadable, build_id, error="lost")
    assert unreadable.get(77).status_code in {200, 500}
    assert unreadable.get(77).mimetype == "application/json"
    assert changes_of(unreadable, 5) == [{"error": {"before": "", "after": "lost"}}]


def test_an_error_of_the_server_is_no_value_that_cannot_be_converted(host: Host) -> None:
    with pytest.raises(DBAPIError), converting_values, host.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")
