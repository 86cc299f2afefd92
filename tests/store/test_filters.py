"""The filters of the queue, its order and its pages."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import sqlalchemy as sa
from marshmallow import fields, post_dump
from sqlalchemy.dialects.mysql import DATETIME, VARCHAR
from sqlalchemy.dialects.postgresql import INET

from flask_build_admin import BuildSchema, Choice, Flag, Text, UnixTime, WholeNumber
from flask_build_admin.store.filters import value_from_text
from tests.support.hosts import ADMIN, OCTOCAT, URL, Host, model_of, row_of

MakeHost = Callable[..., Host]

QUEUE = f"{URL}s/queue"


def ids(host: Host, query: str = "") -> list[Any]:
    answer: Any = host.client.get(f"{QUEUE}?{query}", headers=ADMIN)
    assert answer.status_code == 200, answer.data
    return [one["id"] for one in answer.json]


def refusal(host: Host, query: str) -> str:
    answer: Any = host.client.get(f"{QUEUE}?{query}", headers=ADMIN)
    assert answer.status_code == 400
    return str(answer.json["error"])


class Kind(enum.Enum):
    NIGHTLY = "nightly"
    TAG = "1"


class Kinds(BuildSchema):
    """A member of each kind of field."""

    created = UnixTime()
    started = UnixTime(zero_is_null=False)
    finished = WholeNumber(zero_is_null=True)
    event = fields.Enum(Kind, by_value=True, required=True)
    parent = Choice({"none": None, "some": 1})
    fork = Flag()
    size = fields.Float(required=True)
    labels = fields.Raw(required=True, allow_none=True)
    owner = Text(attribute="owner_name", dump_only=True)
    retried = WholeNumber()
    urgent = Flag()
    key = fields.UUID(required=True, allow_none=True)


KEY = "0a0b0c0d-0000-4000-8000-00000000000f"
SECOND = datetime(2026, 11, 28, 3, 0, 0)
TIME = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")


@pytest.fixture
def kinds(make_host: MakeHost, database_url: str) -> Host:
    left_out = ("created", "started", "event", "fork", "size")
    model = model_of(
        *left_out,
        created=sa.Column(TIME),
        started=sa.Column(TIME),
        event=sa.Column(sa.Enum(Kind)),
        fork=sa.Column(sa.Boolean),
        size=sa.Column(sa.Float),
        labels=sa.Column(sa.String(20)),
        owner_name=sa.Column(sa.String(20)),
        upper=property(lambda self: self.title.upper()),
        retried=sa.Column(sa.Boolean),
        urgent=sa.Column(sa.Integer),
        key=sa.Column(sa.Uuid),
    )

    def row(build_id: int, **members: Any) -> dict[str, Any]:
        given = {"id": build_id, "number": build_id, "status": "running", "finished": None}
        return row_of(*left_out, **given | {"event": Kind.NIGHTLY} | members)

    rows = [
        row(1, created=SECOND, fork=True, parent=1, size=0.5, labels="a", owner_name="mona")
        | {"retried": True, "urgent": 1, "key": UUID(KEY), "size": 0.5},
        row(2, created=SECOND.replace(microsecond=900_000), started=SECOND, parent=None),
        row(3, created=SECOND.replace(second=1), event=Kind.TAG, fork=False, finished=0),
        row(4, created=None, started=datetime(1970, 1, 1), finished=7, host="worker-7"),
        row(5, created=None, title="", host="Worker-7"),
        row(6, status="success", fork=True),
    ]
    return make_host(database_url, model=model, schema=Kinds, rows=rows)


EPOCH = int(SECOND.replace(tzinfo=UTC).timestamp())


FOUND = {
    "": [3, 2, 1, 5, 4],
    "id=2": [2],
    "number=4": [4],
    "host=worker-7": [4],
    "host=WORKER-7": [],
    "title=": [5],
    f"created={EPOCH}": [2, 1],
    f"created={EPOCH + 1}": [3],
    "created=0": [5, 4],
    f"started={EPOCH}": [2],
    "started=0": [3, 1, 5, 4],
    "started=253402300799": [],
    "finished=0": [3, 2, 1, 5],
    "finished=7": [4],
    "event=nightly": [2, 1, 5, 4],
    "retried=1": [1],
    "retried=0": [3, 2, 5, 4],
    "urgent=true": [1],
    "urgent=false": [3, 2, 5, 4],
    f"key={KEY}": [1],
    f"key={KEY.upper()}": [1],
    "event=1": [3],
    "parent=some": [3, 1, 5, 4],
    "parent=none": [2],
    "fork=true": [1],
    "fork=false": [3, 2, 5, 4],
    "size=0.5": [1],
    "labels=null": [3, 2, 5, 4],
    'labels="a"': [1],
    "owner=mona": [1],
    "owner=": [3, 2, 5, 4],
    "status=pending": [],
    "status=running&fork=true&id=1": [1],
}


def test_a_member_is_read_by_its_own_field(kinds: Host) -> None:
    assert {query: ids(kinds, query) for query in FOUND} == FOUND


class Hooked(BuildSchema):
    @post_dump
    def keep(self, data: Any, **_: Any) -> Any:
        return data


@pytest.mark.parametrize(
    "kind",
    [
        sa.String(50),
        sa.String(50)
        .with_variant(sa.String(50, collation="NOCASE"), "sqlite")
        .with_variant(VARCHAR(50, charset="latin1"), "mysql", "mariadb"),
        sa.CHAR(20),
    ],
    ids=["text", "another collation", "padded"],
)
@pytest.mark.parametrize("schema", [BuildSchema, Hooked])
def test_a_text_is_found_as_it_is_written_and_no_other(
    make_host: MakeHost, database_url: str, schema: type[BuildSchema], kind: Any
) -> None:
    model = model_of("host", host=sa.Column(kind))
    hosts = ["Worker-7", "worker-7", "wörker-7", "WORKER-7", "worker-7 x"]
    rows = [row_of(id=at, number=at, status="running", created=at) for at in range(1, 6)]
    rows = [row | {"host": host} for row, host in zip(rows, hosts, strict=True)]
    host = make_host(database_url, model=model, schema=schema, rows=rows)
    for at, name in enumerate(hosts, 1):
        shown = quote(host.get(at).json["host"])
        assert ids(host, f"host={shown}&order=oldest&limit=1") == [at], name
    cleaned = host.client.put("/api/v1/admin/clean?host=worker-7&limit=1", headers=ADMIN)
    assert cleaned.json == "1 build cleaned."
    assert [host.row(at)["status"] for at in (1, 2, 4)] == ["running", "error", "running"]


def test_an_address_is_found_as_it_is_shown(
    make_host: MakeHost, server_urls: dict[str, str]
) -> None:
    if "postgresql" not in server_urls:
        pytest.skip("a type of PostgreSQL")
    model = model_of("host", host=sa.Column(INET))
    rows = [row_of(id=at, status="running") | {"host": f"10.0.0.{at}"} for at in (1, 2)]
    host = make_host(server_urls["postgresql"], model=model, rows=rows)
    assert ids(host, f"host={host.get().json['host']}") == [1]


@pytest.mark.parametrize("kind", [sa.Double, sa.Numeric(20, 2)])
def test_a_number_is_found_without_its_fraction(
    make_host: MakeHost, database_url: str, kind: Any
) -> None:
    class Signed(BuildSchema):
        parent = WholeNumber(minimum=-9)

    values = [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    rows = [
        row_of(id=at, status="running") | {"parent": value} for at, value in enumerate(values, 1)
    ]
    model = model_of("parent", parent=sa.Column(kind))
    host = make_host(database_url, model=model, schema=Signed, rows=rows)
    shown = {at: host.get(at).json["parent"] for at in range(1, len(values) + 1)}
    for number in (-2, -1, 0, 1, 2):
        found = [at for at in shown if shown[at] == number]
        assert sorted(ids(host, f"parent={number}")) == found


@pytest.mark.parametrize("zero", ["0", "%220%22"])
@pytest.mark.parametrize("member", ["parent", "finished"])
def test_a_null_is_found_by_a_number_that_is_dumped_as_text(
    make_host: MakeHost, database_url: str, member: str, zero: str
) -> None:
    numbers = {
        "parent": WholeNumber(as_string=True),
        "finished": WholeNumber(as_string=True, zero_is_null=True),
    }
    schema = type("Schema", (BuildSchema,), numbers)
    values = {1: None, 2: 0, 3: 7}
    rows = [row_of(id=at, number=at, status="running") | {member: values[at]} for at in values]
    host = make_host(database_url, model=model_of(), schema=schema, rows=rows)
    assert sorted(ids(host, f"{member}={zero}")) == [1, 2]


def test_a_value_that_no_build_can_have_is_a_400(kinds: Host) -> None:
    assert refusal(kinds, "number=0&fork=1&event=x&created=-1&upper=X") == (
        "upper: unknown parameter"
    )
    assert refusal(kinds, "number=0&fork=1&created=-1") == (
        "number: less than 1; fork: not true or false; created: less than 0"
    )
    assert refusal(kinds, f"title={'x' * 251}") == "title: longer than 250 characters"
    assert refusal(kinds, "parent=x") == "parent: not one of none, some"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (None, "1", "1"),
        (Text(), "1", "1"),
        (Choice({"1": 1}), "1", "1"),
        (WholeNumber(), "1", 1),
        (WholeNumber(), "one", "one"),
        (WholeNumber(), '1, "x": 2', '1, "x": 2'),
        (fields.Enum(Level), "LOW", "LOW"),
        (fields.Enum(Level, by_value=fields.Raw()), "1", 1),
        (fields.Raw(), '["a"]', ["a"]),
        (Flag(), "true", True),
        (Flag(), "null", None),
    ],
)
def test_a_value_as_text(field: Any, text: str, value: Any) -> None:
    assert value_from_text(field, text) == value
    assert type(value_from_text(field, text)) is type(value)


class Shouting(BuildSchema):
    @post_dump
    def shout(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data | {"host": data["host"].upper()}


def test_a_hook_may_dump_a_member_otherwise(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [OCTOCAT | {"status": "running", "host": "worker-7"}]
    host = make_host(sqlite_url, rows=rows, schema=Shouting)
    assert ids(host, "host=worker-7") == [1]
    assert ids(host, "host=WORKER-7") == []


LATE, EARLY = 2000, 1000


@pytest.fixture
def idle(make_host: MakeHost, database_url: str) -> Host:
    rows = [
        row_of(id=n, number=n, status="running", created=a, enqueued=b, started=c)
        for n, (a, b, c) in enumerate(
            [
                (EARLY, EARLY, EARLY),
                (EARLY, EARLY, LATE),  # it waited long and has run for a minute
                (EARLY, LATE, None),
                (LATE, 0, 0),
                (EARLY, None, 0),
                (None, None, None),
            ],
            1,
        )
    ]
    return make_host(database_url, model=model_of(), rows=rows)


def test_a_sign_of_life_is_any_of_three(idle: Host) -> None:
    assert ids(idle, f"idle_before={LATE}") == [5, 1, 6]
    assert ids(idle, f"idle_before={EARLY}") == [6]
    assert ids(idle, f"idle_before={LATE + 1}") == [4, 5, 3, 2, 1, 6]
    assert ids(idle, f"idle_before={LATE}&after={EARLY - 1}&order=oldest") == [1, 5]


class Timeless(BuildSchema):
    class Meta:
        exclude = ("created", "enqueued", "started")


class CreatedOnly(BuildSchema):
    class Meta:
        exclude = ("enqueued", "started")


def test_idle_is_judged_by_what_the_host_has(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [OCTOCAT | {"status": "running", "created": EARLY, "started": LATE}]
    host = make_host(sqlite_url, rows=rows, schema=CreatedOnly)
    assert ids(host, f"idle_before={LATE}") == [1]
    host = make_host(sqlite_url, rows=rows, schema=Timeless)
    assert refusal(host, f"idle_before={LATE}&before=5") == (
        "before: a query cannot compare when these builds were created: use idle_before"
        " (--older-than);"
        " idle_before: these builds have no time that a query can compare"
    )


#: When each build was created.
CREATED = [3, None, 1, None, 3, 2, 1]


@pytest.fixture
def ordered(make_host: MakeHost, database_url: str) -> Host:
    rows = [row_of(id=n, number=n, status="running", created=at) for n, at in enumerate(CREATED, 1)]
    return make_host(database_url, model=model_of(), rows=rows)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("paging", ["limit={}", "per_page={}", "page=1&per_page={}"])
def test_the_pages_of_either_order(ordered: Host, order: str, limit: int, paging: str) -> None:
    newest = [5, 1, 6, 7, 3, 4, 2]
    expected = newest if order == "newest" else newest[::-1]
    seen: list[int] = []
    url = f"{QUEUE}?order={order}&{paging.format(limit)}"
    count = 0
    while url:
        page: Any = ordered.client.get(url, headers=ADMIN)
        assert len(page.json) <= limit
        seen += [one["id"] for one in page.json]
        url = page.headers.get("Link", "").removeprefix("<").partition(">")[0]
        assert not url or f"order={order}" in url
        assert not url or ("&page=" in url) is paging.startswith("page")
        count += 1
    assert seen == expected
    assert count == -(-len(expected) // limit)


def test_the_link_has_all_filters(ordered: Host) -> None:
    query = "order=oldest&limit=1&host=company.localhost&idle_before=1700000000&repo_id=1"
    page = ordered.client.get(f"{QUEUE}?{query}", headers=ADMIN)
    link = page.headers["Link"].removeprefix("<").partition(">")[0]
    assert {*link.partition("?")[2].split("&")} == {*query.split("&"), "below=2"}
    assert ids(ordered, link.partition("?")[2]) == [4]


def test_a_numbered_page_that_is_too_long_goes_on_below_its_last_build(
    make_host: MakeHost, sqlite_url: str
) -> None:
    rows = [OCTOCAT | {"id": n, "number": n, "status": "running"} for n in range(1, 6)]
    host = make_host(sqlite_url, rows=rows, max_list_length=1500)
    page: Any = host.client.get(f"{QUEUE}?page=1&per_page=4", headers=ADMIN)
    assert [one["id"] for one in page.json] == [5, 4]
    assert page.headers["Link"] == f'<{QUEUE}?per_page=4&below=4>; rel="next"'


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("page=0", "page: not a whole number from 1 to 1000000"),
        ("per_page=1001", "per_page: not a whole number from 1 to 1000"),
        ("order=up", "order: not newest or oldest"),
    ],
)
def test_a_page_that_cannot_be(ordered: Host, query: str, error: str) -> None:
    assert refusal(ordered, query) == error


def test_numbered_pages_go_with_the_other_parameters(ordered: Host) -> None:
    assert ids(ordered, "limit=3&per_page=2") == ids(ordered, "limit=2&per_page=3") == [5, 1]
    assert ids(ordered, "below=1&page=1&per_page=2") == [6, 7]
    page = ordered.client.get(f"{QUEUE}?below=1&page=2&per_page=2", headers=ADMIN)
    assert page.headers["Link"] == f'<{QUEUE}?below=1&page=3&per_page=2>; rel="next"'
    assert ids(ordered, "below=1&page=3&per_page=2") == [2]


def test_without_a_limit_there_are_a_thousand(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [OCTOCAT | {"id": n, "number": n, "status": "running"} for n in range(1, 1002)]
    host = make_host(sqlite_url, rows=rows)
    page: Any = host.client.get(QUEUE, headers=ADMIN)
    assert len(page.json) == 1000
    assert page.headers["Link"] == f'<{QUEUE}?limit=1000&below=2>; rel="next"'
