"""``build_updating`` is heard inside the transaction, ``build_updated`` after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from blinker import Signal
from flask import abort, redirect
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import HTTPException

from flask_build_admin import BuildStore, build_updated, build_updating
from flask_build_admin.exceptions import BuildNotFound
from tests.support.hosts import OCTOCAT, Host

CHANGED = OCTOCAT | {"status": "error", "finished": 1563474099}


@contextmanager
def heard(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    with signal.connected_to(receiver):
        yield


@pytest.mark.parametrize("signal", [build_updating, build_updated])
def test_receivers_hear_of_the_build_before_and_after(
    make_host: Callable[..., Host], sqlite_url: str, signal: Signal
) -> None:
    host = make_host(sqlite_url, actor=lambda: "mona")
    calls: list[Any] = []

    def receive(sender: Any, **told: Any) -> None:
        calls.append((sender, told["build"].status, told["before"], told["after"], told["actor"]))
        assert list(told) == ["build", "before", "after", "actor", "reason"]

    with heard(signal, receive):
        assert host.put(CHANGED).status_code == 200
        assert host.put(CHANGED).status_code == 200  # nothing changes: nothing is sent
        assert host.put(OCTOCAT | {"id": 2}).status_code == 404
    assert calls == [(host.app, "error", OCTOCAT, CHANGED, "mona")]
    assert list(calls[0][2]) == list(calls[0][3]) == list(OCTOCAT)


def test_updating_comes_before_the_commit_and_updated_after(host: Host) -> None:
    seen: list[str] = []

    def receive(sender: Any, **told: Any) -> None:
        seen.append(host.row()["status"])

    with heard(build_updating, receive), heard(build_updated, receive):
        assert host.put(CHANGED).status_code == 200
    assert seen == ["created", "error"]


def test_a_receiver_of_another_app_is_not_called(host: Host) -> None:
    calls: list[Any] = []

    def receive(sender: Any, **told: Any) -> None:
        calls.append(sender)

    with build_updated.connected_to(receive, sender=object()), build_updating.muted():
        assert host.put(CHANGED).status_code == 200
    assert calls == []


@pytest.mark.parametrize("refuse", [False, True])
def test_what_a_receiver_adds_is_committed_or_rolled_back_with_the_change(
    hosted: Host, refuse: bool
) -> None:
    def receive(sender: Any, build: Any, **told: Any) -> None:
        row = OCTOCAT | {"id": 2, "number": 2, "title": "by the receiver"}
        hosted.session.add(hosted.model(**row))
        if refuse:
            abort(409, "Frozen for 100% of\nthe release.")

    with heard(build_updating, receive):
        answer = hosted.put(CHANGED)
    assert answer.status_code == (409 if refuse else 200)
    if refuse:
        assert answer.json == {"error": "Frozen for 100\\u0025 of the release."}
    assert hosted.row() == (OCTOCAT if refuse else CHANGED)
    with hosted.engine.connect() as connection:
        count = connection.scalar(sa.text("SELECT count(*) FROM builds"))
    assert count == (1 if refuse else 2)


def test_a_receiver_may_refuse_by_a_status_alone(host: Host) -> None:
    class Frozen(HTTPException):
        code = 423

    def refuse(sender: Any, **told: Any) -> None:
        raise Frozen

    with heard(build_updating, refuse):
        answer = host.put(CHANGED)
    assert (answer.status_code, answer.json) == (423, {"error": "Locked"})


@pytest.mark.parametrize("query", ["", "dry_run=true"])
@pytest.mark.parametrize("way", ["commit", "rollback", "close", "remove", "context"])
def test_a_receiver_of_updating_cannot_end_the_transaction(
    hosted: Host, way: str, query: str
) -> None:
    def end(sender: Any, **told: Any) -> None:
        if way == "context":
            with sender.app_context():
                pass  # its end removes the session
        else:
            getattr(hosted.session, way)()

    with heard(build_updating, end):
        answer = hosted.put(CHANGED, query_string=query)
    assert answer.status_code == 500
    assert hosted.row() == OCTOCAT
    assert hosted.put(CHANGED).status_code == 200


def test_a_receiver_of_updating_may_have_savepoints(hosted: Host) -> None:
    def receive(sender: Any, build: Any, **told: Any) -> None:
        for number in (2, 3):
            with hosted.session.begin_nested() as savepoint:
                build.message = f"savepoint {number}"
                hosted.session.flush()
                if number == 3:
                    savepoint.rollback()

    with heard(build_updating, receive):
        answer = hosted.put(CHANGED)
    assert answer.json == hosted.row() == CHANGED | {"message": "savepoint 2"}


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (lambda: abort(418), 418),
        (lambda: abort(403), 401),
        (lambda: abort(503), 503),
        (lambda: abort(redirect("/elsewhere")), 500),
        (lambda: OCTOCAT["secret"], 500),
        (lambda: _raise(IntegrityError("secret", {}, Exception("secret"))), 409),
    ],
)
def test_an_exception_of_updating_refuses_the_change(
    host: Host, failure: Callable[[], Any], status: int
) -> None:
    updated: list[Any] = []

    def receive(sender: Any, **told: Any) -> None:
        failure()

    def note(sender: Any, **told: Any) -> None:
        updated.append(told)

    with heard(build_updating, receive), heard(build_updated, note):
        answer = host.put(CHANGED)
    assert answer.status_code == status
    assert list(answer.json) == ["error"]
    assert "secret" not in answer.text
    assert "Location" not in answer.headers
    assert updated == []
    assert host.row() == OCTOCAT
    assert host.put(CHANGED).status_code == 200


def _raise(error: Exception) -> None:
    raise error


def test_what_updating_changes_is_stored_and_answered(host: Host) -> None:
    afters: list[Any] = []

    def sign(sender: Any, build: Any, before: Any, after: Any, **told: Any) -> None:
        build.message = "repaired"
        before.clear()
        after["title"] = "not this"

    def note(sender: Any, after: Any, **told: Any) -> None:
        afters.append(after)

    with heard(build_updating, sign), heard(build_updating, note), heard(build_updated, note):
        answer = host.put(CHANGED)
    assert answer.json == host.row() == CHANGED | {"message": "repaired"}
    assert afters[-1] == answer.json


def test_an_exception_of_updated_is_logged_and_changes_nothing(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: Any, **told: Any) -> None:
        host.session.execute(sa.text("SELECT secret"))

    with heard(build_updated, fail):
        answer = host.put(CHANGED)
    assert answer.status_code == 200
    assert host.row() == CHANGED
    assert "a receiver of build_updated failed" in caplog.text
    assert "OperationalError" in caplog.text
    assert "SELECT" not in caplog.text
    assert host.put(OCTOCAT).status_code == 200


def test_what_updated_has_written_when_it_fails_is_rolled_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: Any, **told: Any) -> None:
        host.session.add(host.model(**OCTOCAT | {"id": 2, "number": 2}))
        raise LookupError

    store = BuildStore(host.model, host.session)
    with heard(build_updated, fail):
        assert store.overwrite(CHANGED).build.document == CHANGED
    assert "a receiver of build_updated failed in fail, line" in caplog.text
    assert not host.session().in_transaction()
    host.session.commit()
    with pytest.raises(BuildNotFound):
        store.find("2")


def test_a_coroutine_is_no_receiver(host: Host) -> None:
    async def veto(sender: Any, **told: Any) -> None:
        raise LookupError

    with heard(build_updating, veto):
        assert host.put(CHANGED).status_code == 500
    assert host.row() == OCTOCAT


def test_the_log_names_no_argument_of_an_exception(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: Any, **told: Any) -> None:
        raise KeyError(987654321)

    with heard(build_updated, fail):
        assert host.put(CHANGED).status_code == 200
    assert "KeyError" in caplog.text
    assert "987654321" not in caplog.text
