"""Every change of a build leaves a revision: what was changed, when, by whom and why."""

from __future__ import annotations

import enum
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from flask import abort
from marshmallow import fields
from sqlalchemy.orm import (
    DeclarativeBase,
    MappedAsDataclass,
    Session,
    declarative_base,
    mapped_column,
)

from flask_build_admin import (
    BuildAdmin,
    BuildRevisionMixin,
    BuildSchema,
    BuildStore,
    Text,
    UnixTime,
    build_updating,
)
from flask_build_admin.exceptions import ConfigurationError
from tests.support.databases import on_mariadb
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    Build,
    BuildRevision,
    Host,
    anybody,
    history_of,
    model_of,
    row_of,
)
from tests.support.statements import LOCK, outline

MakeHost = Callable[..., Host]

CHANGED = OCTOCAT | {"status": "error", "finished": 1563474099}
CHANGES = {
    "status": {"before": "created", "after": "error"},
    "finished": {"before": 0, "after": 1563474099},
}


def put(host: Host, document: Any = CHANGED, **query: str) -> Any:
    return host.put(document, query_string=query)


def test_a_change_leaves_a_revision(kept: Host) -> None:
    earliest = int(time.time())
    assert put(kept, reason="worker läuft nicht 🤷").json == CHANGED
    [row] = kept.recorded()
    assert row["before"] == OCTOCAT
    assert row["after"] == CHANGED == kept.row()
    assert list(row["before"]) == list(row["after"]) == list(OCTOCAT)
    assert row["at"].microsecond == 0
    listed = kept.revisions()
    assert listed.status_code == 200
    assert listed.mimetype == "application/json"
    assert listed.headers["Cache-Control"] == "no-store"
    assert "Link" not in listed.headers
    [revision] = listed.json
    assert earliest <= revision["at"] <= time.time()
    assert list(revision) == [
        *("id", "build_id", "at", "actor", "reason", "batch", "changes"),
        "changed_outside",
    ]
    assert revision == {
        "id": row["id"],
        "build_id": 1,
        "at": revision["at"],
        "actor": "mona",
        "reason": "worker läuft nicht 🤷",
        "batch": None,
        "changes": CHANGES,
        "changed_outside": {},
    }
    assert list(revision["changes"]) == ["status", "finished"]


def test_a_put_that_changes_nothing_or_is_refused_leaves_none(kept: Host) -> None:
    assert put(kept, OCTOCAT).status_code == 200
    assert put(kept, OCTOCAT | {"number": 0}).status_code == 400
    assert put(kept, OCTOCAT | {"id": 2}).status_code == 404
    stale = ADMIN | {"If-Match": '"stale"'}
    assert kept.client.put(URL, json=CHANGED, headers=stale).status_code == 412
    assert kept.recorded() == []
    assert kept.revisions().json == []


def test_a_change_and_its_revision_are_stored_together_or_not_at_all(kept: Host) -> None:
    def refuse(sender: Any, **told: Any) -> None:
        abort(409, "Frozen.")

    with build_updating.connected_to(refuse, kept.app):
        assert put(kept).status_code == 409
    assert kept.recorded() == []
    kept.execute("DROP TABLE build_revisions")
    answer = put(kept)
    assert answer.status_code == 500
    assert answer.json == {"error": "The database failed to handle the request."}
    assert kept.row() == OCTOCAT
    kept.create_tables()
    assert put(kept).json == CHANGED


def test_history_costs_one_insert(kept: Host, database: str) -> None:
    with kept.statements() as sent:
        assert put(kept).status_code == 200
    assert outline(sent) == ["BEGIN", *LOCK[database], "UPDATE", "INSERT", "COMMIT"]
    with kept.statements() as sent:
        assert put(kept).status_code == 200
    assert outline(sent) == ["BEGIN", *LOCK[database], "COMMIT"]


def test_without_history_nothing_is_kept_and_its_routes_do_not_exist(host: Host) -> None:
    assert put(host, reason="for the log").json == CHANGED
    for answer in (host.revisions(), host.undo(1)):
        assert (answer.status_code, answer.json) == (404, {"error": "There is no such path."})
    store = BuildStore(Build, host.session)
    for call in (lambda: store.revisions("1"), lambda: store.undo("1", 1)):
        with pytest.raises(ConfigurationError, match="pass history="):
            call()


