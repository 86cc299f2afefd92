"""Lists are read in portions: a small one by one statement, and of a large one nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import fields

from flask_build_admin import BuildSchema, Text
from flask_build_admin.store import BuildStore
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    BuildRevision,
    Host,
    model_of,
    row_of,
)
from tests.support.statements import outline

MakeHost = Callable[..., Host]

#: As many builds, or revisions, as are read first, and as are read later if they are small.
FIRST, LATER = {"queue": 9, "revisions": 3}, {"queue": 24, "revisions": 8}

#: Texts that need 60 kB of memory each: of so large builds, 17 are read at once.
LARGE = {"narrow": "m" * 60_000, "wide": "m" * 15_000 + "\U0001f389"}
OF_LARGE = 17


def running(count: int, **members: Any) -> list[dict[str, Any]]:
    """Make rows of builds that run, the newest of which has the greatest id."""
    return [
        OCTOCAT | {"id": n, "number": n, "status": "running", "created": n} | members
        for n in range(1, count + 1)
    ]


def ids_of(store: BuildStore, take: Callable[[Any], object] = id, **options: Any) -> list[Any]:
    """List the ids of the queue, as it is read for HTTP."""
    taken: list[Any] = []

    def both(build: dict[str, Any] | None, build_id: Any) -> bool:
        if build is not None:
            assert build_id == build["id"]
            taken.append(build_id)
            take(build)
        return True

    assert store.queue(take=both, **options) == []
    return taken


def selects(host: Host, path: str) -> int:
    """Count the statements of a list."""
    with host.statements() as sent:
        assert host.client.get(path, headers=ADMIN).status_code == 200
    begin, *statements, commit = outline(sent)
    assert (begin, commit) == ("BEGIN", "COMMIT")
    assert {*statements} == {"SELECT"}
    return len(statements)


@pytest.mark.parametrize(
    ("builds", "limit", "statements"),
    [
        (0, 100, 0),
        (FIRST["queue"], 100, 1),
        (50, FIRST["queue"] - 1, 1),
        (50, FIRST["queue"], 2),  # one more than the limit shows that there are more
        (FIRST["queue"] + 1, 100, 2),
        (FIRST["queue"] + LATER["queue"], 100, 2),
        (FIRST["queue"] + 3 * LATER["queue"] + 1, 100, 5),
    ],
)
def test_a_small_queue_is_few_statements_and_a_longer_one_some_more(
    make_host: MakeHost, database_url: str, builds: int, limit: int, statements: int
) -> None:
    host = make_host(database_url, rows=running(builds))
    assert selects(host, f"{URL}s/queue?limit={limit}") == 1 + statements  # of the ids


class Labelled(BuildSchema):
    labels = fields.Raw(required=True)


#: Where a build may have something large.
LARGE_BUILDS: dict[str, tuple[dict[str, Any], Callable[[str], dict[str, Any]]]] = {
    "text": (
        {"model": model_of("message", message=sa.Column(sa.Text))},
        lambda text: {"message": text},
    ),
    "JSON": (
        {"model": model_of(labels=sa.Column(sa.JSON)), "schema": Labelled},
        lambda text: {"labels": {"all": [[text]]}},
    ),
    "a column that no member has": (
        {"model": model_of(log=sa.Column(sa.Text))},
        lambda text: {"log": text},
    ),
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("kind", LARGE_BUILDS)
def test_of_large_builds_less_are_read_at_once(
    make_host: MakeHost, database_url: str, kind: str, text: str
) -> None:
    options, large = LARGE_BUILDS[kind]
    rows = running(FIRST["queue"] + 2 * OF_LARGE + 1, **large(text))
    host = make_host(database_url, rows=rows, **options)
    assert selects(host, f"{URL}s/queue") == 1 + 4


def recorded(host: Host, count: int, **after: Any) -> None:
    """Record changes of the build."""
    row = {"build_id": 1, "at": datetime.now(UTC), "before": OCTOCAT, "after": OCTOCAT | after}
    with host.engine.begin() as connection:
        connection.execute(sa.insert(BuildRevision), [row] * count)


@pytest.mark.parametrize(
    ("revisions", "limit", "statements"),
    [
        (0, 50, 1),
        (FIRST["revisions"] - 1, 50, 1),
        (50, FIRST["revisions"] - 1, 1),
        (FIRST["revisions"] + LATER["revisions"] - 1, 50, 2),
        (FIRST["revisions"] + LATER["revisions"], 50, 3),
        (60, 50, 7),
    ],
)
def test_few_revisions_are_one_statement_beside_that_of_the_build(
    kept: Host, revisions: int, limit: int, statements: int
) -> None:
    if revisions:
        recorded(kept, revisions, title="x")
        statements += 2  # for what was changed after the newest, however many there are
    assert selects(kept, f"{URL}/1/revisions?limit={limit}") == 1 + statements


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_of_large_revisions_less_are_read_at_once(kept: Host, text: str) -> None:
    assert selects(kept, f"{URL}/1/revisions?limit=20") == 2
    recorded(kept, 20, message=text * 4, title="x")  # 4 are read at once
    assert selects(kept, f"{URL}/1/revisions?limit=15") == 1 + 5 + 2


#: When each of many builds was created: many at once, or not known when.
CREATED = [None if n % 5 == 0 else 100 + n // 20 for n in range(90)]


class Unreadable(fields.String):
    """A field of the host's that fails for some builds."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return {"push": "push"}[value]


