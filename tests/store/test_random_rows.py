"""Any row that the database accepts can be fetched, put back, and changed in one member."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.mysql import DATETIME

from flask_build_admin import BuildSchema, UnixTime
from tests.support.hosts import OCTOCAT, Host, history_of, model_of, row_of
from tests.support.repairs import differing, named, queue_of, raw_row

#: The members whose columns are datetimes; the event is an Enum of two words.
TIMES = ("started", "finished")
EVENTS = ("push", "tag")
NUMBERS = [name for name, value in OCTOCAT.items() if isinstance(value, int)]
UNFINISHED = ("pending", "running")

examples = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])


class Schema(BuildSchema):
    started = UnixTime()
    finished = UnixTime()


@pytest.fixture(scope="module")
def host(database_url: str) -> Iterator[Host]:
    """A host of nullable columns, with a build that any row may replace, and one that runs."""
    kinds = sa.Enum(*EVENTS, native_enum=False, create_constraint=False, length=20)
    times = {
        name: sa.Column(sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb"))
        for name in TIMES
    }
    model = model_of(__tablename__="random_builds", event=sa.Column(kinds), **times)
    rows = [row_of(*TIMES, id=number, number=number, status="running") for number in (1, 2)]
    host = Host(database_url, model=model, schema=Schema, rows=rows, history=history_of(model))
    yield host
    host.close()


# What a column accepts, as raw SQL with a parameter


class Raw:
    """A value to write, and the SQL in which it is the parameter."""

    def __init__(self, value: Any, sql: str = "{}") -> None:
        self.value, self.sql = value, sql

    def __repr__(self) -> str:
        return self.sql.format(repr(self.value))


def raw(values: st.SearchStrategy[Any], sql: str = "{}") -> st.SearchStrategy[Raw]:
    return values.map(lambda value: Raw(value, sql))


NULL = raw(st.none())
#: Without lone surrogates, which no driver sends.
CHARACTERS = st.characters(exclude_categories=["Cs"])
LONG = 2**63
INTEGERS = st.one_of(
    st.integers(-LONG, LONG - 1), st.sampled_from([-1, 0, 1, 2**31, LONG - 1, -LONG])
)
STATUSES = st.sampled_from([*UNFINISHED, "success", "Running", "running "])
WORDS = st.sampled_from([*EVENTS, "merge_group", "PUSH", ""])

#: Whatever SQLite has, in a column of any type.
ANYTHING = st.one_of(
    NULL,
    raw(INTEGERS),
    raw(st.floats()),
    raw(st.text(CHARACTERS, max_size=300)),
    raw(st.binary(max_size=20)),
    raw(st.binary(max_size=20), "CAST({} AS TEXT)"),
    raw(st.sampled_from(["", "soon", "1", "2024-02-30 10:00:00", "2024-02-29 10:00:00.5", "{"])),
)

YEARS = st.integers(1, 9999)
MICROSECONDS = st.integers(0, 999_999)
MOMENTS = st.builds("{:04}-06-15 01:02:03.{:06}".format, YEARS, MICROSECONDS)

TIMES_OF_POSTGRESQL = st.one_of(
    MOMENTS,
    st.sampled_from(["infinity", "-infinity", "1969-12-31 23:59:59.9"]),
    st.builds("{}-01-01 00:00:00".format, st.integers(10_000, 294_276)),
    st.builds("{:04}-01-01 00:00:00 BC".format, st.integers(1, 4700)),
)
TIMES_OF_MARIADB = st.one_of(
    MOMENTS,
    st.sampled_from(
        ["0000-00-00 00:00:00", "2024-00-10 00:00:00", "2024-10-00 00:00:00", "0000-01-01 00:00:00"]
    ),
)


def cells(database: str, member: str) -> st.SearchStrategy[Raw]:
    """Draw what a column of a database accepts."""
    if database == "sqlite":
        sensible = {"status": raw(STATUSES), "event": raw(WORDS)}
        return sensible.get(member, NULL) | ANYTHING
    if member in TIMES:
        if database == "postgresql":
            return NULL | raw(TIMES_OF_POSTGRESQL, "CAST({} AS timestamp)")
        return NULL | raw(TIMES_OF_MARIADB)
    if member in NUMBERS:
        return NULL | raw(INTEGERS)
    # MariaDB holds U+0000 in a text, and PostgreSQL does not.
    held = (
        CHARACTERS
        if database == "mariadb"
        else st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    )
    longest = 20 if member == "event" else 250
    words = {"status": STATUSES, "event": WORDS}.get(member, st.just(""))
    return NULL | raw(words) | raw(st.text(held, max_size=longest))


def write(host: Host, row: dict[str, Raw]) -> None:
    """Write the first build behind the blueprint's back, and forget its revisions."""
    quote = host.engine.dialect.identifier_preparer.quote
    table = host.model.__table__.name
    with host.engine.begin() as connection:
        connection.execute(sa.delete(host.history))  # type: ignore[arg-type]
    if host.engine.dialect.name == "sqlite":
        assignments = ", ".join(
            f"{quote(name)} = {cell.sql.format('?')}" for name, cell in row.items()
        )
        one = sqlite3.connect(str(host.engine.url.database))
        with one:
            values = [cell.value for cell in row.values()]
            one.execute(f"UPDATE {table} SET {assignments} WHERE id = 1", values)
        one.close()
        return
    assignments = ", ".join(
        f"{quote(name)} = {cell.sql.format(f':p{number}')}"
        for number, (name, cell) in enumerate(row.items())
    )
    values_by_name = {f"p{number}": cell.value for number, cell in enumerate(row.values())}
    host.execute(f"UPDATE {table} SET {assignments} WHERE id = 1", **values_by_name)