def test_a_null_is_kept_as_null_and_shown_as_its_zero(
    make_host: MakeHost, database_url: str
) -> None:
    rows = [OCTOCAT | {"finished": None, "deploy": None}]
    host = make_host(database_url, rows=rows, history=BuildRevision)
    assert put(host, CHANGED).status_code == 200
    [row] = host.recorded()
    assert row["before"] == OCTOCAT | {"finished": None, "deploy": None}
    assert row["after"] == CHANGED | {"deploy": None}
    [revision] = host.revisions().json
    assert revision["changes"] == CHANGES
    assert (revision["actor"], revision["reason"]) == (None, None)


def test_the_newest_come_first_a_page_at_a_time(kept: Host) -> None:
    for number in range(1, 8):
        assert put(kept, OCTOCAT | {"parent": 10 + number}).status_code == 200
    ids = [row["id"] for row in reversed(kept.recorded())]
    assert [one["id"] for one in kept.revisions().json] == ids
    seen = []
    url = f"{URL}/1/revisions?limit=3"
    for length in (3, 3, 1):
        page: Any = kept.client.get(url, headers=ADMIN)
        assert len(page.json) == length
        seen += [one["id"] for one in page.json]
        link = page.headers.get("Link", "")
        url, _, relation = link.removeprefix("<").partition(">; ")
        assert relation == ('rel="next"' if length == 3 else "")
        assert url.startswith(f"{URL}/1/revisions?limit=3&before=" if length == 3 else "")
    assert seen == ids
    assert kept.get("1/revisions", query_string={"limit": 7}).headers.get("Link") is None
    assert kept.get("1/revisions", query_string={"before": ids[-1]}).json == []
    assert kept.get("1/revisions/", query_string={"limit": 1}).json[0]["id"] == ids[0]


