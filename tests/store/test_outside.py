"""What was changed outside after a revision, and which repairs do not stand any more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import mapped_column, scoped_session, sessionmaker

from flask_build_admin import BuildSchema, BuildStore, Text, UnixTime, WholeNumber
from flask_build_admin.store import ChangeOptions, Revision
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    Build,
    BuildRevision,
    Host,
    history_of,
    model_of,
    row_of,
    stuck,
)

MakeHost = Callable[..., Host]

PREFIX = URL.removesuffix("/build")

Step = Callable[[Host], Any]


def put(host: Host, build_id: Any = 1, /, **members: Any) -> None:
    """Change some members of a build by the blueprint."""
    assert host.put(host.get(build_id).json | members).status_code == 200


def outside(host: Host, build_id: Any = 1, /, **members: Any) -> None:
    """Change some members of a build as a worker does."""
    table = host.model.__table__
    with host.engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.id == build_id).values(members))


def listed(host: Host, query: str = "") -> list[dict[str, Any]]:
    answer: Any = host.client.get(f"{PREFIX}/revisions{query}", headers=ADMIN)
    assert answer.status_code == 200
    return list(answer.json)


def outsides(revisions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["changed_outside"] for one in revisions]


def test_each_revision_says_what_was_changed_outside_after_it(kept: Host) -> None:
    put(kept, status="error", error="lost")
    outside(kept, status="success", title="")
    put(kept, status="killed")
    put(kept, error="")
    outside(kept, status="success", finished=7)
    expected = [
        {
            "status": {"before": "killed", "after": "success"},
            "finished": {"before": 0, "after": 7},
        },
        {},
        {
            "status": {"before": "error", "after": "success"},
            "title": {"before": OCTOCAT["title"], "after": ""},
        },
    ]
    assert outsides(kept.revisions().json) == expected
    assert list(kept.revisions().json[0]["changed_outside"]) == ["status", "finished"]
    assert outsides(listed(kept)) == expected
    assert [one.changed_outside for one in kept.blueprint.store.revisions("1", limit=2)] == (
        expected[:2]
    )
    # However the list is cut.
    below = ""
    for one in expected:
        [alone] = kept.revisions(query_string=f"limit=1{below}").json
        assert alone["changed_outside"] == one
        below = f"&before={alone['id']}"


def test_the_next_revision_counts_whether_it_is_listed_or_not(
    make_host: MakeHost, database_url: str
) -> None:
    actor = iter(["mona", "hubot", "mona", "mona"])
    host = make_host(
        database_url,
        rows=[stuck(1), stuck(2)],
        history=BuildRevision,
        actor=lambda: next(actor),
    )
    put(host, status="error")
    put(host, status="killed")
    outside(host, 2, status="success")
    put(host, 2, status="error")
    put(host, 1, status="success")
    assert outsides(listed(host, "?actor=mona")) == [{}, {}, {}]
    outside(host, 2, status="success")
    changed = {"status": {"before": "error", "after": "success"}}
    assert outsides(listed(host, "?actor=mona")) == [{}, changed, {}]
    assert outsides(listed(host, "?build_id=2")) == [changed]


def test_many_revisions_of_many_builds_are_each_compared_with_their_own(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url, rows=map(stuck, range(1, 31)), history=BuildRevision)
    for turn in range(3):
        for build_id in range(1, 31):
            if (build_id + turn) % 4 == 0:
                outside(host, build_id, host=f"worker-{turn}")
        ids = map(str, range(1, 31))
        assert len(host.blueprint.store.set(ids, {"title": f"{turn}"}).changed) == 30
    found = {
        (one["build_id"], one["changes"]["title"]["after"]): one["changed_outside"]
        for one in listed(host, "?limit=200")
    }
    assert len(found) == 90
    for (build_id, title), changed in found.items():
        turn = int(title) + 1
        moved = turn < 3 and (build_id + turn) % 4 == 0
        assert changed.keys() == ({"host"} if moved else set())
        assert not moved or changed["host"]["after"] == f"worker-{turn}"


def test_nothing_is_known_of_a_build_that_is_gone(kept: Host) -> None:
    put(kept, status="error")
    outside(kept, status="success")
    kept.execute("DELETE FROM builds")
    assert outsides(listed(kept)) == [{}]
    assert listed(kept, "?overwritten=true") == []


def test_a_next_revision_that_cannot_be_read_says_nothing(kept: Host) -> None:
    for status in ("error", "killed", "success"):
        put(kept, status=status)
        outside(kept, title=status)
    table: Any = BuildRevision.__table__
    with kept.engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.id == 3).values(before=[1]))
    changed = {"title": {"before": OCTOCAT["title"], "after": "error"}}
    assert outsides(kept.revisions().json) == [{}, changed]


class Old(BuildSchema):
    class Meta:
        exclude = ("distribution",)


class New(Old):
    labels = Text()


def test_what_the_schema_had_not_was_changed_by_nobody(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of(labels=sa.Column(sa.String(250)))
    history = history_of(model)
    options = {"model": model, "history": history}
    host = make_host(
        database_url, schema=Old, rows=[row_of(labels="x", distribution="y")], **options
    )
    put(host, status="error")
    recorded = host.recorded()
    host = make_host(database_url, schema=New, rows=[row_of(labels="x", status="error")], **options)
    with host.engine.begin() as connection:
        connection.execute(sa.insert(history), recorded)
    assert outsides(host.revisions().json) == [{}]
    assert listed(host, "?overwritten=true") == []


class Times(BuildSchema):
    finished = UnixTime()
    started = WholeNumber(zero_is_null=True)


def test_a_null_and_the_zero_that_it_is_dumped_as_are_one(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of("finished", finished=sa.Column(sa.DateTime))
    rows = [row_of("finished", started=None, finished=None)]
    host = make_host(database_url, model=model, schema=Times, rows=rows, history=history_of(model))
    put(host, status="error")
    outside(host, started=0)
    assert outsides(host.revisions().json) == [{}]
    outside(host, finished=datetime(2026, 11, 28, 12, 0, 0))
    assert outsides(host.revisions().json) == [{"finished": {"before": 0, "after": 1795867200}}]


def test_ids_that_differ_in_case_only_are_two_builds(
    make_host: MakeHost, database_url: str
) -> None:
    text: Any = sa.String(36)
    if "mysql" in database_url:
        text = sa.String(36, collation="utf8mb4_bin")
    model = model_of("id", id=sa.Column(text, primary_key=True))
    history = history_of(model, build_id=mapped_column(sa.String(36), index=True, nullable=False))

    class Named(BuildSchema):
        id = Text(empty=False)

    rows = [row_of(id=one) for one in ("abc", "ABC")]
    host = make_host(database_url, model=model, schema=Named, rows=rows, history=history)
    for build_id, status in (("abc", "error"), ("ABC", "error"), ("ABC", "killed")):
        assert host.put(host.get(build_id).json | {"status": status}).status_code == 200
    outside(host, "abc", status="success")
    changed = {"status": {"before": "error", "after": "success"}}
    assert outsides(host.revisions("abc").json) == [changed]
    assert outsides(host.revisions("ABC").json) == [{}, {}]
    assert outsides(listed(host)) == [{}, {}, changed]
    assert [one["build_id"] for one in listed(host, "?overwritten=true")] == ["abc"]
    assert host.blueprint.store.prune(2**33) == 1
    assert sorted(one["build_id"] for one in host.recorded()) == ["ABC", "abc"]


def test_what_json_cannot_represent_is_left_out(make_host: MakeHost, sqlite_url: str) -> None:
    model = model_of()
    host = make_host(sqlite_url, model=model, rows=[row_of()], history=history_of(model))
    put(host, status="error")
    assert host.history is not None
    table = host.history.__table__
    nan = {
        name: host.recorded()[0][name] | {"branch": float("nan")} for name in ("before", "after")
    }
    with host.engine.begin() as connection:
        connection.execute(sa.update(table).values(nan))
    outside(host, title="x")
    assert outsides(host.revisions().json) == [{}]


def revisions_while_changed(
    host: Host, at: int, status: str, *, overwritten: bool
) -> tuple[list[Revision], bool]:
    """List revisions, and have somebody change the build before the given SELECT.

    :returns: what was listed, and whether there were so many SELECTs.
    """
    sessions = scoped_session(sessionmaker(host.engine))
    other = BuildStore(host.model, sessions, history=BuildRevision)
    selects = 0

    def meanwhile(conn: Any, cursor: Any, statement: str, *args: Any) -> None:
        nonlocal selects
        selects += statement.startswith("SELECT")
        if selects == at:
            selects = 100
            other.set(["1"], {"status": status}, ChangeOptions(actor="hubot"))

    sa.event.listen(host.engine, "before_cursor_execute", meanwhile)
    found = host.blueprint.store.revisions("1", overwritten=overwritten)
    sa.event.remove(host.engine, "before_cursor_execute", meanwhile)
    sessions.remove()
    return found, selects >= 100


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("overwritten", [False, True])
def test_a_change_that_is_made_while_the_list_is_read_is_not_outside(
    kept: Host, at: int, overwritten: bool
) -> None:
    put(kept, status="error", error="lost")
    put(kept, title="x")
    if overwritten:
        outside(kept, error="")  # so that there is something to look at twice
    found, changed = revisions_while_changed(kept, at, "success", overwritten=overwritten)
    assert len(kept.recorded()) == (3 if changed else 2)
    if overwritten:
        moved = {"error": {"before": "lost", "after": ""}}
        assert [one.overwritten for one in found] == [moved]
    else:
        assert [one.changed_outside for one in found] == [{}] * len(found)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_repair_that_is_made_while_the_list_is_read_clears_it(kept: Host, at: int) -> None:
    put(kept, status="error")
    outside(kept, status="success")
    found, _ = revisions_while_changed(kept, at, "killed", overwritten=True)
    if kept.engine.dialect.name == "mysql" or at > 4:  # of the moment at which it began to read
        assert [one.id for one in found] in ([], [1])
    else:
        assert found == []
    assert kept.blueprint.store.revisions("1", overwritten=True) == []


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_of_a_time_no_revision_is_missed_and_not_all_are_read(
    aged: Host, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr("flask_build_admin.store.history._STEP", step)
    now = int(datetime.now(UTC).timestamp())
    for hours in (0, 1, 3, 7, 15, 30):
        since = now - hours * 3600 - 120
        expected = [*range(20, max(19 - hours, 0), -1)]
        assert [one["id"] for one in listed(aged, f"?after={since}")] == expected
    with aged.statements() as sent:
        listed(aged, f"?actor=nobody&after={now}")
    bound = [one for one in sent if "build_revisions.id > " in one]
    assert len(bound) == 1


def test_a_time_that_cannot_be_read_ends_no_list(aged: Host) -> None:
    if aged.engine.dialect.name == "sqlite":
        aged.execute("UPDATE build_revisions SET at = 'long ago' WHERE id = 15")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flask_build_admin.store.history._STEP", 5)
            since = int(datetime.now(UTC).timestamp()) - 7 * 3600 - 120
            ids = [one["id"] for one in listed(aged, f"?after={since}")]
        assert ids == [20, 19, 18, 17, 16, 14, 13]


def test_of_several_next_revisions_one_that_cannot_be_read_hides_no_other(
    make_host: MakeHost, database_url: str
) -> None:
    actor = iter(["mona", "mona", "hubot", "hubot"])
    host = make_host(
        database_url, rows=[stuck(1), stuck(2)], history=BuildRevision, actor=actor.__next__
    )
    for status in ("error", "killed"):
        for build_id in (1, 2):
            put(host, build_id, status=status)
            outside(host, build_id, title=status)
    table: Any = BuildRevision.__table__
    with host.engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.id == 3).values(before=[1]))
    changed = {"title": {"before": OCTOCAT["title"], "after": "error"}}
    assert outsides(listed(host, "?actor=mona")) == [changed, {}]


#: What happens in turn, and the numbers of the revisions that do not stand in the end.
HISTORIES: dict[str, tuple[list[Step], dict[int, Any]]] = {
    "nothing outside": ([lambda host: put(host, status="error")], {}),
    "overwritten by a worker": (
        [lambda host: put(host, status="error"), lambda host: outside(host, status="success")],
        {1: {"status": {"before": "error", "after": "success"}}},
    ),
    "another member, by a worker": (
        [lambda host: put(host, status="error"), lambda host: outside(host, title="x")],
        {},
    ),
    "and put back": (
        [
            lambda host: put(host, status="error"),
            lambda host: outside(host, status="success"),
            lambda host: outside(host, status="error"),
        ],
        {},
    ),
    "and repaired again": (
        [
            lambda host: put(host, status="error"),
            lambda host: outside(host, status="success"),
            lambda host: put(host, status="error"),
        ],
        {},
    ),
    "and settled otherwise by an administrator": (
        [
            lambda host: put(host, status="error"),
            lambda host: outside(host, status="success"),
            lambda host: put(host, status="killed"),
        ],
        {},
    ),
    "of two members, one": (
        [
            lambda host: put(host, status="error", error="lost"),
            lambda host: outside(host, status="success"),
        ],
        {1: {"status": {"before": "error", "after": "success"}}},
    ),
    "through a repair of another member": (
        [
            lambda host: put(host, status="error"),
            lambda host: put(host, error="lost"),
            lambda host: outside(host, status="success"),
        ],
        {1: {"status": {"before": "error", "after": "success"}}},
    ),
    "before a repair of another member": (
        [
            lambda host: put(host, status="error"),
            lambda host: outside(host, status="success"),
            lambda host: put(host, error="lost"),
        ],
        {1: {"status": {"before": "error", "after": "success"}}},
    ),
    "two repairs, of two members": (
        [
            lambda host: put(host, status="error"),
            lambda host: put(host, error="lost"),
            lambda host: outside(host, status="success", error=""),
        ],
        {
            2: {"error": {"before": "lost", "after": ""}},
            1: {"status": {"before": "error", "after": "success"}},
        },
    ),
    "undone": (
        [lambda host: put(host, status="error"), lambda host: host.undo(1)],
        {},
    ),
    "the undo is overwritten": (
        [
            lambda host: put(host, status="error"),
            lambda host: host.undo(1),
            lambda host: outside(host, status="success"),
        ],
        {2: {"status": {"before": "created", "after": "success"}}},
    ),
    "deleted": (
        [
            lambda host: put(host, status="error"),
            lambda host: outside(host, status="success"),
            lambda host: host.execute("DELETE FROM builds"),
        ],
        {},
    ),
}


@pytest.mark.parametrize(("steps", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_which_repairs_do_not_stand(
    kept: Host, steps: list[Step], expected: dict[int, Any]
) -> None:
    for step in steps:
        step(kept)
    found = listed(kept, "?overwritten=true")
    assert {one["id"]: one["overwritten"] for one in found} == expected
    assert [one["id"] for one in found] == [*expected]  # the newest first
    in_full = {one["id"]: one for one in listed(kept)}
    for one in found:
        del one["overwritten"]
        assert one == in_full[one["id"]]


class Protected(BuildSchema):
    title = Text(dump_only=True)


def test_what_no_administrator_can_change_is_not_overwritten(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url, schema=Protected, history=BuildRevision)

    @sa.event.listens_for(Build, "before_update")
    def touch(mapper: Any, connection: Any, build: Any) -> None:
        build.title = "touched"

    try:
        put(host, status="error")
    finally:
        sa.event.remove(Build, "before_update", touch)
    assert {*host.revisions().json[0]["changes"]} == {"status", "title"}
    outside(host, title="by a worker")
    assert listed(host, "?overwritten=true") == []
    assert outsides(listed(host)) == [{"title": {"before": "touched", "after": "by a worker"}}]


@pytest.fixture
def aged(make_host: MakeHost, database_url: str) -> Host:
    """A host with 20 repairs, one an hour, all of which were overwritten; #20 is the newest."""
    host = make_host(
        database_url,
        rows=map(stuck, range(1, 21)),
        history=BuildRevision,
        actor=iter("ab" * 10).__next__,
    )
    now = datetime.now(UTC)
    table: Any = BuildRevision.__table__
    for number in range(1, 21):
        put(host, number, status="error")
        outside(host, number, status="success")
        at = now - timedelta(hours=20 - number, minutes=1)
        with host.engine.begin() as connection:
            connection.execute(sa.update(table).where(table.c.id == number).values(at=at))
    return host


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [*range(20, 0, -1)]),
        ("&limit=3", [20, 19, 18]),
        ("&limit=3&below=18", [17, 16, 15]),
        ("&actor=a&limit=2", [19, 17]),
        ("&build_id=4", [4]),
        ("&build_id=4&actor=a", []),
        ("&batch=x", []),
    ],
)
def test_the_list_of_them_is_filtered_like_any(aged: Host, query: str, ids: list[int]) -> None:
    assert [one["id"] for one in listed(aged, f"?overwritten=true{query}")] == ids


