"""The advice of docs/operating.md, followed on real databases and over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest
import sqlalchemy as sa
from flask import Flask, Response
from werkzeug.serving import make_server

from tests.support.ci_servers import CiServer, bearer
from tests.support.hosts import ADMIN, OCTOCAT, URL, Host
from tests.support.pages import ROOT, from_page

PAGE = "docs/operating.md"
CHANGED = OCTOCAT | {"status": "error"}

#: How each database is asked for how long it waits for a lock, and how it says two seconds.
LOCK_TIMEOUTS = {
    "sqlite": ("PRAGMA busy_timeout", 2000),
    "postgresql": ("SHOW lock_timeout", "2s"),
    "mariadb": ("SELECT @@innodb_lock_wait_timeout", 2),
}


@contextmanager
def locked(host: Host) -> Iterator[sa.Connection]:
    """Have somebody else hold the lock of the build."""
    with host.engine.connect() as other:
        other.exec_driver_sql("UPDATE builds SET status = status")
        yield other


@from_page(PAGE, code="ENGINE_OPTIONS")
def test_the_database_gives_up_in_time(
    server: CiServer, code: str, hosted: Host, database: str, database_url: str
) -> None:
    options = server.run(code)["ENGINE_OPTIONS"][database]
    patient = hosted.engine
    hosted.engine = sa.create_engine(database_url, **options)
    hosted.session.configure(bind=hosted.engine)
    assert hosted.put(OCTOCAT).status_code == 200
    with hosted.engine.connect() as connection:
        query, seconds = LOCK_TIMEOUTS[database]
        assert connection.exec_driver_sql(query).scalar_one() == seconds
    with locked(hosted):
        assert hosted.put(CHANGED).status_code == 503
    assert hosted.put(CHANGED).status_code == 200
    patient.dispose()


@from_page(PAGE, code="ProxyFix")
def test_the_prefix_of_a_proxy_is_told(server: CiServer, code: str) -> None:
    server.register()
    server.run(code)
    headers = bearer("mona")["headers"] | {"X-Forwarded-Prefix": "/ci"}
    answer = server.app.test_client().put(URL, json=OCTOCAT, headers=headers)
    assert answer.headers["Content-Location"] == f"/ci{URL}/1"


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}{URL}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@from_page(PAGE, code="def ask")
def test_another_try_comes_through(
    server: CiServer, code: str, make_host: Callable[..., Host], sqlite_url: str
) -> None:
    names = server.run(code)
    waited: list[float] = []
    names["time"] = SimpleNamespace(sleep=waited.append)
    ask = names["ask"]
    host = make_host(f"{sqlite_url}?timeout=0.1")
    answered: list[int] = []

    @host.app.after_request
    def release(response: Response) -> Response:
        answered.append(response.status_code)
        other.rollback()
        return response

    def put(document: dict[str, Any], **options: Any) -> Any:
        headers = ADMIN | {"Content-Type": "application/json"}
        body = json.dumps(document).encode()
        return json.loads(ask(Request(url, body, headers, method="PUT"), **options))

    with listening(host.app) as url:
        with locked(host) as other:
            assert put(CHANGED) == CHANGED
        with locked(host) as other, pytest.raises(HTTPError, match="503"):
            put(OCTOCAT, tries=1)
        with pytest.raises(HTTPError, match="400"):
            put(OCTOCAT | {"number": 0})
    assert answered == [503, 200, 503, 400]
    assert [1 <= seconds <= 2 for seconds in waited] == [True]


@from_page(PAGE, code="dictConfig")
def test_the_log_has_a_line_for_each_change(
    server: CiServer, code: str, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("flask_build_admin")
    before = (log.level, log.handlers[:])
    try:
        server.run(code)
        assert host.put(CHANGED, query_string="dry_run=true").status_code == 200
        assert host.put(CHANGED, query_string="reason=worker+lost").status_code == 200
        [line] = capsys.readouterr().err.splitlines()
        told = "INFO flask_build_admin: build 1 updated because of 'worker lost': status"
        assert line.endswith(told)
    finally:
        log.level, log.handlers = before


@from_page(PAGE, code="answers = Counter()")
def test_the_answers_are_counted(server: CiServer, code: str) -> None:
    server.register()
    answers = server.run(code)["answers"]
    server.statuses(bearer("mona"), {}, bearer("hubot"))
    assert answers == {("build_admin.overwrite", 200): 1, ("build_admin.overwrite", 401): 2}


@from_page(PAGE, index="CREATE INDEX")
def test_the_queue_is_read_by_its_index(host: Host, index: str) -> None:
    host.execute(index)
    with host.statements() as sent:
        assert host.client.get(f"{URL}s/queue", headers=ADMIN).json == []
    [query] = [one for one in sent if one.startswith("SELECT")]
    with host.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("x",) * query.count("?"))
        assert any("builds_queue" in row.detail for row in plan)


@from_page(PAGE, code="pytest -m slow")
def test_the_soak_is_where_the_page_says(code: str) -> None:
    *_, marker, path = code.split()
    text = (ROOT / path).read_text()
    assert f"pytestmark = pytest.mark.{marker}" in text
    assert '"SOAK_SECONDS", "600"' in text