def test_fifty_are_a_page_and_two_hundred_the_largest(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    row = {"build_id": 1, "at": datetime.now(UTC), "before": OCTOCAT, "after": CHANGED}
    with host.engine.begin() as connection:
        connection.execute(sa.insert(BuildRevision), [row] * 201)
        connection.execute(sa.insert(BuildRevision), [row | {"build_id": 2}])
    assert len(host.revisions().json) == 50
    assert (
        host.revisions().headers["Link"] == f'<{URL}/1/revisions?limit=50&before=152>; rel="next"'
    )
    largest = host.revisions(query_string={"limit": 200})
    assert [one["id"] for one in largest.json] == list(range(201, 1, -1))
    assert host.revisions(query_string={"limit": 201}).status_code == 400


@pytest.mark.parametrize("name", ["batch", "actor"])
def test_no_revision_has_what_no_text_may_have(kept: Host, name: str) -> None:
    assert put(kept).status_code == 200
    url = f"{URL.removesuffix('/build')}/revisions"
    answer = kept.client.get(url, headers=ADMIN, query_string={name: "a\0b"})
    assert (answer.status_code, answer.json) == (200, [])
    lost = kept.client.get(url, headers=ADMIN, query_string={name: "a\0b", "overwritten": "true"})
    assert (lost.status_code, lost.json) == (200, [])
    undone = kept.client.post(f"{url}/undo", headers=ADMIN, query_string={"batch": "a\0b"})
    assert (undone.status_code, undone.json) == (404, {"error": "There is no such batch."})


def test_the_link_is_below_the_script_root(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    for parent in (5, 6):
        put(host, OCTOCAT | {"parent": parent})
    environ = {"SCRIPT_NAME": "/c i"}
    page = host.revisions(query_string={"limit": 1}, environ_overrides=environ)
    assert page.headers["Link"].startswith(f"</c%20i{URL}/1/revisions?limit=1&before=2>")


def test_a_revision_outlives_its_build_but_is_shown_with_it_only(kept: Host) -> None:
    assert put(kept).status_code == 200
    kept.execute("DELETE FROM builds")
    assert len(kept.recorded()) == 1
    assert kept.revisions().json == {"error": "There is no such build."}
    assert kept.revisions().status_code == kept.undo(1).status_code == 404


#: A column of a revision, what is in it in SQL, what it cannot be converted for, and the databases
#: that have it; None: all of them.
MALFORMED = {
    "an_empty_array": ("before", "'[]'", "TypeError", None),
    "an_array": ("after", "'[1]'", "TypeError", None),
    "a_text": ("before", "'\"status\"'", "TypeError", None),
    "an_empty_text": ("after", "'\"\"'", "TypeError", None),
    "null": ("before", "'null'", "TypeError", None),
    "a_number": ("after", "'7'", "TypeError", None),
    "no_json": ("after", "'{'", "JSONDecodeError", {"sqlite"}),
    "nothing": ("before", "''", "JSONDecodeError", {"sqlite"}),
    "a_number_that_is_too_long": (
        "before",
        f"""'{{"number": {"9" * 5000}}}'""",
        "ValueError",
        {"sqlite", "postgresql"},
    ),
    "a_half_character": (
        "after",
        r"""'{"title": "\ud800"}'""",
        "UnicodeEncodeError",
        {"sqlite", "postgresql"},
    ),
    "no_number": ("after", """'{"number": NaN}'""", "ValueError", {"sqlite"}),
    "no_number_in_a_text": ("after", """'{"title": NaN}'""", "ValueError", {"sqlite"}),
    "no_moment": ("at", "'yesterday'", "ValueError", {"sqlite"}),
    "no_moment_of_python": ("at", "'infinity'", "DataError", {"postgresql"}),
    "bytes": ("actor", "x'ff'", "TypeError", {"sqlite"}),
    "no_utf_8": ("reason", "CAST(x'ff' AS TEXT)", "OperationalError", {"sqlite"}),
}


@pytest.mark.parametrize(
    ("column", "value", "problem", "databases"), MALFORMED.values(), ids=MALFORMED
)
def test_a_revision_that_cannot_be_read_hides_no_other(
    kept: Host,
    database: str,
    caplog: pytest.LogCaptureFixture,
    column: str,
    value: str,
    problem: str,
    databases: set[str] | None,
) -> None:
    if databases is not None and database not in databases:
        pytest.skip("no such value")
    for parent in (11, 12, 13, 14):
        assert put(kept, OCTOCAT | {"parent": parent}).status_code == 200
    first, broken, third, last = (row["id"] for row in kept.recorded())
    table: Any = BuildRevision.__table__
    malformed = sa.update(table).values({column: sa.literal_column(value)})
    with kept.engine.begin() as connection:
        connection.execute(malformed.where(table.c.id == broken))
    told = f"revision {broken} cannot be read: {problem}"
    caplog.clear()
    assert [one["id"] for one in kept.revisions().json] == [last, third, first]
    assert caplog.messages == [told]
    page = kept.revisions(query_string={"limit": 2})
    assert [one["id"] for one in page.json] == [last, third]
    assert f"before={third}>" in page.headers["Link"]
    page = kept.revisions(query_string={"limit": 2, "before": third})
    assert [one["id"] for one in page.json] == [first]
    assert "Link" not in page.headers
    caplog.clear()
    answer = kept.undo(broken)
    assert answer.status_code == 404
    assert answer.json == {"error": "This revision of the build cannot be read."}
    assert caplog.messages == [told]
    assert kept.undo(last).json == OCTOCAT | {"parent": 13}
    with kept.engine.begin() as connection:
        connection.execute(malformed)
    assert kept.revisions().json == []
    assert "Link" not in kept.revisions(query_string={"limit": 1}).headers
    assert put(kept).json == CHANGED
    assert [one["changes"] for one in kept.revisions().json] == [
        CHANGES | {"parent": {"before": 13, "after": 1}}
    ]


def test_head_answers_as_get_without_the_body(kept: Host) -> None:
    answer = kept.client.head(f"{URL}/1/revisions", headers=ADMIN)
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == kept.revisions().headers["Content-Length"]


def test_what_a_receiver_changes_is_in_the_revision(kept: Host) -> None:
    def sign(sender: Any, build: Any, **told: Any) -> None:
        build.message = f"repaired because of {told['reason']}"

    with build_updating.connected_to(sign, kept.app):
        assert put(kept, reason="a fire").status_code == 200
    [row] = kept.recorded()
    assert row["after"] == kept.row() == CHANGED | {"message": "repaired because of a fire"}
    assert kept.revisions().json[0]["changes"].keys() == {"status", "finished", "message"}


#: A zero width space, a soft hyphen, a Hangul filler, blank Braille, a variation selector, a tag.
UNSEEN = "\u200b\u00ad\u3164\u2800\ufe0f\U000e0067"

REASONS: dict[str, tuple[str, str | None]] = {
    "plain": ("reason=worker+lost", "worker lost"),
    "percent_encoded": ("reason=worker%20lost%21", "worker lost!"),
    "utf_8": ("reason=%F0%9F%A4%B7", "🤷"),
    "an_equals_sign": ("reason=a=b", "a=b"),
    "as_long_as_the_column": (f"reason={'x' * 1000}", "x" * 1000),
    "as_long_in_astral": (f"reason={'%F0%9F%A4%B7' * 1000}", "🤷" * 1000),
    "two_lines": ("reason=a%0Ab%1B", "a\nb\x1b"),
    "one_too_long": (f"reason={'x' * 1001}", None),
    "empty": ("reason=", None),
    "bare": ("reason", None),
    "blank": ("reason=+%09%0A", None),
    "unseen": (f"reason={quote(UNSEEN)}", None),
    "seen": (f"reason={quote(UNSEEN + '🏴' + UNSEEN)}", f"{UNSEEN}🏴{UNSEEN}"),
    "nul": ("reason=a%00b", None),
    "not_utf_8": ("reason=%FF", None),
    "surrogate": ("reason=%ED%A0%80", None),
    "half_an_escape": ("reason=50%", None),
    "wrong_in_two_ways": (f"reason={'%00' * 1001}", None),
    "twice": ("reason=a&reason=b", None),
    "twice_alike": ("reason=a&reason=a", None),
}


@pytest.mark.parametrize(("query", "reason"), REASONS.values(), ids=REASONS)
def test_a_reason_is_kept_as_sent_or_refused(kept: Host, query: str, reason: str | None) -> None:
    answer: Any = kept.client.put(f"{URL}?{query}", json=CHANGED, headers=ADMIN)
    if reason is None:
        assert answer.status_code == 400
        assert list(answer.json) == ["error"]
        assert kept.row() == OCTOCAT
        assert kept.recorded() == []
    else:
        assert answer.json == CHANGED
        assert kept.recorded()[0]["reason"] == reason
        assert kept.revisions().json[0]["reason"] == reason


@pytest.mark.parametrize("history", [BuildRevision, None])
def test_a_reason_may_be_demanded(
    make_host: MakeHost, sqlite_url: str, history: type[Any] | None
) -> None:
    host = make_host(sqlite_url, history=history, require_reason=True)
    refused = put(host)
    assert refused.status_code == 400
    assert refused.json == {"error": "reason: missing: a change needs one"}
    assert put(host, dry_run="true").status_code == 400
    assert host.row() == OCTOCAT
    assert put(host, reason="worker lost").json == CHANGED
    if history is not None:
        assert host.undo(1).status_code == 400
        assert host.undo(1, query_string={"reason": "it was not"}).json == OCTOCAT


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ("mona", "mona"),
        ("", ""),
        (17, "17"),
        (None, None),
        ("m\0n\ud800", r"m\x00n\ud800"),
        ("🤷" * 5000, "🤷" * 5000),
    ],
)
def test_no_name_keeps_an_administrator_from_a_repair(
    make_host: MakeHost, database_url: str, actor: Any, name: str | None
) -> None:
    host = make_host(database_url, history=BuildRevision, actor=lambda: actor)
    assert put(host).json == CHANGED
    assert host.revisions().json[0]["actor"] == name


