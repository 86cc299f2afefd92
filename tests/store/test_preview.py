"""A preview does all that the change would do, tells of it, and leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort

from flask_build_admin import build_updated, build_updating
from tests.support.databases import DATABASES
from tests.support.hosts import ADMIN, OCTOCAT, BuildRevision, Host
from tests.support.rules import DEFERRED, RULES, ruled_host
from tests.support.statements import LOCK, outline

MakeHost = Callable[..., Host]

CHANGED = OCTOCAT | {"status": "error", "finished": 1563474099}
DRY = {"query_string": {"dry_run": "true"}}
TOLD = {
    "build_id": 1,
    "actor": "mona",
    "reason": None,
    "changes": {
        "status": {"before": "created", "after": "error"},
        "finished": {"before": 0, "after": 1563474099},
    },
    "warnings": [],
}

UNFINISHED = "the status is final, but finished is 0"


def assert_as_it_was(host: Host) -> None:
    assert host.row() == OCTOCAT
    assert host.history is None or host.recorded() == []


def test_a_preview_tells_the_revision_that_there_would_be(kept: Host) -> None:
    answer = kept.put(CHANGED, query_string={"dry_run": "true", "reason": "lost"})
    assert answer.status_code == 200
    assert answer.json == TOLD | {"reason": "lost"}
    assert list(answer.json) == ["build_id", "actor", "reason", "changes", "warnings"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert not {"ETag", "Content-Location"} & {*answer.headers.keys()}
    assert_as_it_was(kept)
    assert kept.put(CHANGED, query_string={"dry_run": "false"}).json == CHANGED


def test_a_preview_of_no_change_tells_of_none(kept: Host) -> None:
    warning = {"members": ["status", "finished"], "warning": UNFINISHED}
    assert kept.put(OCTOCAT, **DRY).json == TOLD | {"changes": {}, "warnings": [warning]}
    assert_as_it_was(kept)


def test_a_preview_of_an_undo(kept: Host) -> None:
    assert kept.put(CHANGED).status_code == 200
    [revision] = kept.recorded()
    previewed = kept.undo(revision["id"], **DRY)
    assert previewed.json["changes"] == {
        "status": {"before": "error", "after": "created"},
        "finished": {"before": 1563474099, "after": 0},
    }
    assert kept.row() == CHANGED
    assert kept.recorded() == [revision]
    assert kept.undo(revision["id"]).json == OCTOCAT
    assert kept.undo(revision["id"], **DRY).status_code == 409
    assert kept.undo(999, **DRY).status_code == 404


def test_without_history_there_are_previews_all_the_same(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url)
    assert host.put(CHANGED, **DRY).json == TOLD | {"actor": None}
    assert_as_it_was(host)


def test_a_preview_does_everything_but_the_commit(kept: Host, database: str) -> None:
    with kept.statements() as sent:
        assert kept.put(CHANGED, **DRY).status_code == 200
    told = {"postgresql": ["SET"]}.get(database, [])
    assert outline(sent) == ["BEGIN", *LOCK[database], "UPDATE", "INSERT", *told, "ROLLBACK"]


def test_receivers_of_updating_are_told_and_those_of_updated_are_not(
    kept: Host, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def updating(sender: Any, build: Any, after: Any, **told: Any) -> None:
        heard.append("updating")
        assert after == CHANGED
        build.message = "repaired"
        row = OCTOCAT | {"id": 2, "number": 2}
        kept.session.add(kept.model(**row))

    def updated(sender: Any, **told: Any) -> None:
        heard.append("updated")

    caplog.set_level("INFO", "flask_build_admin")
    with build_updating.connected_to(updating), build_updated.connected_to(updated):
        answer = kept.put(CHANGED, **DRY)
    changes = {"message": {"before": OCTOCAT["message"], "after": "repaired"}}
    assert answer.json["changes"] == TOLD["changes"] | changes  # type: ignore[operator]
    assert heard == ["updating"]
    assert caplog.messages == []
    assert_as_it_was(kept)
    with kept.engine.connect() as connection:
        assert connection.scalars(sa.select(kept.model.id)).all() == [1]


REFUSALS: dict[str, tuple[dict[str, Any], int]] = {
    "invalid": ({"document": CHANGED | {"number": 0}}, 400),
    "malformed": ({"data": "{"}, 400),
    "unknown": ({"document": CHANGED | {"id": 2}}, 404),
    "no_json": ({"data": "{}", "content_type": "text/plain"}, 415),
    "too_long": ({"data": " " * 262_145}, 413),
    "stale": ({"document": CHANGED, "headers": {"If-Match": '"stale"'}}, 412),
    "no_administrator": ({"document": CHANGED, "headers": {"Authorization": "Bearer x"}}, 401),
}


@pytest.mark.parametrize(("sent", "status"), REFUSALS.values(), ids=REFUSALS)
def test_a_preview_is_refused_as_the_change_would_be(
    kept: Host, sent: dict[str, Any], status: int
) -> None:
    answer = kept.put(**sent, **DRY)
    assert answer.status_code == status
    assert answer.json == kept.put(**sent).json
    assert "error" in answer.json
    assert_as_it_was(kept)


def test_a_receiver_refuses_a_preview_as_it_would_the_change(kept: Host) -> None:
    refuse: Any = lambda sender, **told: abort(409, "Frozen.")  # noqa: E731
    with build_updating.connected_to(refuse):
        answer = kept.put(CHANGED, **DRY)
    assert (answer.status_code, answer.json) == (409, {"error": "Frozen."})
    assert_as_it_was(kept)


@pytest.fixture(scope="module")
def deferring(database_url: str) -> Iterator[Host]:
    """A host whose database checks what rules it can at the commit."""
    deferral: dict[str, Any] = {"deferrable": True, "initially": "DEFERRED"}
    unique = sa.UniqueConstraint("repo_id", "number", **deferral).ddl_if(dialect="postgresql")
    host = ruled_host(database_url, "deferring", unique, **deferral)
    yield host
    host.close()


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_of_the_database_hold_in_a_preview(ruled: Host, rule: str) -> None:
    answer = ruled.put(OCTOCAT | RULES[rule], **DRY)
    assert answer.status_code == 409
    assert ruled.row() == OCTOCAT
    assert ruled.put(OCTOCAT | {"title": "x"}, **DRY).status_code == 200


@pytest.mark.parametrize(
    "database", [name for name in ["postgresql"] if name in DATABASES], indirect=True
)
def test_the_rules_that_are_deferred_to_the_commit_hold_in_a_preview(
    deferring: Host, database: str
) -> None:
    for rule in {*DEFERRED[database]} - {"check"}:
        answer = deferring.put(OCTOCAT | RULES[rule], **DRY)
        assert answer.status_code == 409
        assert deferring.row() == OCTOCAT
    assert deferring.put(OCTOCAT | {"title": "x"}, **DRY).status_code == 200


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_checks_a_deferred_foreign_key_at_the_commit_only(deferring: Host) -> None:
    assert deferring.put(OCTOCAT | {"parent": 98}, **DRY).status_code == 200
    assert deferring.put(OCTOCAT | {"parent": 98}).status_code == 409
    assert deferring.row() == OCTOCAT


def test_the_name_of_an_actor_is_previewed_as_it_would_be_kept(
    make_host: MakeHost, database_url: str
) -> None:
    host = make_host(database_url, history=BuildRevision, actor=lambda: "m\0n\ud800")
    preview = host.put(CHANGED, **DRY).json
    assert preview["actor"] == r"m\x00n\ud800"
    assert host.put(CHANGED).status_code == 200
    assert host.revisions().json[0]["actor"] == preview["actor"]


def test_what_the_auth_left_is_rolled_back_with_a_preview(
    make_host: MakeHost, database_url: str
) -> None:
    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked() -> Any:
            host.session.execute(sa.text("UPDATE builds SET title = 'of the auth'"))
            return view()

        return checked

    host = make_host(database_url, auth=auth)
    assert host.put(CHANGED, headers=ADMIN, **DRY).status_code == 200
    assert_as_it_was(host)
