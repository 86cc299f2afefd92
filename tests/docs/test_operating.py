"""The advice of docs/operating.md, followed on real databases and over HTTP."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest
import sqlalchemy as sa
from flask import Response

from tests.support.ci_servers import CiServer, bearer
from tests.support.databases import DATABASES, SERVERS
from tests.support.examples import listening
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


@from_page(PAGE, code='"tcp_user_timeout"')
def test_the_options_of_larger_engines_are_known(server: CiServer, code: str) -> None:
    engines = server.run(code)["ENGINES"]
    settings = {
        "pgbouncer": ("postgresql", "SELECT 1", 1),
        "standby": ("postgresql", "SHOW transaction_read_only", "off"),
        "galera": ("mariadb", "SELECT @@wsrep_sync_wait", 1),
    }
    assert settings.keys() == engines.keys()
    for name, (database, query, expected) in settings.items():
        if database in DATABASES:
            engine = sa.create_engine(str(SERVERS[database]), **engines[name])
            with engine.connect() as connection:
                assert connection.exec_driver_sql(query).scalar_one() == expected
            engine.dispose()


@from_page(PAGE, code="ALTER ROLE ci SET lock_timeout")
def test_a_role_has_timeouts_where_a_connection_may_not(code: str) -> None:
    if "postgresql" not in DATABASES:
        pytest.skip("needs PostgreSQL")
    admin = sa.create_engine(str(SERVERS["postgresql"]), isolation_level="AUTOCOMMIT")
    role = f"ci_{os.getpid()}"
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        try:
            for statement in code.replace("ROLE ci ", f"ROLE {role} ").strip().split("\n"):
                connection.exec_driver_sql(statement)
            engine = sa.create_engine(sa.make_url(str(SERVERS["postgresql"])).set(username=role))
            with engine.connect() as own:
                assert own.exec_driver_sql("SHOW lock_timeout").scalar_one() == "2s"
            engine.dispose()
        finally:
            connection.exec_driver_sql(f"DROP ROLE {role}")
    admin.dispose()


@from_page(PAGE, command="tests/engines")
def test_the_engines_are_run_as_the_page_says(command: str) -> None:
    assert (ROOT / command.split()[-1]).is_dir()


@from_page(PAGE, code="ProxyFix")
def test_the_prefix_of_a_proxy_is_told(server: CiServer, code: str) -> None:
    server.register()
    server.run(code)
    headers = bearer("mona")["headers"] | {"X-Forwarded-Prefix": "/ci"}
    answer = server.app.test_client().put(URL, json=OCTOCAT, headers=headers)
    assert answer.headers["Content-Location"] == f"/ci{URL}/1"


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

    with listening(host.app) as root:
        url = f"{root}{URL}"
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


@from_page(PAGE, code="answers: Counter")
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


@from_page(PAGE, code="test_soak.py")
def test_the_soak_is_where_the_page_says(code: str) -> None:
    *_, marker, path = code.split()
    text = (ROOT / path).read_text()
    assert f"pytestmark = pytest.mark.{marker}" in text
    assert '"SOAK_SECONDS", "600"' in text