def test_they_are_of_a_day_unless_a_time_is_given(aged: Host) -> None:
    table: Any = BuildRevision.__table__
    with aged.engine.begin() as connection:
        old = datetime.now(UTC) - timedelta(hours=25)
        connection.execute(sa.update(table).where(table.c.id < 6).values(at=old))
    assert [one["id"] for one in listed(aged, "?overwritten=true")] == [*range(20, 5, -1)]
    assert len(listed(aged, "?overwritten=true&after=0")) == 20
    since = int(datetime.now(UTC).timestamp()) - 2 * 3600
    assert [one["id"] for one in listed(aged, f"?overwritten=true&after={since}")] == [20, 19]
    assert [one["id"] for one in listed(aged, f"?overwritten=false&after={since}")] == [20, 19]
    before = int(datetime.now(UTC).timestamp()) - 18 * 3600
    assert [one["id"] for one in listed(aged, f"?overwritten=true&before={before}")] == []
    first: Any = aged.client.get(f"{PREFIX}/revisions?overwritten=true&limit=2", headers=ADMIN)
    query = first.headers["Link"].partition("?")[2].partition(">")[0]
    assert re.fullmatch(r"limit=2&overwritten=true&after=\d+&below=19", query)
    assert [one["id"] for one in listed(aged, f"?{query}")] == [18, 17]


