"""What becomes of an exception besides its response: the log, and Flask's own signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, got_request_exception

from flask_build_admin import build_updating
from flask_build_admin.exceptions import BuildAdminError, BuildConflict, DatabaseError
from tests.support.hosts import OCTOCAT, Host, model_of

MakeHost = Callable[..., Host]

CHANGED = OCTOCAT | {"status": "error"}


@pytest.fixture
def heard() -> Iterator[list[Exception]]:
    """The exceptions of which Flask's signal was sent, as Sentry hears them."""
    exceptions: list[Exception] = []

    def hear(app: Flask, exception: Exception, **more: object) -> None:
        exceptions.append(exception)

    with got_request_exception.connected_to(hear):
        yield exceptions


def test_a_failure_of_the_database_is_signalled_with_its_cause(
    hosted: Host, heard: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    hosted.execute("ALTER TABLE builds DROP COLUMN title")
    for answer in (hosted.get(), hosted.put(CHANGED)):
        assert (answer.status_code, answer.json) == (500, {"error": DatabaseError.sentence})
        exception = heard.pop()
        assert isinstance(exception, DatabaseError)
        assert isinstance(exception.__cause__, sa.exc.DBAPIError)
    assert heard == []
    assert all(line.endswith("builds.title)") for line in caplog.messages)


def test_a_failure_outside_of_the_store_is_signalled(
    make_host: MakeHost, sqlite_url: str, heard: list[Exception]
) -> None:
    def fail() -> None:
        host.session.execute(sa.text("SELECT * FROM gone"))

    host: Host = make_host(sqlite_url, actor=fail)
    answer = host.put(CHANGED)
    assert (answer.status_code, answer.json) == (500, {"error": DatabaseError.sentence})
    [exception] = heard
    assert isinstance(exception, sa.exc.OperationalError)


def test_a_refusal_of_a_receiver_without_a_status_is_signalled(
    host: Host, heard: list[Exception]
) -> None:
    error = BuildAdminError("No.")

    def refuse(sender: object, **change: object) -> None:
        raise error

    with build_updating.connected_to(refuse, host.app):
        assert host.put(CHANGED).status_code == 500
    assert heard == [error]


def test_an_exception_that_the_app_handles_is_signalled_once(
    host: Host, heard: list[Exception]
) -> None:
    def fail(sender: object, **change: object) -> None:
        raise KeyError("status")

    with build_updating.connected_to(fail, host.app):
        assert host.put(CHANGED).status_code == 500
    assert [type(one) for one in heard] == [KeyError]


def test_what_the_client_mends_is_not_signalled(
    make_host: MakeHost,
    database_url: str,
    heard: list[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rule = sa.CheckConstraint("finished < 5000000000", name="sane_finish")
    host = make_host(database_url, model=model_of(__table_args__=(rule,)))
    answer = host.put(OCTOCAT | {"finished": 5_000_000_001})
    assert (answer.status_code, answer.json) == (409, {"error": BuildConflict.sentence})
    [line] = caplog.messages
    assert line.startswith(f"{BuildConflict.sentence} The cause: ")
    assert line.endswith(": sane_finish)")
    assert "5000000001" not in line
    assert heard == []


@pytest.mark.parametrize("send", [Host.get, lambda host: host.put(CHANGED)])
def test_a_network_error_that_a_driver_passes_on_is_worth_another_try(
    hosted: Host, send: Callable[[Host], Any], heard: list[Exception]
) -> None:
    def fail(*event: Any) -> None:
        sa.event.remove(hosted.engine, "before_cursor_execute", fail)
        raise ConnectionResetError("Connection reset by peer")

    hosted.get()
    pool = hosted.engine.pool
    sa.event.listen(hosted.engine, "before_cursor_execute", fail)
    assert send(hosted).status_code == 503
    assert hosted.engine.pool is not pool
    assert send(hosted).status_code == 200
    assert heard == []


def test_a_network_error_outside_of_the_store_is_worth_another_try(
    make_host: MakeHost, sqlite_url: str, heard: list[Exception]
) -> None:
    def fail(*event: Any) -> None:
        sa.event.remove(host.engine, "before_cursor_execute", fail)
        raise ConnectionResetError("Connection reset by peer")

    host: Host = make_host(sqlite_url, actor=lambda: host.session.scalar(sa.text("SELECT 'mona'")))
    sa.event.listen(host.engine, "before_cursor_execute", fail)
    assert host.put(CHANGED).status_code == 503
    assert host.put(CHANGED).status_code == 200
    assert heard == []


def test_a_network_error_of_the_host_is_its_own(host: Host, heard: list[Exception]) -> None:
    def fail(sender: object, **change: object) -> None:
        raise ConnectionRefusedError

    with build_updating.connected_to(fail, host.app):
        assert host.put(CHANGED).status_code == 500
    assert [type(one) for one in heard] == [ConnectionRefusedError]
    assert host.row() == OCTOCAT
