"""Databases that fail and workers that die: the row stays whole, and the next request is served."""

from __future__ import annotations

import http.client
import logging
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial, wraps
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import request
from sqlalchemy.pool import QueuePool

from flask_build_admin import build_updating
from flask_build_admin.exceptions import DatabaseError, DatabaseUnavailable, PreconditionFailed
from flask_build_admin.store import ChangeOptions
from tests.support.databases import DATABASES
from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, BuildRevision, Host
from tests.support.servers import PATIENCE, Server, chain_of, serve, wait_until

CHANGED = OCTOCAT | {"status": "error", "error": "the secret of the put"}

#: What no line of the log may hold.
TELLTALE = re.compile(
    r"select |update |insert |(from|into|table) builds|secret|octocat|traceback|sqlalche\.me", re.I
)

on_servers = pytest.mark.parametrize(
    "database", [name for name in DATABASES if name != "sqlite"], indirect=True
)

KILL = {"postgresql": "SELECT pg_terminate_backend(:backend)", "mysql": "KILL :backend"}

ALIVE = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE pid = :backend",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE id = :backend",
}

WAITING = {
    "postgresql": f"{ALIVE['postgresql']} AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx"
    " WHERE trx_mysql_thread_id = :backend AND trx_state = 'LOCK WAIT'",
}


class Worker(Host):
    """A host whose auth and receiver use the session, and whose session has but one connection.

    So each request gets the connection as the one before has left it. What the test itself sends
    goes another way.

    :param pool: keyword arguments of ``create_engine``.
    """

    def __init__(self, url: str, **pool: Any) -> None:
        super().__init__(url, auth=self.auth, history=BuildRevision)
        self.pool = sa.create_engine(
            url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.1, **pool
        )
        self.auth_query = "SELECT 'auth'"
        self.backend = 0
        sa.event.listen(self.pool, "connect", self.connected)
        self.session.configure(bind=self.pool)
        build_updating.connect(self.receive, self.app)

    def close(self) -> None:
        build_updating.disconnect(self.receive, self.app)
        self.session.remove()
        self.pool.dispose()
        super().close()

    def auth(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded() -> Any:
            self.session.execute(sa.text(self.auth_query))
            known = request.headers.get("Authorization") == ADMIN["Authorization"]
            return view() if known else ("", 401)

        return guarded

    def receive(self, sender: object, **change: object) -> None:
        self.session.execute(sa.text("SELECT 'receiver'"))

    def connected(self, connection: Any, record: object) -> None:
        if self.pool.dialect.name != "sqlite":
            self.backend = backend_of(connection)

    @contextmanager
    def at(self, moment: str, statement: str, action: Callable[[], object]) -> Iterator[None]:
        """Do something at an event of the engine, when it is about this statement."""

        def listener(*event: Any) -> None:
            if moment == "commit" or statement in event[2]:
                action()

        sa.event.listen(self.pool, moment, listener)
        try:
            yield
        finally:
            sa.event.remove(self.pool, moment, listener)

    def kill(self) -> None:
        """Have the server end the connection, and wait until it has."""
        name = self.engine.dialect.name
        self.execute(KILL[name], backend=self.backend)
        wait_until(lambda: not self.ask(ALIVE[name], self.backend))

    def await_wait_of(self, backend: int) -> None:
        """Wait until a connection waits for another's lock."""
        query = WAITING[self.engine.dialect.name]
        # InnoDB has news of its transactions only when nobody has asked for a tenth of a second,
        # and a second run of the tests may ask as well.
        wait_until(lambda: self.ask(query, backend), every=0.25)

    def ask(self, query: str, backend: int) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query), {"backend": backend}).scalar_one()


def backend_of(connection: Any) -> int:
    """Answer the server's own number of a driver's connection."""
    number = connection.info.backend_pid if hasattr(connection, "info") else connection.thread_id()
    return int(number)


@pytest.fixture
def make_worker(database_url: str) -> Iterator[Callable[..., Worker]]:
    """Make workers on each database in turn."""
    workers: list[Worker] = []

    def make(**pool: Any) -> Worker:
        workers.append(Worker(database_url, **pool))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    return make_worker()


