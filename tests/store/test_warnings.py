"""What cannot be of a build: shown by every preview, refused where the host wants that."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import fields

from flask_build_admin import BuildSchema, Text, UnixTime, WholeNumber, build_updating
from flask_build_admin.exceptions import ImpossibleBuild
from flask_build_admin.store import BuildWarning
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    BuildRevision,
    Host,
    history_of,
    model_of,
    row_of,
    stuck,
)

MakeHost = Callable[..., Host]

PREFIX = URL.removesuffix("/build")

FINAL = "the status is final, but finished is 0"
NOT_FINAL = "the status is not final, but finished is not 0"

#: Seconds in order, all in the past.
T1, T2, T3 = 1563474077, 1563474078, 1563474079

HOUR = 3600

#: A build without a warning.
DONE = {"status": "success", "created": T1, "enqueued": T1, "started": T2, "finished": T3}

STATUS = ["status", "finished"]

#: What a build has, and what cannot be of it.
PROBES: dict[str, tuple[dict[str, Any], list[tuple[list[str], str]]]] = {
    "nothing": ({}, []),
    "finished with the start": ({"finished": T2}, []),
    "finished before the start": (
        {"finished": T1},
        [(["started", "finished"], "finished is before started")],
    ),
    "started with the creation": ({"started": T1}, []),
    "started before the creation": (
        {"started": T1 - 1},
        [(["created", "started"], "started is before created")],
    ),
    "both": (
        {"started": T1 - 1, "finished": T1 - 2},
        [
            (["started", "finished"], "finished is before started"),
            (["created", "started"], "started is before created"),
        ],
    ),
    "never started": ({"started": 0}, []),
    "never created": ({"created": 0}, []),
    "finished a bit before the creation": ({"started": 0, "finished": T1 - 1}, []),
    "final, and not finished": ({"finished": 0}, [(STATUS, FINAL)]),
    "running, and finished": ({"status": "running"}, [(STATUS, NOT_FINAL)]),
    "pending, and finished": ({"status": "pending"}, [(STATUS, NOT_FINAL)]),
    "running": ({"status": "running", "finished": 0}, []),
    "pending": ({"status": "pending", "started": 0, "finished": 0}, []),
    "enqueued before the creation": ({"enqueued": 1}, []),
    "finished before the start, and running": (
        {"status": "running", "finished": 1},
        [
            (["started", "finished"], "finished is before started"),
            (STATUS, NOT_FINAL),
        ],
    ),
}


def warnings(probed: list[tuple[list[str], str]]) -> list[dict[str, Any]]:
    return [{"members": members, "warning": warning} for members, warning in probed]


def preview(host: Host, document: Any, **query: str) -> Any:
    return host.put(document, query_string=query | {"dry_run": "true"})


@pytest.mark.parametrize(("members", "expected"), PROBES.values(), ids=PROBES)
def test_a_preview_says_what_cannot_be(
    make_host: MakeHost, sqlite_url: str, members: dict[str, Any], expected: Any
) -> None:
    host = make_host(sqlite_url, rows=[OCTOCAT | DONE])
    document = OCTOCAT | DONE | members
    assert preview(host, document).json["warnings"] == warnings(expected)
    # It is stored all the same, and what the row has is shown with any other change.
    assert host.put(document).status_code == 200
    assert preview(host, document | {"title": "x"}).json["warnings"] == warnings(expected)
    assert preview(host, OCTOCAT | DONE).json["warnings"] == []
    found = host.blueprint.store.warnings_of(document)
    assert [one.document for one in found] == warnings(expected)


@pytest.mark.parametrize("member", ["enqueued", "created", "started", "finished"])
def test_a_time_in_the_future_but_not_by_a_clock_that_is_ahead(
    make_host: MakeHost, sqlite_url: str, member: str
) -> None:
    host = make_host(sqlite_url, rows=[OCTOCAT | DONE])
    now = int(time.time())

    def of(second: int) -> list[BuildWarning]:
        found = host.blueprint.store.warnings_of(OCTOCAT | DONE | {member: second})
        return [one for one in found if one.members == (member,)]

    assert of(now) == of(now + 30) == []
    assert of(now + 90) == [BuildWarning((member,), f"{member} is in the future")]


class Moments(BuildSchema):
    started = UnixTime()
    finished = UnixTime(allow_none=True)
    deadline = UnixTime(attribute="due")
    created = fields.String()


def test_the_times_are_those_that_the_schema_has(make_host: MakeHost, database_url: str) -> None:
    names = ("started", "finished", "due")
    model = model_of(
        *names, created=sa.Column(sa.String(30)), **{one: sa.Column(sa.DateTime) for one in names}
    )
    later = datetime.fromtimestamp(time.time()) + timedelta(days=2)
    row = row_of(
        *names,
        created="tomorrow",
        started=datetime(2020, 1, 2),
        finished=datetime(2020, 1, 1),
        due=later.replace(microsecond=0),
        status="success",
    )
    host = make_host(database_url, model=model, schema=Moments, rows=[row])
    document = host.get().json
    expected = [
        (["started", "finished"], "finished is before started"),
        (["deadline"], "deadline is in the future"),
    ]
    assert preview(host, document).json["warnings"] == warnings(expected)
    changed = preview(host, document | {"finished": None}).json
    assert changed["warnings"] == warnings([expected[1], (STATUS, FINAL)])


class Kinds(BuildSchema):
    status = WholeNumber()


class TextEnd(BuildSchema):
    finished = Text()


class Bare(BuildSchema):
    class Meta:
        exclude = ("finished", "started")


@pytest.mark.parametrize(
    "options",
    [
        {"queue_statuses": ()},
        {"schema": Bare},
        {"schema": TextEnd, "model": model_of(finished=sa.Column(sa.String(20))), "finished": ""},
        {"schema": Kinds, "model": model_of(status=sa.Column(sa.Integer)), "status": 3},
    ],
    ids=["no queue", "no finished", "finished is text", "status is no text"],
)
def test_where_the_status_says_nothing_it_is_not_judged(
    make_host: MakeHost, sqlite_url: str, options: dict[str, Any]
) -> None:
    ends = {name: options.get(name, 0) for name in ("finished",)}
    status = {"status": options.get("status", "success")}
    options = {name: options[name] for name in options if name not in ("status", "finished")}
    host = make_host(sqlite_url, rows=[row_of(**ends, **status)], **options)
    document = host.get().json
    assert preview(host, document | {"title": "x"}).json["warnings"] == []


def test_the_statuses_are_those_of_the_queue(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, queue_statuses=("created", "waiting"))
    running = OCTOCAT | {"status": "running"}
    assert preview(host, running).json["warnings"] == warnings([(STATUS, FINAL)])
    waiting = OCTOCAT | {"status": "waiting", "finished": T3}
    assert warnings([(STATUS, NOT_FINAL)])[0] in preview(host, waiting).json["warnings"]


@pytest.fixture
def strict(make_host: MakeHost, database_url: str) -> Host:
    """A host that refuses warnings, with builds that have some."""
    rows = [
        OCTOCAT | DONE,
        stuck(2),
        OCTOCAT | DONE | {"id": 3, "number": 3, "finished": T1},
        stuck(4, created=int(time.time()) + HOUR, started=int(time.time()) + HOUR),
    ]
    return make_host(
        database_url, rows=rows, history=BuildRevision, refuse_warnings=True, actor=lambda: "mona"
    )


def test_a_host_may_refuse_what_cannot_be(strict: Host) -> None:
    impossible = OCTOCAT | DONE | {"started": T1 - 1, "finished": T1 - 2}
    for query in ({}, {"dry_run": "true"}, {"force": "false"}):
        answer = strict.put(impossible, query_string=query)
        assert answer.status_code == 400
        assert answer.json == {
            "error": "Refused, unless you force it: finished is before started; started is before"
            " created.",
            "fields": {
                "started": ["finished is before started", "started is before created"],
                "finished": ["finished is before started"],
                "created": ["started is before created"],
            },
        }
    assert strict.row() == OCTOCAT | DONE
    assert strict.recorded() == []


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        (None, "(forced: finished is before started)"),
        ("clock was wrong", "clock was wrong (forced: finished is before started)"),
        ("x" * 980, f"{'x' * 980} (forced)"),
    ],
)
def test_it_can_be_forced_and_the_reason_says_so(
    strict: Host, reason: str | None, kept: str
) -> None:
    query = {"force": "true"} | ({} if reason is None else {"reason": reason})
    impossible = OCTOCAT | DONE | {"finished": T1}
    previewed = preview(strict, impossible, **query).json
    expected = warnings([(["started", "finished"], "finished is before started")])
    assert (previewed["reason"], previewed["warnings"]) == (kept, expected)
    assert strict.put(impossible, query_string=query).json == impossible
    assert [one["reason"] for one in strict.recorded()] == [kept]
    assert strict.revisions().json[0]["reason"] == kept


def test_a_reason_that_leaves_no_room_to_say_so_is_refused(strict: Host) -> None:
    query = {"force": "true", "reason": "x" * 995}
    answer = strict.put(OCTOCAT | DONE | {"finished": T1}, query_string=query)
    assert (answer.status_code, answer.json) == (
        400,
        {"error": "reason: longer than 1000 characters"},
    )
    assert strict.row() == OCTOCAT | DONE


def test_what_the_change_does_not_touch_is_not_refused(strict: Host) -> None:
    build = strict.get(3).json
    previewed = preview(strict, build | {"title": "x"})
    assert previewed.json["warnings"] == warnings(
        [(["started", "finished"], "finished is before started")]
    )
    assert strict.put(build | {"title": "x"}).status_code == 200
    assert strict.put(build | {"started": T3 + 1}).status_code == 400
    assert strict.put(build | {"finished": T3}).status_code == 200
    assert strict.recorded()[0]["reason"] is None
    query = {"force": "true", "reason": "why not"}
    assert strict.put(strict.get(1).json | {"title": "y"}, query_string=query).status_code == 200
    assert strict.recorded()[-1]["reason"] == "why not"  # nothing was forced


def test_of_a_receiver_too(strict: Host) -> None:
    def finish(sender: Any, build: Any, **told: Any) -> None:
        build.finished = 0

    with build_updating.connected_to(finish, strict.app):
        answer = strict.put(OCTOCAT | DONE | {"title": "x"})
    assert answer.json["error"] == f"Refused, unless you force it: {FINAL}."
    assert strict.row() == OCTOCAT | DONE


def test_an_undo_is_a_change_like_any_other(strict: Host) -> None:
    running = OCTOCAT | DONE | {"status": "running", "finished": 0}
    assert strict.put(running).status_code == 200
    strict.execute("UPDATE builds SET created = :at WHERE id = 1", at=T3 + 1)
    assert strict.undo(1).status_code == 200  # it touches neither created nor started
    strict.execute("UPDATE builds SET created = :at, started = :at WHERE id = 1", at=T3 + 1)
    assert strict.undo(2).status_code == 200
    assert strict.undo(3).status_code == 400
    assert strict.undo(3, query_string={"force": "true"}).status_code == 200
    assert strict.recorded()[-1]["reason"] == "(forced: finished is before started)"


def test_of_many_builds_only_those_are_left_that_it_is_of(strict: Host) -> None:
    def clean(query: str) -> Any:
        return strict.client.put(f"{PREFIX}/clean?before=9999999999{query}", headers=ADMIN)

    problem = "Refused, unless you force it: finished is before started"
    for query, done in (("&dry_run=true", "would be cleaned"), ("", "cleaned")):
        assert clean(query).json == f"1 build {done}. 1 build not {done}: 4 ({problem})."
    assert strict.row(2)["status"] == "error"
    assert strict.row(4)["status"] == "running"
    assert clean("&force=true").json == (
        "1 build cleaned. What cannot be: 4 (finished is before started, created is in the"
        " future, started is in the future)."
    )
    assert strict.recorded()[-1]["reason"].startswith("(forced: finished is before started")


def test_a_clean_names_what_cannot_be_before_it_is_done(
    make_host: MakeHost, sqlite_url: str
) -> None:
    later = int(time.time()) + HOUR
    rows = [stuck(one, created=later if one < 23 else T1) for one in range(1, 24)]
    host = make_host(sqlite_url, rows=rows)
    answer: Any = host.client.put(f"{PREFIX}/clean?before=9999999999&dry_run=true", headers=ADMIN)
    first, _, rest = answer.json.partition(" What cannot be: ")
    assert first == "23 builds would be cleaned."
    named = rest.split("), ")
    assert named[0] == "1 (started is before created, created is in the future"
    assert len(named) == 21
    assert named[-1] == "and 2 more."


def test_the_store_refuses_and_names_them(strict: Host) -> None:
    impossible = OCTOCAT | DONE | {"finished": T1}
    with pytest.raises(ImpossibleBuild, match="finished is before started") as refused:
        strict.blueprint.store.overwrite(impossible)
    assert refused.value.status == 400
    assert refused.value.fields is not None
    assert {*refused.value.fields} == {"started", "finished"}


def test_history_of_no_reason_column_limit(make_host: MakeHost, sqlite_url: str) -> None:
    model = model_of()
    history = history_of(model, reason=sa.Column(sa.Text))
    options = {"model": model, "history": history, "refuse_warnings": True}
    host = make_host(sqlite_url, rows=[row_of(**DONE)], **options)
    query = {"force": "true", "reason": "x" * 5000}
    assert host.put(OCTOCAT | DONE | {"finished": 0}, query_string=query).status_code == 200
    assert host.recorded()[0]["reason"] == f"{'x' * 5000} (forced: {FINAL})"