def test_the_reason_is_told_to_receivers_and_escaped_in_the_log(
    kept: Host, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def receive(sender: Any, **told: Any) -> None:
        heard.append(told["reason"])

    caplog.set_level("INFO", "flask_build_admin")
    with build_updating.connected_to(receive, kept.app):
        assert put(kept, reason="a\nb\x1b[31m").status_code == 200
        assert put(kept, OCTOCAT).status_code == 200
    assert heard == ["a\nb\x1b[31m", None]
    assert caplog.messages == [
        r"build 1 updated by 'mona' because of 'a\nb\x1b[31m': status, finished",
        "build 1 updated by 'mona': status, finished",
    ]


class Status(enum.Enum):
    RUNNING = "running"
    ERROR = "error"


def test_a_host_with_other_ids_columns_and_values(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        id = fields.UUID(required=True)
        status = fields.Enum(Status, by_value=True, required=True)
        finished = UnixTime(attribute="finished_at")
        labels = fields.Raw(required=True, allow_none=True)
        author = Text(dump_only=True)

    model = model_of(
        "finished",
        finished_at=sa.Column(sa.DateTime),
        id=sa.Column(sa.Uuid, primary_key=True),
        status=sa.Column(sa.Enum(Status)),
        labels=sa.Column(sa.JSON),
    )
    history = history_of(
        model,
        build_id=sa.Column("of", sa.Uuid, index=True),
        reason=sa.Column("why", sa.String(5)),
        extra=sa.Column(sa.String(9), default="default"),
    )
    one, other = uuid.uuid4(), uuid.uuid4()
    row = row_of("finished", finished_at=None, status=Status.RUNNING, author=None, labels=sa.null())
    rows = [row | {"id": one}, row | {"id": other, "number": 2}]
    host = make_host(database_url, model=model, schema=Schema, history=history, rows=rows)
    shown = host.get(one).json
    assert (shown["id"], shown["status"], shown["labels"]) == (str(one), "running", None)
    changed = shown | {"status": "error", "finished": 5, "labels": ["a", {"b": 1}]}
    assert put(host, changed, reason="12345").json == changed
    assert put(host, changed, reason="123456").json == {"error": "reason: longer than 5 characters"}
    [recorded] = host.recorded()
    assert recorded["of"] == one
    assert recorded["why"] == "12345"
    assert recorded["extra"] == "default"
    nulls = {"finished": None, "labels": None, "author": None}
    assert recorded["before"] == shown | nulls
    assert recorded["after"] == changed | {"author": None}
    [revision] = host.revisions(one).json
    assert revision["build_id"] == str(one)
    assert revision["changes"] == {
        "status": {"before": "running", "after": "error"},
        "finished": {"before": 0, "after": 5},
        "labels": {"before": None, "after": ["a", {"b": 1}]},
    }
    assert host.revisions(other).json == []
    assert host.undo(revision["id"], other).status_code == 404
    assert host.undo(revision["id"], one).json == shown
    assert host.row(one) == row | {"id": one, "labels": None}
    with host.engine.connect() as connection:
        table = model.__table__
        empty = sa.select(table.c.id).where(table.c.labels.is_(sa.null()))
        assert set(connection.scalars(empty)) == {other}  # the column stores None as null of JSON


@on_mariadb
def test_two_builds_that_only_one_collation_tells_apart(
    make_host: MakeHost, server_url: str
) -> None:
    class Schema(BuildSchema):
        id = Text()

    model = model_of(id=sa.Column(sa.String(9, collation="utf8mb4_bin"), primary_key=True))
    history = history_of(model, build_id=sa.Column(sa.String(9), index=True))
    rows = [row_of(id="abc"), row_of(id="ABC", number=2)]
    host = make_host(server_url, model=model, schema=Schema, history=history, rows=rows)
    assert put(host, rows[1] | {"status": "error"}).status_code == 200
    [revision] = host.revisions("ABC").json
    assert host.revisions("abc").json == []
    assert host.undo(revision["id"], "abc").status_code == 404
    assert host.undo(revision["id"], "ABC").json == rows[1]


def test_the_order_of_the_members_is_the_documented_one_however_they_are_kept(
    make_host: MakeHost, sqlite_url: str
) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    after = {name: CHANGED[name] for name in sorted(CHANGED)} | {"another": 2}
    before = {name: OCTOCAT[name] for name in sorted(OCTOCAT)} | {"another": 1}
    row = {"build_id": 1, "at": datetime.now(UTC), "before": before, "after": after}
    with host.engine.begin() as connection:
        connection.execute(sa.insert(BuildRevision), [row])
    assert list(host.revisions().json[0]["changes"]) == ["status", "finished", "another"]


def test_revisions_in_another_database_are_refused(
    make_host: MakeHost, sqlite_url: str, tmp_path: Path
) -> None:
    elsewhere = sa.create_engine(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    host = make_host(sqlite_url, history=BuildRevision)
    host.session.configure(binds={Build: host.engine, BuildRevision: elsewhere})
    with pytest.raises(ConfigurationError, match="BuildRevision is in another database"):
        host.blueprint.store.overwrite(CHANGED)
    assert put(host).status_code == 500
    assert host.row() == OCTOCAT
    elsewhere.dispose()


def test_what_is_shown_without_an_attribute_is_kept_as_shown(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Schema(BuildSchema):
        runtime = fields.Constant("docker", dump_only=True)
        host = Text(attribute="place.name", dump_only=True)

    class Place:
        name = "here"

    model = model_of("runtime", "host", place=Place)
    host = make_host(
        sqlite_url,
        model=model,
        schema=Schema,
        history=history_of(model),
        rows=[row_of("runtime", "host")],
    )
    document = host.get().json
    assert (document["runtime"], document["host"]) == ("docker", "here")
    assert put(host, document | {"status": "error"}).status_code == 200
    assert host.recorded()[0]["before"] == document


def test_a_revision_of_a_former_schema_is_shown_as_it_was(
    make_host: MakeHost, sqlite_url: str
) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    before = {"id": 1, "priority": None, "status": "created"}
    after = {"id": 1, "priority": 5, "status": "error"}
    row = {"build_id": 1, "at": datetime.now(UTC), "before": before, "after": after}
    with host.engine.begin() as connection:
        connection.execute(sa.insert(BuildRevision), [row])
    assert host.revisions().json[0]["changes"] == {
        "priority": {"before": None, "after": 5},
        "status": {"before": "created", "after": "error"},
    }
    host.execute("UPDATE builds SET status = 'error'")
    refused = host.undo(1)
    assert refused.status_code == 400
    assert refused.json["fields"] == {"priority": ["unknown"]}
    assert host.row()["status"] == "error"


def test_a_naive_column_holds_utc_and_a_narrow_id_any_that_it_can(
    make_host: MakeHost, database_url: str
) -> None:
    model = model_of()
    history = history_of(
        model, at=sa.Column(sa.DateTime), id=sa.Column(sa.Integer, primary_key=True)
    )
    host = make_host(database_url, model=model, history=history)
    if host.engine.dialect.name in ZONES:
        set_zone(host)
    earliest = int(time.time())
    assert put(host).status_code == 200
    [revision] = host.revisions().json
    assert earliest <= revision["at"] <= time.time()
    assert host.revisions(query_string={"before": 3_000_000_000}).json == [revision]
    assert host.undo(3_000_000_000).status_code == 404


ZONES = {"postgresql": "SET TIME ZONE '+05:00'", "mysql": "SET time_zone = '+05:00'"}


def set_zone(host: Host) -> None:
    def connected(connection: Any, record: Any) -> None:
        connection.cursor().execute(ZONES[host.engine.dialect.name])
        connection.commit()

    sa.event.listen(host.engine, "connect", connected)
    host.engine.dispose()


def test_the_moment_is_one_of_utc(make_host: MakeHost, server_url: str) -> None:
    host = make_host(server_url, history=BuildRevision)
    set_zone(host)
    earliest = int(time.time())
    put(host)
    assert earliest <= host.revisions().json[0]["at"] <= time.time()
    at = host.recorded()[0]["at"]
    naive = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
    assert abs(datetime.now(UTC).replace(tzinfo=None) - naive) < timedelta(minutes=1)


def typed(base: Any) -> Any:
    class Revision(BuildRevisionMixin, base):  # type: ignore[misc]
        __tablename__ = "build_revisions"

    return Revision


@pytest.mark.parametrize(
    "make_base",
    [
        lambda: type("Base", (DeclarativeBase,), {}),
        declarative_base,
        lambda: type("Base", (MappedAsDataclass, DeclarativeBase), {}),
    ],
    ids=["typed", "classic", "dataclass"],
)
def test_the_mixin_works_with_any_declarative_base(
    make_host: MakeHost, sqlite_url: str, make_base: Callable[[], Any]
) -> None:
    base = make_base()
    history = typed(base)
    assert history.__table__.primary_key.columns.keys() == ["id"]
    assert next(iter(history.__table__.columns)).name == "id"
    indexed = [index.columns.keys() for index in history.__table__.indexes]
    assert sorted(indexed) == [["batch"], ["build_id"]]
    assert not history.__table__.foreign_keys
    host = make_host(sqlite_url, history=history)
    assert put(host).json == CHANGED
    assert host.revisions().json[0]["changes"] == CHANGES


def test_the_host_lists_the_routes_of_the_history(kept: Host) -> None:
    rules = [rule for rule in kept.app.url_map.iter_rules() if "revision" in rule.rule]
    assert {rule.endpoint for rule in rules} == {
        "build_admin.revisions",
        "build_admin.revisions_method_not_allowed",
        "build_admin.revisions_websocket",
        "build_admin.undo",
        "build_admin.undo_method_not_allowed",
        "build_admin.undo_websocket",
        "build_admin.all_revisions",
        "build_admin.all_revisions_method_not_allowed",
        "build_admin.all_revisions_websocket",
        "build_admin.undo_batch",
        "build_admin.undo_batch_method_not_allowed",
        "build_admin.undo_batch_websocket",
    }
    with kept.app.test_request_context():
        url = kept.app.url_for("build_admin.undo", build_id=1, revision_id=2)
    assert url == f"{URL}/1/revisions/2/undo"


class Plain:
    """A class that is not mapped."""


class Sparse(DeclarativeBase):
    pass


class WithoutReason(Sparse):
    __tablename__ = "sparse"

    id = sa.Column(sa.Integer, primary_key=True)
    build_id = sa.Column(sa.Integer)
    at = sa.Column(sa.DateTime)
    actor = sa.Column(sa.String(9))


WithTeam = history_of(model_of(), team=sa.Column(sa.String(9), nullable=False))


def with_column(name: str, kind: Any, **options: Any) -> type[Any]:
    """A table of revisions with one column of another type."""
    return history_of(model_of(), **{name: sa.Column(kind, **options)})


OF_STRINGS = model_of(id=sa.Column(sa.String(9), primary_key=True))


class TextId(BuildSchema):
    id = Text(empty=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"history": Plain}, "history=.*Plain.* no class mapped.*BuildRevisionMixin"),
        ({"history": True}, "history=True is no class mapped"),
        ({"history": BuildRevision.__table__}, "no class mapped"),
        ({"history": BuildRevisionMixin}, "no class mapped"),
        ({"history": WithTeam}, "BuildRevision.team is NOT NULL, but not every"),
        ({"history": WithoutReason}, "WithoutReason has no column 'reason'"),
        (
            {"model": OF_STRINGS, "schema": TextId, "history": BuildRevision},
            "BuildRevision.build_id holds int, but the id of a build is str.*index=True",
        ),
        (
            {"history": with_column("id", sa.String(36), primary_key=True)},
            "id holds str, not int: leave",
        ),
        ({"history": with_column("at", sa.BigInteger)}, "BuildRevision.at holds int, not datetime"),
        ({"history": with_column("actor", sa.Integer)}, "BuildRevision.actor holds int, not str"),
        ({"history": with_column("batch", sa.Uuid)}, "BuildRevision.batch holds UUID, not str"),
        ({"history": with_column("before", sa.Text)}, "BuildRevision.before holds str, not dict"),
        (
            {"history": with_column("after", sa.LargeBinary)},
            "BuildRevision.after holds bytes, not dict",
        ),
        (
            {"history": with_column("batch", sa.String(36), nullable=False)},
            "BuildRevision.batch is NOT NULL, but not every .* nullable, or give it a default",
        ),
        (
            {"history": with_column("batch", sa.String(10))},
            "BuildRevision.batch holds 10 characters, but a batch may have 36: leave it to",
        ),
        ({"auth_parameters": {"dry_run"}}, "auth_parameters has 'dry_run'.* another parameter"),
        ({"auth_parameters": "api_key"}, r"pass a tuple, auth_parameters=\('api_key',\)"),
    ],
)
def test_a_history_that_cannot_work_is_refused(options: dict[str, Any], told: str) -> None:
    good: dict[str, Any] = {"model": Build, "session": lambda: None, "auth": anybody}
    with pytest.raises(ConfigurationError, match=f"(?s){told}"):
        BuildAdmin(**(good | options))


@pytest.mark.parametrize(
    "columns",
    [
        {"at": sa.Column(sa.DateTime, primary_key=True)},  # as PostgreSQL's partitions need it
        {"id": sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)},
        {"id": sa.Column(sa.BigInteger, sa.Identity(), primary_key=True)},
        {"id": sa.Column(sa.BigInteger, sa.Sequence("ids"), primary_key=True)},
        # A host may always have them.
        {name: sa.Column(sa.Text, nullable=False) for name in ("actor", "reason")},
    ],
)
def test_what_gives_a_value_need_not_be_in_the_model(columns: dict[str, Any]) -> None:
    history = history_of(model_of(), **columns)
    BuildStore(Build, lambda: None, history=history)  # type: ignore[arg-type, return-value]


