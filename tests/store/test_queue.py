"""The queue: the builds that wait or run, the newest first."""

from __future__ import annotations

import enum
import tracemalloc
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import quote, unquote

import pytest
import sqlalchemy as sa
from flask import Flask
from marshmallow import fields, post_dump, validate
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Session, relationship

from flask_build_admin import BuildAdmin, BuildSchema, Choice, Text, UnixTime, WholeNumber
from flask_build_admin.exceptions import BuildNotFound, ConfigurationError
from flask_build_admin.store import BuildFilter
from tests.support.databases import DATABASES
from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, Host, anybody, model_of, row_of
from tests.support.statements import outline

MakeHost = Callable[..., Host]

QUEUE = f"{URL}s/queue"


def build(number: int, status: str, created: int, **members: Any) -> dict[str, Any]:
    return (
        OCTOCAT | {"id": number, "number": number, "status": status, "created": created} | members
    )


BUILDS = [
    build(1, "pending", 100),
    build(2, "running", 300),
    build(3, "success", 400),
    build(4, "pending", 200),
    build(5, "Pending", 500),
    build(6, "running", 200),
    build(7, "created", 600),
    build(8, "pending", 200),
]


def queue(host: Host, **query: Any) -> Any:
    return host.client.get(QUEUE, headers=ADMIN, query_string=query)