@pytest.fixture(autouse=True)
def discreet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No line of the log has SQL, a value or a traceback, whatever goes wrong in these tests.

    SQLAlchemy's pool may log, with a traceback of its own, that it could not reset a connection.
    """
    caplog.set_level(logging.INFO, "flask_build_admin")
    yield
    for record in caplog.get_records("call"):
        assert not record.exc_info or record.name.startswith("sqlalchemy.pool"), record
        assert not TELLTALE.search(record.getMessage()), record


def assert_unavailable(answer: Any) -> None:
    assert answer.status_code == 503
    assert answer.mimetype == "application/json"
    assert answer.json == {"error": DatabaseUnavailable.sentence}
    assert int(answer.headers["Retry-After"]) >= 1


def assert_served(worker: Worker) -> None:
    answer = worker.put(CHANGED)
    assert (answer.status_code, answer.json) == (200, CHANGED)
    assert worker.row() == CHANGED


@on_servers
@pytest.mark.parametrize(
    "send",
    [
        lambda worker: worker.get(),
        lambda worker: worker.put(CHANGED),
        lambda worker: worker.put(CHANGED, query_string="dry_run=true"),
        lambda worker: worker.revisions(),
        lambda worker: worker.undo(1),
    ],
    ids=["get", "put", "preview", "list", "undo"],
)
def test_the_connection_is_lost_between_two_requests(
    worker: Worker, send: Callable[[Worker], Any]
) -> None:
    assert worker.get().status_code == 200
    worker.kill()
    assert_unavailable(send(worker))
    assert worker.row() == OCTOCAT
    assert_served(worker)


@on_servers
def test_a_pool_that_looks_first_hides_the_loss(make_worker: Callable[..., Worker]) -> None:
    worker = make_worker(pool_pre_ping=True)
    assert worker.get().status_code == 200
    worker.kill()
    assert_served(worker)


@on_servers
@pytest.mark.parametrize(
    ("moment", "statement"),
    [
        ("after_cursor_execute", "'auth'"),
        ("before_cursor_execute", "FOR UPDATE"),
        ("after_cursor_execute", "FOR UPDATE"),
        ("before_cursor_execute", "UPDATE builds"),
        ("after_cursor_execute", "UPDATE builds"),
        ("after_cursor_execute", "'receiver'"),
        ("before_cursor_execute", "INSERT INTO build_revisions"),
        ("after_cursor_execute", "INSERT INTO build_revisions"),
        ("commit", "COMMIT"),
    ],
)
def test_the_connection_is_lost_in_a_put(worker: Worker, moment: str, statement: str) -> None:
    with worker.at(moment, statement, worker.kill):
        assert_unavailable(worker.put(CHANGED))
    assert worker.row() == OCTOCAT
    assert worker.recorded() == []
    assert_served(worker)


@on_servers
@pytest.mark.parametrize(
    "statement", ["FOR UPDATE", "FROM build_revisions", "UPDATE builds", "INSERT INTO"]
)
def test_the_connection_is_lost_in_an_undo(worker: Worker, statement: str) -> None:
    assert_served(worker)
    [revision] = worker.recorded()
    with worker.at("before_cursor_execute", statement, worker.kill):
        assert_unavailable(worker.undo(revision["id"]))
    assert worker.row() == CHANGED
    assert worker.recorded() == [revision]
    assert worker.undo(revision["id"]).json == OCTOCAT


@on_servers
@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("build/1", "FROM builds"),
        ("build/1/revisions", "FROM build_revisions"),
        ("builds/queue", "FROM builds"),
    ],
)
def test_the_connection_is_lost_in_a_read(
    worker: Worker, path: str, statement: str, moment: str
) -> None:
    def read() -> Any:
        return worker.client.get(f"/api/v1/admin/{path}", headers=ADMIN)

    with worker.at(moment, statement, worker.kill):
        assert_unavailable(read())
    assert read().status_code == 200
    assert_served(worker)


@on_servers
def test_the_connection_is_lost_while_it_waits_for_the_lock(worker: Worker) -> None:
    def kill_when_waiting() -> None:
        try:
            worker.await_wait_of(worker.backend)
        finally:
            worker.kill()

    with worker.engine.connect() as other, ThreadPoolExecutor(1) as thread:
        other.exec_driver_sql("UPDATE builds SET status = 'theirs'")
        tasks = []
        with worker.at(
            "before_cursor_execute",
            "FOR UPDATE",
            lambda: tasks.append(thread.submit(kill_when_waiting)),
        ):
            assert_unavailable(worker.put(CHANGED))
        tasks[0].result()
        other.commit()
    assert worker.row() == OCTOCAT | {"status": "theirs"}
    assert_served(worker)


@on_servers
@pytest.mark.parametrize(
    ("method", "options", "status"),
    [
        ("PUT", {"headers": {"Authorization": "Bearer of-nobody"}}, 401),
        ("POST", {}, 405),
        ("PUT", {"data": b"{}", "content_type": "text/plain"}, 415),
        ("PUT", {"data": b"x" * 300_000}, 413),
        ("PUT", {"data": b"{"}, 400),
        ("PUT", {"data": b"{}"}, 400),
    ],
)
def test_the_connection_is_lost_before_a_refusal(
    worker: Worker, method: str, options: dict[str, Any], status: int
) -> None:
    options = {"headers": ADMIN, "content_type": "application/json"} | options
    with worker.at("after_cursor_execute", "'auth'", worker.kill):
        answer = worker.client.open(URL, method=method, **options)
    assert answer.status_code == status
    assert isinstance(answer.get_json()["error"], str)
    assert_served(worker)


@on_servers
def test_the_session_is_usable_after_a_loss(worker: Worker) -> None:
    def refuse(build: object) -> None:
        worker.kill()
        raise PreconditionFailed

    store = worker.blueprint.store
    interrupted = worker.at("before_cursor_execute", "UPDATE builds", worker.kill)
    with interrupted, pytest.raises(DatabaseUnavailable):
        store.overwrite(CHANGED)
    assert not worker.session().in_transaction()
    assert store.find("1").document == OCTOCAT
    with pytest.raises(PreconditionFailed):
        store.overwrite(CHANGED, ChangeOptions(precondition=refuse))
    assert not worker.session().in_transaction()
    assert store.overwrite(CHANGED).build.document == CHANGED
    assert worker.row() == CHANGED


IMPATIENT = {
    "sqlite": {"timeout": 0.1},
    "postgresql": {"options": "-c lock_timeout=100"},
    "mariadb": {"init_command": "SET innodb_lock_wait_timeout = 1"},
}


def test_another_connection_holds_the_lock(
    make_worker: Callable[..., Worker], database: str
) -> None:
    worker = make_worker(connect_args=IMPATIENT[database])
    with worker.engine.connect() as other:
        other.exec_driver_sql("UPDATE builds SET status = 'theirs'")
        assert_unavailable(worker.put(CHANGED))
        assert_unavailable(worker.put(CHANGED, query_string="dry_run=true"))
        assert_unavailable(worker.undo(1))
        assert worker.get().json == OCTOCAT
        assert worker.revisions().json == []
        other.commit()
    assert worker.row() == OCTOCAT | {"status": "theirs"}
    assert_served(worker)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_is_locked_against_readers(make_worker: Callable[..., Worker]) -> None:
    worker = make_worker(connect_args=IMPATIENT["sqlite"])
    with worker.engine.connect() as other:
        other.exec_driver_sql("BEGIN EXCLUSIVE")
        assert_unavailable(worker.get())
        assert_unavailable(worker.put(CHANGED))
    assert_served(worker)


def test_what_is_no_database_of_sqlite_is_a_failure(
    make_host: Callable[..., Host], tmp_path: Path
) -> None:
    host = make_host(f"sqlite:///{tmp_path / 'ci.db'}")
    host.engine.dispose()
    path = tmp_path / "ci.db"
    stored = path.read_bytes()
    path.write_bytes(b"no database" * 100)
    told = {"error": "The database failed to handle the request."}
    for answer in (host.get(), host.put(CHANGED)):
        assert (answer.status_code, answer.json) == (500, told)
    host.engine.dispose()
    path.write_bytes(stored)
    assert host.put(CHANGED).json == CHANGED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_is_locked_at_the_commit(make_worker: Callable[..., Worker]) -> None:
    worker = make_worker(connect_args=IMPATIENT["sqlite"])
    with worker.engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT * FROM builds").all()
        assert_unavailable(worker.put(CHANGED))
    assert worker.row() == OCTOCAT
    assert_served(worker)


TIMEOUT = {
    "postgresql": {"options": "-c statement_timeout=500"},
    "mariadb": {"init_command": "SET max_statement_time = 0.5"},
}


@on_servers
def test_a_statement_takes_too_long(make_worker: Callable[..., Worker], database: str) -> None:
    worker = make_worker(connect_args=TIMEOUT[database])
    with worker.engine.connect() as other:
        other.exec_driver_sql("UPDATE builds SET status = 'theirs'")
        assert_unavailable(worker.put(CHANGED))
    assert worker.row() == OCTOCAT
    assert_served(worker)


#: What makes the put the one that the database sacrifices.
VICTIM = {"postgresql": {"options": "-c deadlock_timeout=50"}, "mariadb": {}}


@on_servers
def test_a_deadlock(make_worker: Callable[..., Worker], database: str) -> None:
    worker = make_worker(connect_args=VICTIM[database])
    taken = {"repo_id": 7, "number": 7}
    with worker.engine.connect() as other, ThreadPoolExecutor(1) as thread:
        if database == "postgresql":
            other.exec_driver_sql("SET deadlock_timeout = '1min'")
        backend = backend_of(other.connection.dbapi_connection)
        # MariaDB sacrifices the transaction that has changed fewer rows.
        rows = [OCTOCAT | {"id": number, "repo_id": 7, "number": number} for number in range(2, 20)]
        other.execute(sa.insert(Build), rows)
        tasks = []

        def want_the_row_of_the_put() -> None:
            wanted = "SELECT id FROM builds WHERE id = 1 FOR UPDATE"
            tasks.append(thread.submit(other.exec_driver_sql, wanted))
            worker.await_wait_of(backend)

        with worker.at("before_cursor_execute", "UPDATE builds", want_the_row_of_the_put):
            assert_unavailable(worker.put(CHANGED | taken))
        assert tasks[0].result(PATIENCE).scalar_one() == 1
    assert worker.row() == OCTOCAT
    assert worker.put(CHANGED | taken).status_code == 200


@on_servers
def test_the_isolation_asks_for_a_retry(make_worker: Callable[..., Worker], database: str) -> None:
    isolation: dict[str, Any] = {"isolation_level": "REPEATABLE READ"}
    if database == "mariadb":
        isolation["connect_args"] = {"init_command": "SET innodb_snapshot_isolation = ON"}
    worker = make_worker(**isolation)
    worker.auth_query = "SELECT id FROM builds"

    def change() -> None:
        worker.execute("UPDATE builds SET status = 'theirs'")

    with worker.at("before_cursor_execute", "FOR UPDATE", change):
        assert_unavailable(worker.put(CHANGED))
    assert worker.row() == OCTOCAT | {"status": "theirs"}
    assert_served(worker)


def test_the_pool_has_no_connection_left(worker: Worker) -> None:
    with worker.pool.connect():
        assert_unavailable(worker.put(CHANGED))
        assert_unavailable(worker.get())
    assert worker.row() == OCTOCAT
    assert_served(worker)


@on_servers
def test_the_database_is_not_there(worker: Worker) -> None:
    nowhere = sa.create_engine(worker.engine.url.set(port=1))
    worker.session.configure(bind=nowhere)
    assert_unavailable(worker.get())
    assert_unavailable(worker.put(CHANGED))
    worker.session.configure(bind=worker.pool)
    assert_served(worker)


@pytest.mark.parametrize("damage", ["DROP TABLE builds", "ALTER TABLE builds DROP COLUMN error"])
def test_a_schema_that_is_not_there_is_no_matter_of_trying_again(
    worker: Worker, damage: str
) -> None:
    worker.execute(damage)
    asked = (worker.get(), worker.put(CHANGED), worker.revisions(), worker.undo(1))
    for answer in asked:
        assert answer.status_code == 500
        assert answer.mimetype == "application/json"
        assert answer.json == {"error": DatabaseError.sentence}
        assert "Retry-After" not in answer.headers
    worker.drop_tables()
    worker.create_tables()
    with worker.engine.begin() as connection:
        connection.execute(sa.insert(Build), OCTOCAT)
    assert_served(worker)


#: What a pooler or a migration does to prepared statements, behind the back of the driver.
PREPARED = {
    "0A000": "ALTER TABLE builds ALTER title TYPE text, ALTER parent TYPE bigint",
    "26000": "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$",
    "42P05": "DO $$ BEGIN EXECUTE 'PREPARE _pg3_0 AS SELECT 1'; END $$",
}


@pytest.mark.parametrize("database", [on for on in DATABASES if on == "postgresql"], indirect=True)
@pytest.mark.parametrize("state", [*PREPARED])
def test_a_prepared_statement_is_not_what_the_driver_takes_it_for(
    make_worker: Callable[..., Worker], state: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make_worker(connect_args={"prepare_threshold": 2})
    if state != "42P05":
        assert [worker.get().status_code for _ in range(4)] == [200] * 4
    if state == "0A000":
        worker.execute(PREPARED[state])
    else:
        with worker.pool.begin() as connection:
            connection.exec_driver_sql(PREPARED[state])
    answers = [worker.get() for _ in range(6)]
    [refused] = [answer for answer in answers if answer.status_code != 200]
    assert_unavailable(refused)
    assert f"({state})" in caplog.text
    assert_served(worker)


@pytest.mark.parametrize("database", [on for on in DATABASES if on == "mariadb"], indirect=True)
def test_the_table_is_altered_under_a_snapshot(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.auth_query = "SELECT id FROM build_revisions"

    def alter() -> None:
        worker.execute("ALTER TABLE builds FORCE")

    with worker.at("before_cursor_execute", "FROM builds", alter):
        assert_unavailable(worker.get())
    assert "(1412)" in caplog.text
    assert worker.get().json == OCTOCAT


#: What makes the connections of a server read-only that was demoted, and those to the new writer.
DEMOTED = {
    "postgresql": "ALTER DATABASE {} SET default_transaction_read_only = on",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


@on_servers
def test_connections_to_a_server_that_became_read_only_leave_the_pool(
    make_host: Callable[..., Host], database: str, database_url: str
) -> None:
    host = make_host(database_url, history=BuildRevision)
    pool = sa.create_engine(database_url, poolclass=QueuePool, pool_size=2, max_overflow=0)
    demoted = DEMOTED[database].format(pool.url.database)
    host.session.configure(bind=pool)
    if database == "postgresql":
        host.execute(demoted)
    with pool.connect() as one, pool.connect() as other:
        if database == "mariadb":
            one.exec_driver_sql(demoted)
            other.exec_driver_sql(demoted)
    if database == "postgresql":
        with host.engine.begin() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ WRITE")
            connection.exec_driver_sql(demoted.replace("= on", "= off"))
    assert host.get().json == OCTOCAT
    assert_unavailable(host.put(CHANGED))
    assert host.put(CHANGED).json == CHANGED
    host.session.remove()
    pool.dispose()


def test_a_file_of_sqlite_that_was_replaced_is_opened_anew(
    make_host: Callable[..., Host], tmp_path: Path
) -> None:
    file = tmp_path / "ci.db"
    host = make_host(f"sqlite:///{file}")
    assert host.get().json == OCTOCAT
    restored = tmp_path / "restored.db"
    restored.write_bytes(file.read_bytes())
    restored.replace(file)
    assert_unavailable(host.put(CHANGED))
    assert host.put(CHANGED).json == CHANGED
    assert host.row() == CHANGED


#: Changes that are made while workers are killed, and how many workers that is.
KILLS = {"sqlite": (500, 5), "postgresql": (500, 5), "mariadb": (200, 2)}


def test_workers_are_killed_in_the_middle_of_changes(
    database: str, database_url: str, tmp_path: Path
) -> None:
    changes, kills = KILLS[database]
    texts = [member for member, value in OCTOCAT.items() if isinstance(value, str)]
    builds = [OCTOCAT | dict.fromkeys(texts, letter * 20) for letter in "abcdef"]
    numbers = count(1)
    answered: list[int] = []
    broken: list[Exception] = []

    def accepted() -> int:
        return answered.count(200)

    def put_some(server: Server, build: dict[str, Any]) -> None:
        while accepted() < changes:
            document = build | {"parent": next(numbers)}
            try:
                answer = server.put(document)
            except (http.client.HTTPException, ConnectionError) as error:
                broken.append(error)
            else:
                assert answer.status == 503 or answer.json == document
                answered.append(answer.status)

    with serve(database_url, tmp_path) as server, ThreadPoolExecutor(len(builds)) as clients:
        tasks = [clients.submit(put_some, server, build) for build in builds]
        for killed in range(kills):
            wait_until(partial(lambda number: accepted() >= number, 90 * (killed + 1)))
            os.kill(server.booted()[killed], signal.SIGKILL)
        for task in tasks:
            task.result()
        assert set(answered) <= {200, 503}
        assert broken
        stored = server.get().json
        chain = chain_of(database_url)
        assert server.put(OCTOCAT).json == OCTOCAT
        wait_until(lambda: len(server.booted()) == server.workers + kills)
    # Every change has its revision and every revision its change: nothing is mixed, nothing lost.
    assert chain[0][0] == OCTOCAT
    assert chain[-1][1] == stored
    for _, after in chain:
        assert after in [build | {"parent": after["parent"]} for build in builds]
    # What a worker had committed when it was killed is stored, but nobody was told.
    assert accepted() <= len(chain) <= accepted() + len(broken)


def test_sqlite_loses_its_worker_in_the_commit(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ci.db"
    journal = tmp_path / "ci.db-journal"
    with serve(sqlite_url, tmp_path) as server, ThreadPoolExecutor(1) as client:
        before = server.get().json
        with closing(sqlite3.connect(file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT id FROM builds").fetchall()
            put = client.submit(server.put, CHANGED)
            # The row is overwritten, and the reader stands in the way of the commit.
            wait_until(lambda: journal.exists() and journal.stat().st_size)
            for worker in server.booted():
                os.kill(worker, signal.SIGKILL)
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                put.result()
        assert server.get().json == before
        assert server.put(CHANGED).json == CHANGED