class WithUnreadable(BuildSchema):
    event = Unreadable(required=True)


@pytest.mark.parametrize("schema", [BuildSchema, WithUnreadable], ids=["all", "but some"])
@pytest.mark.parametrize("limit", [7, 12, 30, 1000])
def test_every_build_is_listed_once_in_order(
    make_host: MakeHost, database_url: str, schema: type[BuildSchema], limit: int
) -> None:
    rows = [
        row_of(id=n, number=n, status="running", created=at, event="tag" if n % 7 == 0 else "push")
        for n, at in enumerate(CREATED, 1)
    ]
    host = make_host(database_url, model=model_of(), schema=schema, rows=rows)
    expected = [
        row["id"]
        for row in sorted(rows, key=lambda row: (row["created"] or 0, row["id"]), reverse=True)
        if schema is BuildSchema or row["event"] == "push"
    ]
    seen: list[int] = []
    url = f"{URL}s/queue?limit={limit}"
    while url:
        page: Any = host.client.get(url, headers=ADMIN)
        seen += [one["id"] for one in page.json]
        url = page.headers.get("Link", "").removeprefix("<").partition(">")[0]
    assert seen == expected
    assert [one["id"] for one in host.blueprint.store.queue(limit=1000)] == expected


def test_what_cannot_be_read_is_named_once(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [one | {"event": "push" if one["id"] > 40 else "tag"} for one in running(80)]
    store = make_host(sqlite_url, rows=rows, schema=WithUnreadable).blueprint.store
    named: list[Any] = []
    note: Callable[[Any, str], None] = lambda build_id, problem: named.append(build_id)  # noqa: E731
    assert ids_of(store, on_unreadable=note) == [*range(80, 40, -1)]
    assert named == [*range(40, 0, -1)]


#: What somebody does as soon as the first portion is read.
MEANWHILE = {
    "the last is deleted": "DELETE FROM builds WHERE id = 22",
    "the next few are deleted": "DELETE FROM builds WHERE id BETWEEN 17 AND 21",
    "more are deleted than were read": "DELETE FROM builds WHERE id > 9",
    "all are deleted": "DELETE FROM builds",
    "the last has another time": "UPDATE builds SET created = 1 WHERE id = 22",
    "the last is the newest": "UPDATE builds SET created = 99 WHERE id = 22",
    "the last has no time": "UPDATE builds SET created = NULL WHERE id = 22",
    "the next is the newest": "UPDATE builds SET created = 99 WHERE id = 21",
    "the last is the first": "UPDATE builds SET created = 99 WHERE id = 1",
    "some are finished": "UPDATE builds SET status = 'success' WHERE id IN (22, 20, 3)",
}


@pytest.mark.parametrize("created", [True, False], ids=["created", "of unknown time"])
@pytest.mark.parametrize("statement", MEANWHILE.values(), ids=MEANWHILE)
def test_what_happens_while_the_list_is_read_neither_hides_a_build_nor_repeats_one(
    make_host: MakeHost, database_url: str, statement: str, created: bool
) -> None:
    rows = [one if created else one | {"created": None} for one in running(30)]
    host = make_host(database_url, model=model_of(), rows=rows)
    last = 30 - FIRST["queue"] + 1

    def do(build: dict[str, Any]) -> None:
        if build["id"] == last:
            host.execute(statement)

    taken = ids_of(host.blueprint.store, do)
    left = {one["id"] for one in host.blueprint.store.queue()}
    if host.engine.dialect.name == "mysql":  # it reads as of the beginning of the transaction
        left |= {*range(30)}
    assert taken == [one for one in range(30, 0, -1) if one >= last or one in left]


def test_a_page_that_lacks_builds_that_are_gone_has_a_link_all_the_same(
    make_host: MakeHost, sqlite_url: str
) -> None:
    host = make_host(sqlite_url, rows=running(30))
    rows = iter(range(2))

    @sa.event.listens_for(host.engine, "after_cursor_execute")
    def finish(connection: sa.Connection, *_: Any) -> None:
        if next(rows, None) == 0:  # the ids are read
            connection.exec_driver_sql("UPDATE builds SET status = 'success' WHERE id = 21")

    page: Any = host.client.get(f"{URL}s/queue?limit=10", headers=ADMIN)
    assert [one["id"] for one in page.json] == [*range(30, 21, -1)]
    assert page.headers["Link"] == f'<{URL}s/queue?limit=10&below=21>; rel="next"'


def test_a_page_below_a_deleted_build_lists_nothing(make_host: MakeHost, database_url: str) -> None:
    rows = [one | {"created": None if one["id"] < 3 else 7} for one in running(6)]
    host = make_host(database_url, model=model_of(), rows=rows)
    assert ids_of(host.blueprint.store, below="4") == [3, 2, 1]
    assert ids_of(host.blueprint.store, below="2") == [1]
    host.execute("DELETE FROM builds WHERE id IN (2, 4)")
    for below in ("2", "4"):
        answer = host.client.get(f"{URL}s/queue?below={below}", headers=ADMIN)
        assert answer.status_code == 404
        assert answer.json == {"error": "below: there is no such build: begin anew."}


def _counted(build: Any) -> str:
    build.parent = 7  # as no getter should
    return {"push": "x", "tag": "y"}[build.event]


class Counted(BuildSchema):
    title = Text(dump_only=True)


@pytest.mark.parametrize("event", ["push", "unknown"], ids=["readable", "but one"])
def test_a_getter_that_writes_changes_nothing_and_keeps_nothing_in_memory(
    make_host: MakeHost, database_url: str, event: str
) -> None:
    model = model_of("title", title=property(_counted))
    rows = [
        row_of("title", id=n, number=n, status="running", event=event if n == 30 else "tag")
        for n in range(1, 61)
    ]
    host = make_host(database_url, model=model, schema=Counted, rows=rows)
    in_session: list[int] = []

    def count(build: dict[str, Any]) -> None:
        in_session.append(len(host.session.identity_map))

    assert len(ids_of(host.blueprint.store, count)) == (60 if event == "push" else 59)
    assert max(in_session) <= LATER["queue"]
    assert {host.row(n)["parent"] for n in range(1, 61)} == {OCTOCAT["parent"]}


@pytest.mark.parametrize("name", ["queue", "revisions"])
def test_a_list_ends_where_nothing_more_is_taken(kept: Host, name: str) -> None:
    with kept.engine.begin() as connection:
        connection.execute(sa.delete(kept.model))
        connection.execute(sa.insert(kept.model), running(40))
    recorded(kept, 40, title="x")
    store = kept.blueprint.store
    taken: list[Any] = []

    def take(item: Any, *_: Any) -> bool:
        taken.append(item)
        return len(taken) < 3

    with kept.statements() as sent:
        assert (
            store.queue(take=take) if name == "queue" else store.revisions("1", take=take)
        ) == []
    assert len(taken) == 3
    statements = 2 if name == "queue" else 4
    assert outline(sent) == ["BEGIN", *["SELECT"] * statements, "COMMIT"]


def test_rows_without_an_id_neither_repeat_the_list_nor_hide_the_rest(
    make_host: MakeHost, sqlite_url: str
) -> None:
    model = model_of(id=sa.Column(sa.BigInteger, primary_key=True, autoincrement=False))
    host = make_host(sqlite_url, model=model, rows=[])
    copied = ", ".join(f'"{name}"' for name in OCTOCAT if name != "id")
    with host.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE builds")
        # As a host may have written it: SQLite takes NULL for such a key.
        connection.exec_driver_sql(f"CREATE TABLE builds (id BIGINT PRIMARY KEY, {copied})")
        connection.execute(sa.insert(model), running(40))
        nameless = f"INSERT INTO builds (id, {copied}) SELECT NULL, {copied} FROM builds"
        connection.exec_driver_sql(f"{nameless} WHERE id > 20")

    def stop(build: Any) -> None:
        assert len(taken) < 100
        taken.append(build)

    taken: list[Any] = []
    assert ids_of(host.blueprint.store, stop, limit=1000) == [*range(40, 0, -1)]