def ids(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.data
    return [one["id"] for one in answer.json]


@pytest.fixture
def queued(make_host: MakeHost, database_url: str) -> Host:
    """A host with builds of all kinds, on each database in turn."""
    return make_host(database_url, rows=BUILDS)


def test_the_newest_builds_that_wait_or_run_come_first(queued: Host, database: str) -> None:
    answer = queue(queued)
    # A collation of MariaDB's may take "Pending" for "pending".
    expected = [5, 2, 8, 6, 4, 1] if database == "mariadb" else [2, 8, 6, 4, 1]
    assert ids(answer) == expected
    assert answer.json[-1] == BUILDS[0]
    assert list(answer.json[0]) == list(OCTOCAT)
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Link" not in answer.headers
    assert ids(queued.client.get(f"{QUEUE}/", headers=ADMIN)) == expected


def test_an_empty_queue_is_an_empty_list(host: Host) -> None:
    assert queue(host).json == []


def test_after_and_before_are_whole_seconds_and_leave_out_themselves(queued: Host) -> None:
    assert ids(queue(queued, after=200, before=500)) == [2]
    assert ids(queue(queued, after=199, before=300)) == [8, 6, 4]
    assert ids(queue(queued, before=200)) == [1]
    assert ids(queue(queued, after=0, before=101)) == [1]
    assert ids(queue(queued, after=300, before=400)) == []
    assert ids(queue(queued, after=UnixTime.latest)) == []
    assert ids(queue(queued, before=200, after=300)) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_page_goes_on_where_the_one_before_has_ended(queued: Host, limit: int) -> None:
    seen = []
    url = f"{QUEUE}?limit={limit}&before=500"
    while url:
        page: Any = queued.client.get(url, headers=ADMIN)
        assert len(page.json) <= limit
        seen += ids(page)
        link = page.headers.get("Link", "")
        assert link.endswith('>; rel="next"') == (len(page.json) == limit and seen[-1] != 1)
        url = link.removeprefix("<").partition(">")[0]
        assert not url or url.startswith(f"{QUEUE}?limit={limit}&before=500&below=")
    assert seen == [2, 8, 6, 4, 1]


def test_a_page_goes_on_after_a_build_that_was_repaired_meanwhile(queued: Host) -> None:
    page = queue(queued, limit=2, before=500)
    assert ids(page) == [2, 8]
    assert queued.put(page.json[1] | {"status": "error"}).status_code == 200
    assert ids(queue(queued, limit=9, before=500, below=8)) == [6, 4, 1]
    queued.execute("DELETE FROM builds WHERE id = 8")
    lost = queue(queued, limit=9, before=500, below=8)
    assert (lost.status_code, lost.json) == (
        404,
        {"error": "below: there is no such build: begin anew."},
    )
    assert ids(queue(queued, below=1)) == []


def test_no_statement_reads_more_than_the_limit(queued: Host) -> None:
    with queued.statements() as sent:
        assert len(ids(queue(queued, limit=2))) == 2
    assert outline(sent) == ["BEGIN", "SELECT", "SELECT", "COMMIT"]
    assert "LIMIT" in sent[1]
    assert ".id IN (" in sent[2]


class Status(enum.Enum):
    WAITING = 1
    RUNNING = 2
    DONE = 3


class Schema(BuildSchema):
    id = fields.UUID(required=True)
    status = fields.Enum(Status, required=True)
    created = UnixTime(attribute="created_at")
    repo = fields.String(attribute="repo.name", dump_only=True)


def test_a_host_with_other_columns(make_host: MakeHost, database_url: str) -> None:
    model = model_of(
        "created",
        "repo_id",
        created_at=sa.Column(sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")),
        id=sa.Column(sa.Uuid, primary_key=True),
        status=sa.Column(sa.Enum(Status)),
        repo_id=sa.Column(sa.ForeignKey("repos.id")),
        repo=relationship("Repo", lazy="joined"),
        tags=relationship("Tag", lazy="joined"),
    )
    base = model.__mro__[1]
    name = sa.Column(sa.String(20))
    key = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    repo = type("Repo", (base,), {"__tablename__": "repos", "id": key, "name": name})
    columns = {
        "id": sa.Column(sa.Integer, primary_key=True),
        "build_id": sa.Column(sa.ForeignKey("builds.id")),
    }
    tag = type("Tag", (base,), {"__tablename__": "tags", **columns})

    def row(number: int, status: Status, created: datetime | None) -> dict[str, Any]:
        tags = [tag(), tag()]
        members = {"created_at": created, "status": status, "number": number, "tags": tags}
        return row_of("created", "repo_id", id=uuid.UUID(int=number), repo=octocat) | members

    octocat = repo(id=1, name="octocat")
    second = datetime.fromtimestamp(1_000_000, UTC).replace(tzinfo=None)
    rows = [
        row(1, Status.WAITING, second),
        row(2, Status.WAITING, second.replace(microsecond=700_000)),
        row(3, Status.RUNNING, second.replace(microsecond=300_000)),
        row(4, Status.DONE, second),
        row(5, Status.WAITING, None),
        row(6, Status.RUNNING, None),
        row(7, Status.WAITING, second.replace(second=59)),
    ]
    statuses = ("WAITING", "RUNNING")
    host = make_host(database_url, model=model, schema=Schema, rows=rows, queue_statuses=statuses)
    expected = [str(uuid.UUID(int=number)) for number in (7, 2, 3, 1, 6, 5)]
    with host.statements() as sent:
        answer = queue(host)
    assert outline(sent) == ["BEGIN", "SELECT", "SELECT", "COMMIT"]
    assert ids(answer) == expected
    assert answer.json[0]["repo"] == "octocat"
    assert answer.json[0]["status"] == "WAITING"
    late = answer.json[0]["created"]
    assert [one["created"] for one in answer.json] == [late, 1_000_000, 1_000_000, 1_000_000, 0, 0]
    assert ids(queue(host, after=999_999, before=1_000_001)) == expected[1:4]
    assert ids(queue(host, before=1_000_001)) == expected[1:]
    assert ids(queue(host, after=1_000_000)) == expected[:1]
    assert ids(queue(host, after=0)) == expected[:4]
    for number, last in enumerate(expected):
        assert ids(queue(host, below=last)) == expected[number + 1 :]


def test_a_second_that_the_column_cannot_hold_is_later_than_any(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of(created=sa.Column(sa.Integer))
    host = make_host(database_url, model=model, rows=[BUILDS[0]])
    assert ids(queue(host, after=2**31)) == []
    assert ids(queue(host, before=2**31 + 1)) == [1]


class WithoutStatus(BuildSchema):
    class Meta:
        exclude = ("status",)


class State(enum.Enum):
    running = 1
    done = 2


class Running(BuildSchema):
    status = fields.Enum(State, required=True)


class Iso(BuildSchema):
    created = fields.DateTime(required=True)


OF_RUNNING = model_of(status=sa.Column(sa.Enum(State)))
DERIVED = model_of("status", status=property(lambda self: "pending", lambda self, value: None))
OF_TIMES = model_of(created=sa.Column(sa.DateTime))


OF_WORDS = model_of(status=sa.Column(sa.Enum("queued", "running", name="words")))
OF_NAMES = model_of(
    "status",
    code=sa.Column(sa.Integer),
    status=hybrid_property(lambda self: {1: "running"}[self.code], lambda self, value: None),
)


RELATED = model_of(
    "status",
    parent_id=sa.Column(sa.ForeignKey("builds.id")),
    status=relationship("Build", remote_side="Build.id"),
)


class Protected(BuildSchema):
    status = fields.String(dump_only=True)


class Others(BuildSchema):
    status = Choice({"queued": "Q", "done": "D"})


def test_the_contracts_statuses_are_asked_for_as_far_as_the_host_knows_them(
    make_host: MakeHost, database_url: str
) -> None:
    rows = [row_of(id=one.value, number=one.value, status=one) for one in State]
    host = make_host(database_url, model=OF_RUNNING, schema=Running, rows=rows)
    assert ids(queue(host)) == [1]
    host = make_host(database_url, model=OF_WORDS, rows=[row_of(status="running")])
    assert ids(queue(host)) == [1]


@pytest.mark.parametrize("protected", [False, True])
def test_an_enum_is_asked_for_the_statuses_that_it_has(
    make_host: MakeHost, database_url: str, protected: bool
) -> None:
    schema = BuildSchema.from_dict({"status": fields.String(dump_only=protected)}, name="Own")
    rows = [row_of(status="running"), row_of(id=2, number=2, status="queued")]
    model = model_of(status=sa.Column(sa.Enum("queued", "running", name="states")))
    host = make_host(database_url, model=model, schema=schema, rows=rows)
    assert ids(queue(host)) == [1]
    assert ids(queue(host)) == [1]


@pytest.mark.parametrize("database", [on for on in DATABASES if on == "postgresql"], indirect=True)
def test_an_enum_that_has_less_in_the_database_is_told(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of(status=sa.Column(sa.Enum("pending", "running", name="states")))
    host = make_host(database_url, model=model, rows=[])
    host.execute("ALTER TYPE states RENAME VALUE 'pending' TO 'queued'")
    with pytest.raises(ConfigurationError, match=r"statuses pending, running: pass"):
        host.blueprint.store.queue()


NO_QUEUE: dict[str, tuple[dict[str, Any], str | None]] = {
    "no status": ({"schema": WithoutStatus}, "WithoutStatus has no member 'status'"),
    "no column": ({"model": DERIVED, "rows": [row_of("status")]}, "Build.status is no column"),
    "a relationship": ({"model": RELATED, "schema": Protected, "rows": []}, "Build.status is no"),
    "an error": ({"model": OF_NAMES, "rows": [row_of("status", code=1)]}, "Build.status is no col"),
    "other words": ({"schema": Others, "rows": []}, "has 'pending', which Others.status does not"),
    "not wanted": ({"queue_statuses": ()}, None),
}


@pytest.mark.parametrize("case", NO_QUEUE)
def test_a_queue_that_cannot_be_is_logged_and_a_404(
    make_host: MakeHost, sqlite_url: str, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    options, problem = NO_QUEUE[case]
    host = make_host(sqlite_url, **options)
    logged = [record.getMessage() for record in caplog.records]
    if problem is None:
        assert logged == []
    else:
        [line] = logged
        assert line.startswith("build_admin has no queue: ")
        assert problem in line
    answer = queue(host)
    assert (answer.status_code, answer.json) == (
        404,
        {"error": "This server has no queue of builds."},
    )
    assert host.client.get(QUEUE).status_code == 401
    assert host.client.post(QUEUE, headers=ADMIN).status_code == 405
    with host.app.app_context():
        assert f"{QUEUE}" not in host.blueprint.openapi()["paths"]
    with pytest.raises(ConfigurationError, match=problem or "pass queue_statuses="):
        host.blueprint.store.queue()
    told = host.app.test_cli_runner().invoke(args=["build-admin", "queue"])
    assert told.exit_code == 1
    assert "There is no queue: " in told.output


def test_the_log_names_the_registration(caplog: pytest.LogCaptureFixture) -> None:
    blueprint = BuildAdmin(DERIVED, lambda: Session(), anybody)
    Flask("host").register_blueprint(blueprint, name="again")
    assert "again has no queue: Build.status is no column" in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"queue_statuses": "running"}, r"pass a tuple, queue_statuses=\('running',\)"),
        (
            {"model": OF_RUNNING, "schema": Running, "queue_statuses": ["Running"]},
            "queue_statuses has 'Running', which Running.status does not take",
        ),
        (
            {"model": OF_WORDS, "queue_statuses": ["queued", "runing"]},
            "queue_statuses has 'runing'",
        ),
        ({"schema": WithoutStatus, "queue_statuses": ["x"]}, "no member 'status'"),
        ({"model": DERIVED, "queue_statuses": ["x"]}, "Build.status is no column.*'status'"),
    ],
)
def test_a_queue_that_cannot_work_is_refused(options: dict[str, Any], told: str) -> None:
    good: dict[str, Any] = {"model": Build, "session": lambda: None, "auth": anybody}
    with pytest.raises(ConfigurationError, match=told):
        BuildAdmin(**(good | options))


class WithoutCreated(BuildSchema):
    class Meta:
        exclude = ("created",)


DERIVED_TIME = model_of("created", created=property(lambda self: self.id, lambda self, value: None))


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        ({"schema": WithoutCreated}, ()),
        ({"model": DERIVED_TIME}, ("created",)),
    ],
    ids=["no member", "no column"],
)
def test_without_a_time_of_creation_the_greatest_ids_come_first(
    make_host: MakeHost, database_url: str, options: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    rows = [
        {name: value for name, value in one.items() if name not in left_out} for one in BUILDS[:4]
    ]
    host = make_host(database_url, rows=rows, **options)
    assert ids(queue(host)) == [4, 2, 1]
    assert ids(queue(host, limit=2)) == [4, 2]
    assert ids(queue(host, below=2)) == [1]
    host.execute("DELETE FROM builds WHERE id = 4")
    assert ids(queue(host, below=4)) == [2, 1]
    cannot = "a query cannot compare when these builds were created: use idle_before (--older-than)"
    refused = queue(host, after=1, before=9)
    assert refused.status_code == 400
    assert refused.json == {"error": f"after: {cannot}; before: {cannot}"}
    assert host.app.test_cli_runner().invoke(args=["build-admin", "queue"]).exit_code == 0


def test_a_time_that_is_not_in_seconds_sorts_all_the_same(
    make_host: MakeHost, database_url: str
) -> None:
    at = [datetime(2020, 1, 1), None, datetime(2020, 1, 2)]
    rows = [row_of(id=n, number=n, created=one, status="running") for n, one in enumerate(at, 1)]
    host = make_host(database_url, model=OF_TIMES, schema=Iso, rows=rows)
    assert ids(queue(host)) == [3, 1, 2]
    assert ids(queue(host, below=1)) == [2]
    assert queue(host, before=9).status_code == 400


def test_status_and_time_may_be_hybrids_with_an_expression(
    make_host: MakeHost, database_url: str
) -> None:
    class Base(DeclarativeBase):
        pass

    class State(Base):
        __tablename__ = "states"
        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        build_id: Any = sa.Column(sa.ForeignKey("builds.id"))
        name = sa.Column(sa.String(20))
        at = sa.Column(sa.BigInteger)

    class Other(Base):
        __tablename__ = "builds"
        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        states = relationship(State, order_by=State.id, lazy="selectin")

        @hybrid_property
        def status(self) -> Any:
            return self.states[-1].name if self.states else None

        @status.inplace.expression
        @classmethod
        def _status(cls) -> Any:
            newest: Any = sa.select(State.name).where(State.build_id == cls.id)
            return newest.order_by(State.id.desc()).limit(1).scalar_subquery()

        @hybrid_property
        def created(self) -> Any:
            return self.states[0].at if self.states else None

        @created.inplace.expression
        @classmethod
        def _created(cls) -> Any:
            return (
                sa.select(sa.func.min(State.at)).where(State.build_id == cls.id).scalar_subquery()
            )

    class OfStates(BuildSchema):
        class Meta:
            fields = ("id", "status", "created")

        status = Choice({"pending": "P", "running": "R", "done": "D", "lost": None}, dump_only=True)
        created = WholeNumber(dump_only=True)

    states = ["PR", "P", "PD", "PR", ""]
    rows = [
        {"id": n, "states": [State(id=10 * n + i, name=name, at=n) for i, name in enumerate(names)]}
        for n, names in enumerate(states, 1)
    ]
    wanted = ("pending", "running", "lost")
    options: dict[str, Any] = {"model": Other, "schema": OfStates, "rows": rows}
    host = make_host(database_url, queue_statuses=wanted, **options)
    assert ids(queue(host)) == [4, 2, 1, 5]
    assert [one["status"] for one in queue(host).json] == ["running", "pending", "running", "lost"]
    for last, left in {4: [2, 1, 5], 2: [1, 5], 1: [5], 5: []}.items():
        assert ids(queue(host, below=last)) == left
    assert ids(queue(host, after=1)) == [4, 2]
    assert ids(queue(host, before=2)) == [1, 5]


SERIES = {
    "sqlite": "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {most})"
    " SELECT i FROM n",
    "postgresql": "SELECT i FROM generate_series(2, {most}) AS n (i)",
}


def host_of(make_host: MakeHost, url: str, builds: int) -> Host:
    """Make a host of so many builds, of which a hundred wait or run."""
    name = f"of_{builds}"
    model = model_of(
        __tablename__=name, __table_args__=(sa.Index(f"queue_{name}", "status", "created"),)
    )
    host = make_host(url, model=model)
    series = SERIES[host.engine.dialect.name].format(most=builds)
    status = f"CASE WHEN n.i % {builds // 100} = 0 THEN 'running' ELSE 'success' END"
    own = {"id": "n.i", "number": "n.i", "created": "n.i", "status": status}
    quote = host.engine.dialect.identifier_preparer.quote
    columns = {quote(one): own.get(one, f"b.{quote(one)}") for one in OCTOCAT}
    host.execute(
        f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
        f" FROM {name} AS b CROSS JOIN ({series}) AS n WHERE b.id = 1"
    )
    host.execute("ANALYZE")
    return host


@pytest.mark.slow
@pytest.mark.parametrize("database", [one for one in DATABASES if one in SERIES], indirect=True)
def test_the_queue_does_not_grow_with_the_table(make_host: MakeHost, database_url: str) -> None:
    hosts = [host_of(make_host, database_url, builds) for builds in (1_000, 1_000_000)]
    times: list[list[float]] = [[], []]
    peaks = []
    for host in hosts:
        assert len(ids(queue(host))) == 100
        tracemalloc.start()
        queue(host)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    for _ in range(30):
        for host, measured in zip(hosts, times, strict=True):
            begun = perf_counter()
            queue(host)
            measured.append(perf_counter() - begun)
    assert median(times[1]) < 2 * median(times[0])
    assert peaks[1] < 1.1 * peaks[0]


class Prefixed(sa.TypeDecorator[str]):
    """Ids such as ``b-1``; any other raises what the code of a host may raise."""

    impl = sa.Integer
    cache_ok = True

    def __init__(self, error: type[Exception] = ValueError) -> None:
        super().__init__()
        self.error = error

    def process_bind_param(self, value: str | None, dialect: object) -> Any:
        if value is None or (value.startswith("b-") and value[2:].isdecimal()):
            return value and int(value[2:])
        raise self.error("it is no id")

    def process_result_value(self, value: Any, dialect: object) -> str:
        return f"b-{value}"


class Encoded(sa.TypeDecorator[str]):
    """Ids that are percent-encoded in the JSON, and so may stand for what a database lacks."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return value and unquote(value, errors="surrogatepass")

    def process_result_value(self, value: Any, dialect: object) -> str:
        return quote(value)


class TextId(BuildSchema):
    id = Text()


class UuidId(BuildSchema):
    id = fields.UUID(required=True)


#: The schema of a host, and the type and a value of its ids.
IDS: dict[str, tuple[type[BuildSchema], Any, Any]] = {
    "integer": (BuildSchema, sa.Integer(), 1),
    "big": (BuildSchema, sa.BigInteger(), 1),
    "uuid": (UuidId, sa.Uuid(), uuid.UUID(int=1)),
    "prefixed": (TextId, Prefixed(), "b-1"),
    "failing": (TextId, Prefixed(RuntimeError), "b-1"),
}

#: No id of any of them.
NO_IDS = (
    "x",
    "-1",
    "1.5",
    " 1",
    "9" * 30,
    "9" * 200,
    "nan",
    "\0",
    "b-\0",
    "b-x",
    "",
    "𝟙",
    "x" * 300,
)


@pytest.mark.parametrize("sorted_by", ["created", "id"])
@pytest.mark.parametrize("kind", IDS)
def test_what_the_type_of_the_id_refuses_is_no_build(
    make_host: MakeHost, database_url: str, kind: str, sorted_by: str
) -> None:
    schema, of_id, first = IDS[kind]
    if sorted_by == "id":  # the query compares nothing else with it
        meta = type("Meta", (), {"exclude": ("created",)})
        schema = type("Schema", (schema,), {"Meta": meta})
    key = sa.Column(of_id, primary_key=True, autoincrement=False)
    rows = [row_of(id=first, status="running")]
    host = make_host(database_url, model=model_of(id=key), schema=schema, rows=rows)
    document = host.get(first).json
    assert ids(queue(host)) == [document["id"]]
    assert ids(queue(host, below=document["id"])) == []
    for text in NO_IDS:
        lost = queue(host, below=text)
        assert (lost.status_code, lost.json) == (
            404,
            {"error": "below: there is no such build: begin anew."},
        )
    with host.app.app_context():
        # The terminal decodes its arguments to lone surrogates, a path or a query never does.
        for text in (*NO_IDS, "\ud800", "b-\udfff"):
            with pytest.raises(BuildNotFound):
                host.blueprint.store.find(text)
            with pytest.raises(BuildNotFound):
                host.blueprint.store.queue(below=text)


def walk(host: Host) -> list[Any]:
    """Follow the links through the queue, one build a page."""
    seen: list[Any] = []
    url = f"{QUEUE}?limit=1"
    while url:
        page: Any = host.client.get(url, headers=ADMIN)
        assert page.status_code == 200, (url, page.json)
        seen += ids(page)
        url = page.headers.get("Link", "").removeprefix("<").partition(">")[0]
    return seen


class Short(BuildSchema):
    id = Text(validate=validate.Length(max=2))


class Picky(BuildSchema):
    @post_dump(pass_original=True)
    def fail(self, data: Any, build: Any, **_: Any) -> Any:
        if build.event == "unreadable":
            raise RuntimeError
        return data


#: The schema of a host, the type of its ids, and ids that the schema does not always take.
REFUSED_IDS: dict[str, tuple[type[BuildSchema], Any, list[Any]]] = {
    "numbers": (BuildSchema, sa.BigInteger(), [2, 1, 0, -1, -20]),
    "texts": (Short, sa.String(9), ["b", "aaa", "aaaa", "aa bb"]),
    "unreadable": (Picky, sa.BigInteger(), [1, 0, -1]),
}


@pytest.mark.parametrize("sorted_by", ["created", "id"])
@pytest.mark.parametrize("kind", REFUSED_IDS)
def test_a_list_goes_on_below_an_id_that_the_schema_refuses(
    make_host: MakeHost, database_url: str, kind: str, sorted_by: str
) -> None:
    schema, of_id, refused = REFUSED_IDS[kind]
    if sorted_by == "id":
        meta = type("Meta", (), {"exclude": ("created",)})
        schema = type("Schema", (schema,), {"Meta": meta})
    key = sa.Column(of_id, primary_key=True, autoincrement=False)
    event = {0: "unreadable"} if kind == "unreadable" else {}
    rows = [row_of(id=one, status="running", event=event.get(one, "push")) for one in refused]
    host = make_host(database_url, model=model_of(id=key), schema=schema, rows=rows)
    assert sorted(walk(host)) == sorted(one for one in refused if one not in event)
    for text in (-7, -(10**30), "x" * 300, "-0"):
        lost = queue(host, below=text)
        assert (lost.status_code, lost.json) == (
            404,
            {"error": "below: there is no such build: begin anew."},
        )


def test_what_the_type_of_the_id_makes_unstorable_is_no_build(
    make_host: MakeHost, database_url: str
) -> None:
    key: Any = sa.Column(Encoded(), primary_key=True, autoincrement=False)
    rows = [row_of(id="1", status="running")]
    host = make_host(database_url, model=model_of(id=key), schema=TextId, rows=rows)
    with host.app.app_context():
        for text in ("%00", "%ED%A0%80"):
            with pytest.raises(BuildNotFound):
                host.blueprint.store.find(text)
            with pytest.raises(BuildNotFound):
                host.blueprint.store.queue(below=text)
    assert ids(queue(host)) == ["1"]


@pytest.mark.parametrize("kind", ["prefixed", "failing"])
def test_a_put_of_an_id_that_its_type_refuses_is_a_404(
    make_host: MakeHost, database_url: str, kind: str
) -> None:
    schema, of_id, first = IDS[kind]
    key = sa.Column(of_id, primary_key=True, autoincrement=False)
    host = make_host(database_url, model=model_of(id=key), schema=schema, rows=[row_of(id=first)])
    refused = host.put(OCTOCAT | {"id": "b-x", "title": "x"})
    assert (refused.status_code, refused.json) == (404, {"error": "There is no such build."})
    assert host.put(OCTOCAT | {"id": first, "title": "x"}).json["title"] == "x"


@pytest.mark.parametrize("database", [on for on in DATABASES if on == "postgresql"], indirect=True)
def test_a_text_that_the_column_refuses_is_no_build(make_host: MakeHost, database_url: str) -> None:
    key = sa.Column(sa.Uuid(as_uuid=False), primary_key=True)
    rows = [row_of(id=str(uuid.UUID(int=1)), status="running")]
    host = make_host(database_url, model=model_of(id=key), schema=TextId, rows=rows)
    assert [queue(host, below=text).status_code for text in ("x", "1", "{}")] == [404] * 3
    assert len(ids(queue(host))) == 1


def test_a_status_that_its_type_refuses_is_named(make_host: MakeHost, database_url: str) -> None:
    model = model_of(status=sa.Column(Prefixed()))
    host = make_host(database_url, model=model, rows=[row_of(status="b-1")])
    with pytest.raises(ConfigurationError, match=r"statuses pending, running: pass"):
        host.blueprint.store.queue()


def test_some_members_are_read_and_no_other_columns(queued: Host) -> None:
    store = queued.blueprint.store
    with queued.app.app_context(), queued.statements() as statements:
        wanted = BuildFilter(before=400, members={"repo_id": 1})
        found = store.queue(wanted, limit=2, members=("status", "title", "unknown"))
    title = OCTOCAT["title"]
    assert found[0] == {"id": 2, "status": "running", "title": title}
    assert [one["status"] for one in found] == ["running", "pending"]
    *_, read = [one for one in statements if one.startswith("SELECT")]
    columns, _, _ = read.partition(" FROM ")
    assert "title" in columns
    assert "message" not in columns


def test_a_hook_needs_all_members(make_host: MakeHost, sqlite_url: str) -> None:
    class Schema(BuildSchema):
        @post_dump
        def shout(self, document: dict[str, Any], **_: Any) -> dict[str, Any]:
            return document | {"title": document["message"].upper()}

    host = make_host(sqlite_url, schema=Schema, rows=BUILDS[:1])
    [found] = host.blueprint.store.queue(members=("title",))
    assert found == BUILDS[0] | {"title": OCTOCAT["message"].upper()}


def test_some_members_of_a_build_that_cannot_be_loaded(
    make_host: MakeHost, sqlite_url: str
) -> None:
    host = make_host(sqlite_url, rows=BUILDS)
    host.execute("UPDATE builds SET title = CAST(X'ff41' AS TEXT) WHERE id = 2")
    found = {one["id"]: one for one in host.blueprint.store.queue(limit=2, members=("title",))}
    assert found[2]["title"] == "\ufffdA"
    assert found[8]["title"] == OCTOCAT["title"]