STATUSES = st.sampled_from(["running", "error", "success"])

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "outside", "undo", "clean"]),
        st.sampled_from(["status", "error", "title"]),
        STATUSES,
    ),
    max_size=12,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_changes_and_what_was_changed_outside_lead_to_the_build_of_now(
    kept: Host, steps: list[tuple[str, str, str]]
) -> None:
    kept.execute("DELETE FROM build_revisions")
    outside(kept, **OCTOCAT)
    for kind, member, value in steps:
        revisions = kept.revisions().json
        if kind == "outside":
            outside(kept, **{member: value})
        elif kind == "undo" and revisions:
            assert kept.undo(revisions[0]["id"]).status_code in (200, 409)
        elif kind == "clean":
            assert kept.client.put(f"{PREFIX}/clean", headers=ADMIN).status_code == 200
        else:
            put(kept, **{member: value})
    recorded = kept.recorded()
    revisions = kept.revisions(query_string="limit=200").json[::-1]
    assert [one["id"] for one in revisions] == [one["id"] for one in recorded]
    document = recorded[0]["before"] if recorded else kept.get().json
    for one in revisions:
        for changes in (one["changes"], one["changed_outside"]):
            for name, change in changes.items():
                assert document[name] == change["before"] != change["after"]
                document = document | {name: change["after"]}
    now = kept.get().json
    assert document == now
    # A member is overwritten if its last change by a revision is not what it is now.
    last: dict[str, Any] = {}
    for one in revisions:
        last |= {name: (one["id"], change["after"]) for name, change in one["changes"].items()}
    moved = {(number, name) for name, (number, value) in last.items() if now[name] != value}
    found = listed(kept, "?overwritten=true")
    assert {(one["id"], name) for one in found for name in one["overwritten"]} == moved