def draw_row(host: Host, database: str, data: st.DataObject) -> dict[str, Any]:
    """Write any row, and return it as the database has it."""
    members = [name for name in OCTOCAT if name != "id"]
    # A whole row of garbage finds little: most of a row is as it should be.
    odd = data.draw(st.sets(st.sampled_from(members), min_size=1, max_size=6), label="odd")
    whole = {name: Raw(OCTOCAT[name]) for name in members if name not in TIMES}
    whole |= {"status": Raw("running"), "event": Raw("push")} | {name: Raw(None) for name in TIMES}
    drawn = {name: data.draw(cells(database, name), label=name) for name in sorted(odd)}
    write(host, whole | drawn)
    return raw_row(host)


@examples
@given(data=st.data())
def test_any_row_is_fetched_and_put_back(host: Host, database: str, data: st.DataObject) -> None:
    before = draw_row(host, database, data)
    fetched = host.get()
    assert fetched.status_code == 200, fetched.data
    assert json.loads(fetched.data).keys() == OCTOCAT.keys()
    headers = {"If-Match": fetched.headers["ETag"]}
    with host.statements() as sent:
        answer = host.put(data=fetched.data, headers=headers)
    assert answer.status_code == 200, answer.data
    assert answer.data == fetched.data
    assert answer.headers["ETag"] == fetched.headers["ETag"]
    assert differing(before, raw_row(host)) == set()
    assert host.recorded() == []
    assert [one for one in sent if one.startswith(("UPDATE", "INSERT", "DELETE"))] == []


GOOD: dict[str, st.SearchStrategy[Any]] = (
    {name: st.integers(1, 2**31 - 1) for name in NUMBERS}
    | {name: st.text("abc ", min_size=1, max_size=20) for name in OCTOCAT if name not in NUMBERS}
    | {"event": st.sampled_from(EVENTS)}
)
ODD_NUMBERS = st.integers(-LONG, LONG - 1)
ODD_TEXTS = st.text(st.characters(), max_size=300)


@examples
@given(data=st.data())
def test_one_member_of_any_row_is_changed_or_refused_alone(
    host: Host, database: str, data: st.DataObject
) -> None:
    before = draw_row(host, database, data)
    document = host.get().json
    member = data.draw(st.sampled_from([name for name in OCTOCAT if name != "id"]), label="member")
    odd = ODD_NUMBERS if member in NUMBERS else ODD_TEXTS
    value = data.draw(GOOD[member] | odd, label="value")
    value = json.loads(json.dumps(value))  # two halves of a pair are one character
    answer = host.put(document | {member: value})
    if answer.status_code == 400:
        assert named(answer) == (400, {member})
        assert differing(before, raw_row(host)) == set()
        assert host.recorded() == []
        return
    assert answer.status_code == 200, answer.data
    assert answer.json == host.get().json == document | {member: value}
    assert differing(before, raw_row(host)) <= {member}
    changed = document[member] != value or type(document[member]) is not type(value)
    assert [one["changes"] for one in host.revisions().json] == (
        [{member: {"before": document[member], "after": value}}] if changed else []
    )


@examples
@given(data=st.data())
def test_a_good_value_is_taken_in_any_row(host: Host, database: str, data: st.DataObject) -> None:
    draw_row(host, database, data)
    document = host.get().json
    member = data.draw(st.sampled_from([name for name in OCTOCAT if name != "id"]), label="member")
    value = data.draw(GOOD[member], label="value")
    answer = host.put(document | {member: value})
    assert (answer.status_code, answer.json) == (200, document | {member: value})


@examples
@given(data=st.data())
def test_any_row_leaves_the_queue_complete(host: Host, database: str, data: st.DataObject) -> None:
    before = draw_row(host, database, data)
    builds = {build["id"]: build for build in queue_of(host)}
    assert builds[2]["status"] == "running"
    if before["status"] in UNFINISHED:
        assert builds[1] == host.get().json
    else:
        # A collation of MariaDB's takes "Running" and "running " for "running".
        assert 1 not in builds or database == "mariadb"