@pytest.mark.filterwarnings("ignore:Column 'builds_revisions.id' is marked as a member")
@pytest.mark.parametrize("order", [-1, 9], ids=["id first", "id last"])
def test_a_table_of_revisions_that_a_migration_has_partitioned(
    make_host: MakeHost, server_urls: dict[str, str], order: int
) -> None:
    if "postgresql" not in server_urls:
        pytest.skip("partitions of PostgreSQL")
    model = model_of()
    # In the mixin's order the id stands before it.
    at = sa.Column(sa.DateTime(timezone=True), primary_key=True)
    id_ = mapped_column(sa.BigInteger, primary_key=True, sort_order=order)
    history = history_of(model, at=at, id=id_)
    host = make_host(server_urls["postgresql"], model=model, history=history)
    with host.engine.begin() as connection:
        for statement in (
            "DROP TABLE builds_revisions",
            "CREATE TABLE builds_revisions (id bigserial, build_id bigint NOT NULL,"
            " at timestamptz NOT NULL, actor text, reason varchar(1000), batch varchar(36),"
            " before json NOT NULL, after json NOT NULL, PRIMARY KEY (id, at))"
            " PARTITION BY RANGE (at)",
            "CREATE TABLE builds_revisions_all PARTITION OF builds_revisions DEFAULT",
        ):
            connection.execute(sa.text(statement))
    for status in ("error", "killed"):
        changed = host.blueprint.store.update("1", {"status": status})
        assert changed.revision.id is None  # SQLAlchemy does not ask for it
    assert [one["id"] for one in host.revisions().json] == [2, 1]


def test_a_column_that_is_not_null_takes_its_default(
    make_host: Callable[..., Host], database_url: str
) -> None:
    model = model_of()
    history = history_of(
        model,
        actor=sa.Column(sa.String(9), nullable=False, default="nobody"),
        batch=sa.Column(sa.String(99), nullable=False, server_default="none"),
    )
    host = make_host(database_url, model=model, history=history, rows=[row_of()])
    assert host.put(OCTOCAT | {"status": "error"}).status_code == 200
    [revision] = host.recorded()
    assert (revision["actor"], revision["reason"], revision["batch"]) == ("nobody", None, "none")


def test_an_id_whose_type_does_not_say_what_it_holds_is_taken_on_trust() -> None:
    class Opaque(sa.types.UserDefinedType[Any]):
        cache_ok = True

    class Silent(Opaque):
        @property
        def python_type(self) -> type[Any]:
            raise NotImplementedError

    for kind in (Opaque(), Silent()):
        model = model_of(id=sa.Column(kind, primary_key=True))
        assert BuildStore(model, lambda: Session(), history=BuildRevision)
