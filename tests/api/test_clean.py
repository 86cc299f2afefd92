"""Many builds at once: a clean, its batch, the changes of all builds, and the undo of a batch."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort
from marshmallow import fields

from flask_build_admin import BuildSchema, UnixTime, build_updating
from flask_build_admin.exceptions import ConfigurationError, InvalidBuild, InvalidParameter
from flask_build_admin.store import BuildFilter, BuildStore, ChangeOptions
from tests.support.hosts import (
    ADMIN,
    LONG_AGO,
    OCTOCAT,
    URL,
    WORKER,
    BuildRevision,
    Host,
    anybody,
    history_of,
    model_of,
    row_of,
    stuck,
)
from tests.support.statements import outline

MakeHost = Callable[..., Host]

PREFIX = URL.removesuffix("/build")

MESSAGE = "build cleaned by platform admin"


def clean(host: Host, query: str = "", **options: Any) -> Any:
    headers = ADMIN | options.pop("headers", {})
    return host.client.put(f"{PREFIX}/clean{query}", headers=headers, **options)


def changes(host: Host, query: str = "") -> Any:
    return host.client.get(f"{PREFIX}/revisions{query}", headers=ADMIN)


def undo(host: Host, query: str, **options: Any) -> Any:
    headers = ADMIN | options.pop("headers", {})
    return host.client.post(f"{PREFIX}/revisions/undo{query}", headers=headers, **options)


def statuses(host: Host) -> dict[int, str]:
    with host.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT id, status FROM builds ORDER BY id"))
        return {row.id: row.status for row in found}


@pytest.fixture
def stuck_host(make_host: MakeHost, database_url: str) -> Host:
    """Builds that are stuck on two workers, one that runs, and one that is finished."""
    rows = [
        stuck(1, host="worker-7"),
        stuck(2, host="worker-7", status="pending", finished=None, deploy=None),
        stuck(3, host="worker-8"),
        stuck(4, host="worker-7", created=int(time.time()), started=int(time.time())),
        stuck(5, host="worker-7", status="success", finished=LONG_AGO),
    ]
    return make_host(database_url, rows=rows, history=BuildRevision)


def test_a_clean_finishes_what_is_stuck(stuck_host: Host) -> None:
    earliest = int(time.time())
    answer = clean(stuck_host, "?reason=lost")
    assert (answer.status_code, answer.json) == (200, "3 builds cleaned.")
    assert answer.data == b'"3 builds cleaned."\n'
    assert answer.headers["Cache-Control"] == "no-store"
    assert statuses(stuck_host) == {1: "error", 2: "error", 3: "error", 4: "running", 5: "success"}
    row = stuck_host.row(1)
    assert row["error"] == MESSAGE
    assert earliest <= row["finished"] <= time.time()
    assert stuck_host.row(2)["deploy"] is None
    location = answer.headers["Content-Location"]
    path, _, batch = location.partition("?batch=")
    assert (path, str(uuid.UUID(batch))) == (f"{PREFIX}/revisions", batch)
    recorded: Any = stuck_host.client.get(location, headers=ADMIN).json
    assert sorted(one["build_id"] for one in recorded) == [1, 2, 3]
    assert {one["batch"] for one in recorded} == {batch}
    assert {one["reason"] for one in recorded} == {"lost"}
    assert clean(stuck_host).json == "0 builds cleaned."
    assert "Content-Location" not in clean(stuck_host).headers


def test_a_preview_of_a_clean_stores_nothing(stuck_host: Host) -> None:
    answer = clean(stuck_host, "?dry_run=true")
    assert answer.json == "3 builds would be cleaned."
    assert "Content-Location" not in answer.headers
    assert statuses(stuck_host)[1] == "running"
    assert stuck_host.recorded() == []


@pytest.mark.parametrize(
    ("query", "cleaned"),
    [
        ("?host=worker-7", {1, 2}),
        ("?host=worker-7&status=pending", {2}),
        ("?host=Worker-7", set()),
        ("?host=worker-7%20", set()),
        (f"?before={LONG_AGO}", set()),
        (f"?before={LONG_AGO + 1}", {1, 2, 3}),
        ("?before=99999999999", {1, 2, 3, 4}),
        (f"?idle_before={LONG_AGO + 1}", {1, 2, 3}),
        ("?idle_before=99999999999&id=4", {4}),
        ("?deploy=", {2}),
        ("?finished=0&number=2", {2}),
    ],
)
def test_a_clean_takes_the_builds_that_fit(stuck_host: Host, query: str, cleaned: set[int]) -> None:
    stuck_host.execute("UPDATE builds SET deploy = 'x' WHERE id <> 2")
    before = statuses(stuck_host)
    answer = clean(stuck_host, query)
    noun = "build" if len(cleaned) == 1 else "builds"
    assert answer.json == f"{len(cleaned)} {noun} cleaned."
    after = statuses(stuck_host)
    assert {one for one in after if after[one] != before[one]} == cleaned


@pytest.mark.parametrize("body", [{"error": "worker-7 died"}, {"message": "worker-7 died"}])
def test_the_message_is_what_either_client_sends(stuck_host: Host, body: Any) -> None:
    assert clean(stuck_host, "?before=1700000001", json=body).json == "3 builds cleaned."
    assert stuck_host.row(3)["error"] == "worker-7 died"


@pytest.mark.parametrize("body", [{}, {"error": None}, {"error": None, "message": None}])
def test_without_a_message_there_is_a_default(stuck_host: Host, body: Any) -> None:
    assert clean(stuck_host, "?id=3", json=body).json == "1 build cleaned."
    assert stuck_host.row(3)["error"] == MESSAGE


@pytest.mark.parametrize(
    ("query", "options", "status", "error"),
    [
        ("", {"json": {"error": 1}}, 400, "error: not a string"),
        ("", {"json": {"error": "a", "message": "b"}}, 400, "message: not together with error"),
        ("", {"json": {"status": "x"}}, 400, "status: unknown"),
        ("", {"json": {"error": "\0"}}, 400, "error: holds U+0000"),
        ("", {"json": []}, 400, "The body is not a JSON object."),
        ("", {"data": "{}", "content_type": "text/plain"}, 415, None),
        ("", {"data": "{}"}, 415, None),
        ("?before=0", {}, 400, "before: not a whole number from 1 to 253402300799"),
        ("?limit=1001", {}, 400, "limit: not a whole number from 1 to 1000"),
        ("?batch=", {}, 400, "batch: not 1 to 36 visible characters"),
        ("?batch=a%20b", {}, 400, "batch: not 1 to 36 visible characters"),
        (f"?batch={'x' * 37}", {}, 400, "batch: not 1 to 36 visible characters"),
        ("?repo_id=0", {}, 400, "repo_id: less than 1"),
        ("?repo_id=x", {}, 400, "repo_id: not an integer"),
        ("?repo_id=1.0", {}, 400, "repo_id: not an integer"),
        ("?repo_id=null", {}, 400, "repo_id: null"),
        ("?hots=worker-7", {}, 400, "hots: unknown parameter"),
        ("?host=a&host=b", {}, 400, "host: more than once"),
        ("?order=oldest", {}, 400, "order: unknown parameter"),
    ],
)
def test_a_clean_that_is_refused_changes_nothing(
    stuck_host: Host, query: str, options: dict[str, Any], status: int, error: str | None
) -> None:
    answer = clean(stuck_host, query, **options)
    assert answer.status_code == status
    assert error in (None, answer.json["error"])
    assert stuck_host.recorded() == []
    assert clean(stuck_host, headers=WORKER).status_code == 401


def test_a_clean_has_a_limit_and_says_that_there_are_more(stuck_host: Host) -> None:
    stuck_host.execute("UPDATE builds SET created = created - id WHERE id < 4")
    answer = clean(stuck_host, "?limit=2&batch=of-tuesday")
    assert answer.json == "2 builds cleaned. There are more: clean again."
    assert answer.headers["Content-Location"] == f"{PREFIX}/revisions?batch=of-tuesday"
    assert statuses(stuck_host)[1] == "running"  # the oldest come first
    assert clean(stuck_host, "?limit=2&batch=of-tuesday").json == "1 build cleaned."
    assert len(changes(stuck_host, "?batch=of-tuesday").json) == 3


@pytest.fixture
def refusing(make_host: MakeHost, sqlite_url: str) -> Host:
    """Builds of which the database refuses one."""
    rows = [stuck(number, host="worker-7") for number in range(1, 42)]
    host = make_host(sqlite_url, rows=rows, history=BuildRevision)
    host.execute(
        "CREATE TRIGGER kept BEFORE UPDATE ON builds WHEN OLD.id = 17 AND NEW.finished > 0"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    return host


def test_what_refuses_is_named_and_a_long_list_is_cut(refusing: Host) -> None:
    def refuse(sender: Any, build: Any, **_: Any) -> None:
        if build.id > 2:
            abort(403, description="not\nthis one.") if build.id % 2 else 1 / 0

    with build_updating.connected_to(refuse):
        answer: Any = clean(refusing)
    assert answer.json.startswith(
        "2 builds cleaned. 39 builds not cleaned: 3 (not this one), 4 (The server failed to handle"
        " the request), 5 (not this one), "
    )
    assert answer.json.endswith(", 22 (The server failed to handle the request), and 19 more.")
    assert "17 (refused by the database)" in answer.json


def test_without_an_answer_of_the_database_few_builds_are_tried(
    make_host: MakeHost, sqlite_url: str
) -> None:
    rows = [stuck(number) for number in range(1, 11)]
    host = make_host(f"{sqlite_url}?timeout=0.05", rows=rows, history=BuildRevision)
    with host.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE builds SET parent = 5")
        answer = clean(host)
    unavailable = "The database cannot answer now: try again"
    listed = ", ".join(f"{number} ({unavailable})" for number in (1, 2, 3))
    assert answer.json == (
        f"0 builds cleaned. 3 builds not cleaned: {listed}. There are more: clean again."
    )
    assert clean(host).json == "10 builds cleaned."


def test_the_end_may_be_any_second(stuck_host: Host) -> None:
    stuck_host.execute("UPDATE builds SET finished = 7")
    stuck_host.blueprint.store.clean(limit=1, finished=0)
    assert [stuck_host.row()[name] for name in ("status", "finished")] == ["error", 0]


def test_a_build_that_is_finished_meanwhile_is_left_alone(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url, rows=[stuck(1), stuck(2), stuck(3)], history=BuildRevision)
    rest = iter([None])

    def finish(sender: Any, build: Any, **_: Any) -> None:
        # Another connection could not, before this one commits: SQLite locks the whole file.
        if next(rest, "") is None:
            host.session().execute(sa.text("UPDATE builds SET status = 'success' WHERE id = 2"))

    with build_updating.connected_to(finish):
        assert clean(host).json == "2 builds cleaned."
    assert statuses(host) == {1: "error", 2: "success", 3: "error"}


@pytest.mark.parametrize("target", ["mapper", "session"])
def test_what_a_listener_of_the_host_writes_to_the_next_build_is_seen(
    make_host: MakeHost, sqlite_url: str, target: str
) -> None:
    model = model_of()
    host = make_host(sqlite_url, model=model, rows=[row_of(**stuck(n)) for n in (1, 2, 3)])
    statement = sa.text("UPDATE builds SET status = 'success' WHERE id = 2")

    def write(*_: Any, **__: Any) -> None:
        if host.session().dirty:
            host.session().connection().execute(statement)

    if target == "mapper":
        sa.event.listen(model, "before_update", write)
    else:
        sa.event.listen(host.session, "before_flush", write)
    assert clean(host).json == "2 builds cleaned."
    assert statuses(host) == {1: "error", 2: "success", 3: "error"}


def test_a_build_that_the_model_cannot_load_is_cleaned_with_the_others(
    make_host: MakeHost, sqlite_url: str
) -> None:
    model = model_of(event=sa.Column(sa.Enum("push", "tag")))
    host = make_host(sqlite_url, model=model, rows=[row_of(**stuck(n)) for n in (1, 2, 3)])
    host.execute("UPDATE builds SET event = 'unknown' WHERE id = 2")
    assert clean(host, "?number=4").json == "0 builds cleaned."
    assert clean(host, "?event=push&number=1").json == "1 build cleaned."
    assert clean(host).json == "2 builds cleaned."
    assert statuses(host) == {1: "error", 2: "error", 3: "error"}
    assert host.get(2).json["event"] == "unknown"


class IntegerId(BuildSchema):
    id = fields.Integer(required=True)


def test_a_build_whose_id_the_schema_refuses_is_named(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, model=model_of(), schema=IntegerId, rows=[])
    names = ", ".join(f'"{name}"' for name in OCTOCAT if name != "id")
    values = {name: value for name, value in stuck(1).items() if name != "id"}
    host.execute("DROP TABLE builds")
    host.execute(f"CREATE TABLE builds (id TEXT PRIMARY KEY, {names})")
    marks = ", ".join(f":{name}" for name in values)
    host.execute(f"INSERT INTO builds (id, {names}) VALUES ('abc', {marks})", **values)
    assert clean(host).json.startswith("0 builds cleaned. 1 build not cleaned: abc (id: ")


def test_builds_that_are_cleaned_in_portions(make_host: MakeHost, database_url: str) -> None:
    rows = [stuck(n, created=LONG_AGO + n) for n in range(1, 51)]
    host = make_host(database_url, rows=rows, history=BuildRevision)
    with host.statements() as sent:
        assert clean(host).json == "50 builds cleaned."
    assert outline(sent).count("COMMIT") == 1 + 3
    assert [one["build_id"] for one in host.recorded()] == [*range(1, 51)]
    with host.statements() as sent:
        batch = host.recorded()[0]["batch"]
        assert undo(host, f"?batch={batch}").json == {"undone": 50, "left": []}
    assert outline(sent).count("COMMIT") == 1 + 3
    assert [host.row(n) for n in (1, 50)] == [rows[0], rows[49]]


@pytest.mark.parametrize(
    "options",
    [{"queue_statuses": ()}, {"queue_statuses": ["running", "error"]}],
    ids=["no queue", "no status"],
)
def test_where_nothing_can_be_cleaned_no_client_takes_it_for_a_success(
    make_host: MakeHost, sqlite_url: str, options: dict[str, Any]
) -> None:
    host = make_host(sqlite_url, rows=[stuck(1)], **options)
    answer = clean(host)
    assert answer.status_code == 404
    assert answer.json["error"].startswith("This server has no ")
    with pytest.raises(ConfigurationError):
        host.blueprint.store.clean()


def test_a_status_that_finishes_nothing_is_told(
    make_host: MakeHost, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    problem = "clean_status='running' is no status that finishes a build"
    for status in ("running", ""):
        with pytest.raises(ConfigurationError, match="is no status that finishes a build"):
            make_host(sqlite_url, clean_status=status)
    make_host(sqlite_url, queue_statuses=["error"])
    assert problem.replace("running", "error") in caplog.text


def test_a_status_that_the_column_does_not_hold_is_told(
    make_host: MakeHost, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = sa.Enum("pending", "running", "success", "failure", name="statuses")
    model = model_of(status=sa.Column(words))
    rows = [row_of(status="running", created=LONG_AGO)]
    host = make_host(database_url, model=model, rows=rows)
    assert "build_admin cleans no builds: clean_status='error' is no status" in caplog.text
    assert clean(host).status_code == 404
    assert host.row()["status"] == "running"
    for options in (
        {"model": model, "clean_status": "killed"},
        {"model": model_of(status=sa.Column(sa.String(20))), "clean_status": "x" * 21},
    ):
        with pytest.raises(ConfigurationError, match=r"BuildSchema\.status and its column take"):
            make_host(database_url, **options)
    host = make_host(database_url, model=model, rows=rows, clean_status="failure")
    assert clean(host).json == "1 build cleaned."
    assert host.row()["status"] == "failure"


class Own(BuildSchema):
    """A build without an error, that dumps its end in another form."""

    class Meta:
        exclude = ("error",)

    finished = fields.DateTime(required=True, allow_none=True)
    created = UnixTime(required=True)
    started = UnixTime(required=True)


def test_a_clean_changes_what_the_schema_has(make_host: MakeHost, database_url: str) -> None:
    times = {name: sa.Column(sa.DateTime) for name in ("created", "started", "finished")}
    model = model_of("error", *times, **times)
    row = row_of("error", *times, status="running")
    host = make_host(
        database_url, model=model, schema=Own, rows=[row], clean_status="killed", auth=anybody
    )
    assert clean(host, "?created=0&started=0").json == "1 build cleaned."
    assert (host.row()["status"], host.row()["finished"]) == ("killed", None)


def test_a_clean_needs_no_history(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, rows=[stuck(1)])
    answer = clean(host)
    assert answer.json == "1 build cleaned."
    assert "Content-Location" not in answer.headers
    assert changes(host).status_code == 404


def test_a_clean_needs_a_reason_where_every_change_does(
    make_host: MakeHost, sqlite_url: str
) -> None:
    host = make_host(sqlite_url, rows=[stuck(1)], history=BuildRevision, require_reason=True)
    assert clean(host).json == {"error": "reason: missing: a change needs one"}
    answer = clean(host, "?reason=lost")
    assert answer.json == "1 build cleaned."
    batch = answer.headers["Content-Location"][-36:]
    assert undo(host, f"?batch={batch}").status_code == 400
    assert undo(host, f"?batch={batch}&reason=wrong").json == {"undone": 1, "left": []}


def test_a_batch_is_undone_by_a_batch_of_its_own(stuck_host: Host) -> None:
    rows = [stuck_host.row(one) for one in (1, 2, 3)]
    batch = clean(stuck_host).headers["Content-Location"][-36:]
    preview = undo(stuck_host, f"?batch={batch}&dry_run=true")
    assert preview.json == {"undone": 3, "left": []}
    assert "Content-Location" not in preview.headers
    assert len(stuck_host.recorded()) == 3
    answer = undo(stuck_host, f"?batch={batch}&reason=too+early")
    assert answer.json == {"undone": 3, "left": []}
    assert [stuck_host.row(one) for one in (1, 2, 3)] == rows  # NULLs included
    path, _, own = answer.headers["Content-Location"].partition("?batch=")
    assert (path, own == batch) == (f"{PREFIX}/revisions", False)
    assert {one["reason"] for one in changes(stuck_host, f"?batch={own}").json} == {"too early"}
    again = undo(stuck_host, f"?batch={batch}").json
    assert (again["undone"], len(again["left"])) == (0, 3)
    assert undo(stuck_host, f"?batch={own}").json == {"undone": 3, "left": []}


def test_of_a_batch_what_does_not_stand_is_left_alone(stuck_host: Host) -> None:
    batch = clean(stuck_host).headers["Content-Location"][-36:]
    stuck_host.execute("UPDATE builds SET status = 'killed' WHERE id = 1")
    stuck_host.execute("DELETE FROM builds WHERE id = 2")
    answer: Any = undo(stuck_host, f"?batch={batch}").json
    assert answer["undone"] == 1
    left = {one["build_id"]: one for one in answer["left"]}
    assert left[1]["error"].startswith("Changed since that revision: status.")
    assert left[2]["error"] == "There is no such build."
    recorded = {one["build_id"]: one["id"] for one in stuck_host.recorded()[:3]}
    assert {one: left[one]["revision"] for one in left} == {one: recorded[one] for one in (1, 2)}


@pytest.mark.parametrize(
    ("query", "options", "status", "error"),
    [
        ("", {}, 400, "batch: missing"),
        ("?batch=unknown", {}, 404, "There is no such batch."),
        ("?batch=unknown&hots=1", {}, 400, "hots: unknown parameter"),
        ("?batch=a&batch=b", {}, 400, "batch: more than once"),
        ("?batch=a", {"json": {"id": 1}}, 400, "id: unknown"),
        ("?batch=a", {"headers": {"Sec-Fetch-Site": "cross-site"}}, 401, None),
    ],
)
def test_an_undo_of_a_batch_that_is_refused(
    stuck_host: Host, query: str, options: dict[str, Any], status: int, error: str | None
) -> None:
    answer = undo(stuck_host, query, **options)
    assert answer.status_code == status
    assert error in (None, answer.json["error"])


def test_the_changes_of_all_builds(make_host: MakeHost, database_url: str) -> None:
    actor = iter(["mona", "Mona", "hubot", None])
    rows = [stuck(1), stuck(2)]
    host = make_host(
        database_url, rows=rows, history=BuildRevision, actor=lambda: next(actor, None)
    )
    for number, status in ((1, "error"), (2, "error"), (1, "killed"), (2, "killed")):
        assert host.put(stuck(number, status=status)).status_code == 200
    listed = changes(host).json
    assert [one["id"] for one in listed] == [4, 3, 2, 1]
    assert list(listed[0]) == [
        *("id", "build_id", "at", "actor", "reason", "batch", "changes"),
        "changed_outside",
    ]
    for query, ids in {
        "?build_id=2": [4, 2],
        "?build_id=3": [],
        "?build_id=x": [],
        "?actor=mona": [1],
        "?actor=hubot&build_id=1": [3],
        "?limit=2": [4, 3],
        "?below=3": [2, 1],
        "?batch=x": [],
    }.items():
        assert [one["id"] for one in changes(host, query).json] == ids, query
    host.execute("DELETE FROM builds WHERE id = 2")
    assert [one["id"] for one in changes(host, "?build_id=2").json] == [4, 2]
    assert host.revisions(2).status_code == 404
    first = changes(host, "?limit=3&before=99999999999")
    assert first.headers["Link"] == (
        f'<{PREFIX}/revisions?limit=3&before=99999999999&below=2>; rel="next"'
    )
    assert "Link" not in changes(host, "?limit=4").headers
    assert changes(host, "?actor=mona&build_id=1&limit=1").json == [listed[3]]


@pytest.mark.parametrize("aware", [True, False])
def test_the_changes_of_a_time(make_host: MakeHost, database_url: str, aware: bool) -> None:
    model = model_of()
    history = history_of(model, at=sa.Column(sa.DateTime(timezone=aware), nullable=False))
    host = make_host(database_url, model=model, rows=[row_of()], history=history)
    with host.engine.begin() as connection:
        for second in (10, 20, 30):
            at = datetime.fromtimestamp(LONG_AGO + second, UTC)
            row = {"build_id": 1, "at": at if aware else at.replace(tzinfo=None)}
            connection.execute(sa.insert(history), row | {"before": OCTOCAT, "after": OCTOCAT})
    for query, ids in {
        f"?before={LONG_AGO + 30}": [2, 1],
        f"?after={LONG_AGO + 10}": [3, 2],
        f"?after={LONG_AGO + 10}&before={LONG_AGO + 30}": [2],
        f"?after={LONG_AGO + 30}": [],
    }.items():
        assert [one["id"] for one in changes(host, query).json] == ids, query


def test_programs_clean_and_undo_without_flask(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, rows=[stuck(n) for n in (1, 2, 3)], history=BuildRevision)
    store = BuildStore(host.model, host.session, history=BuildRevision, clean_status="killed")
    steps: list[None] = []
    result = store.clean(
        BuildFilter(members={"status": "running"}),
        ChangeOptions(actor="cron", batch="b"),
        message="gone",
        build_ids=["3", "1"],
        on_progress=lambda: steps.append(None),
    )
    assert (result.batch, [one.build_id for one in result.changed]) == ("b", [3, 1])
    assert (result.failed, result.more, len(steps)) == ([], False, 2)
    assert statuses(host) == {1: "killed", 2: "running", 3: "killed"}
    with pytest.raises(InvalidBuild, match="error: holds U"):
        store.clean(message="\0")
    with pytest.raises(InvalidParameter, match="no column of the builds"):
        store.clean(BuildFilter(members={"nothing": 1}))
    with pytest.raises(InvalidParameter, match="batch: not 1 to 36 visible characters"):
        store.clean(options=ChangeOptions(batch="a\n"))
    undone = store.undo_batch("b", ChangeOptions(actor="mona"))
    assert [one.build_id for one in undone.changed] == [1, 3]


def test_a_configuration_that_cannot_be_ends_a_batch(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, rows=[stuck(n) for n in (1, 2, 3)])

    def refuse(sender: Any, build: Any, **_: Any) -> None:
        if build.id == 2:
            raise ConfigurationError("no such thing")

    with build_updating.connected_to(refuse), pytest.raises(ConfigurationError, match="no such"):
        host.blueprint.store.clean()
    assert statuses(host) == {1: "error", 2: "running", 3: "running"}


def test_programs_set_several_builds(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, rows=[stuck(n) for n in (1, 2, 3)], history=BuildRevision)
    store = host.blueprint.store

    def only_running(document: Mapping[str, Any]) -> None:
        if document["id"] == 2:
            raise InvalidParameter({"id": ["not this one"]})

    options = ChangeOptions(precondition=only_running)
    result = store.set(["1", "2", "3", "4", "x"], {"status": "killed", "error": "x"}, options)
    assert [one.build_id for one in result.changed] == [1, 3]
    assert [(one.build_id, one.problem) for one in result.failed] == [
        (2, "id: not this one"),
        (4, "There is no such build."),
        ("x", "There is no such build."),
    ]
    assert {one["batch"] for one in host.recorded()} == {result.batch}
    assert store.set(["1", "3"], {"status": "killed"}).changed == []
    refused = store.set(["1"], {"repo_id": 0, "unknown": 1})
    assert refused.failed[0].problem == "unknown: unknown"
