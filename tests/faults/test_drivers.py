"""Every driver's own way to report an error: the same response, and the same words in the log."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from flask_build_admin.exceptions import BuildConflict, DatabaseError, DatabaseUnavailable
from tests.support.databases import own_database
from tests.support.drivers import DRIVERS, Driver, pooled
from tests.support.hosts import OCTOCAT, Host, history_of, model_of, row_of
from tests.support.servers import wait_until

CHANGED = OCTOCAT | {"status": "error"}

IMPATIENT = {
    "postgresql": "SET lock_timeout = '100ms'",
    "mariadb": "SET SESSION innodb_lock_wait_timeout = 1",
}
BACKEND = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}
KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}
ALIVE = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE pid = {}",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE id = {}",
}


class Driven(Host):
    """A host whose tables the tests reach by their own driver, and the blueprint by another.

    :param url: of the driver in question.
    """

    def __init__(self, url: sa.URL, driver: Driver, server_url: str) -> None:
        rules = (
            sa.CheckConstraint("finished < 5000000000", name="sane_finish"),
            sa.UniqueConstraint("number", name="one_number"),
        )
        number = sa.Column(sa.BigInteger, nullable=False)
        model = model_of(__table_args__=rules, number=number)
        rows: list[Mapping[str, Any]] = [row_of(), row_of(id=2, number=2)]
        super().__init__(server_url, model=model, rows=rows, history=history_of(model))
        self.driver = driver
        self.pool = pooled(url)
        self.session.configure(bind=self.pool)
        sa.event.listen(self.pool, "connect", self.connected)

    def close(self) -> None:
        self.session.remove()
        self.pool.dispose()
        super().close()

    def connected(self, connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(IMPATIENT[self.driver.server])
        cursor.close()
        connection.commit()

    def kill(self) -> None:
        with self.pool.connect() as connection:
            backend = connection.exec_driver_sql(BACKEND[self.driver.server]).scalar_one()
        self.execute(KILL[self.driver.server].format(backend))
        wait_until(lambda: not self.ask(ALIVE[self.driver.server].format(backend)))

    def ask(self, query: str) -> Any:
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(query).scalar_one()


@pytest.fixture
def driven(driver: Driver, url: sa.URL, server_urls: dict[str, str]) -> Iterator[Driven]:
    host = Driven(url, driver, server_urls[driver.server])
    yield host
    host.close()


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return the only cause in the log."""
    [line] = [one for one in caplog.messages if "The cause: " in one]
    caplog.clear()
    return line.partition("The cause: ")[2]


def assert_refused(answer: Any) -> None:
    assert (answer.status_code, answer.json) == (409, {"error": BuildConflict.sentence})


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"finished": 5_000_000_001}, "sane_finish"),
        ({"number": 2}, "one_number"),
    ],
)
def test_a_constraint_refuses_and_is_named(
    driven: Driven, members: dict[str, int], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert_refused(driven.put(CHANGED | members))
    assert logged(caplog).endswith(f": {named})")
    assert driven.put(CHANGED).json == CHANGED
    assert driven.undo(1).json == OCTOCAT


def test_null_is_refused_and_its_column_is_named(
    driven: Driven, caplog: pytest.LogCaptureFixture
) -> None:
    def forget(mapper: object, connection: object, build: Any) -> None:
        build.number = None

    sa.event.listen(driven.model, "before_update", forget)
    assert driven.put(CHANGED).status_code == 409
    assert logged(caplog).endswith(": number)")


#: What makes ``parent`` a column that nobody can write, by the server.
GENERATED: dict[str, list[str]] = {
    "postgresql": [
        "BIGINT GENERATED ALWAYS AS (number) STORED",
        "BIGINT GENERATED ALWAYS AS IDENTITY",
    ],
    "mariadb": [
        "BIGINT GENERATED ALWAYS AS (number) STORED",
        "BIGINT GENERATED ALWAYS AS (number) VIRTUAL",
    ],
}


@pytest.mark.parametrize("kind", [0, 1])
def test_a_column_that_the_database_generates_is_refused_and_named(
    driven: Driven, driver: Driver, kind: int, caplog: pytest.LogCaptureFixture
) -> None:
    driven.execute("ALTER TABLE builds DROP COLUMN parent")
    driven.execute(f"ALTER TABLE builds ADD COLUMN parent {GENERATED[driver.server][kind]}")
    document = driven.get().json
    assert_refused(driven.put(document | {"parent": 7}))
    assert logged(caplog).endswith(": parent)")
    assert driven.put(document | {"status": "error"}).status_code == 200


@pytest.fixture
def viewed(driven: Driven) -> Iterator[Driven]:
    """A host whose builds are a view, with a title that is an expression."""
    columns = ", ".join("upper(title) AS title" if one == "title" else one for one in OCTOCAT)
    driven.execute("ALTER TABLE builds RENAME TO builds_behind")
    driven.execute(f"CREATE VIEW builds AS SELECT {columns} FROM builds_behind")
    yield driven
    driven.execute("DROP VIEW builds")
    driven.execute("ALTER TABLE builds_behind RENAME TO builds")


def test_a_column_that_is_an_expression_of_a_view_is_refused_and_named(
    viewed: Driven, caplog: pytest.LogCaptureFixture
) -> None:
    document = viewed.get().json
    assert_refused(viewed.put(document | {"title": "x"}))
    assert logged(caplog).endswith(": title)")
    assert viewed.put(document | {"status": "error"}).status_code == 200


ON_POSTGRESQL = [one for one in DRIVERS if one.server == "postgresql"]
on_postgresql = pytest.mark.parametrize(
    "driver", ON_POSTGRESQL, ids=[one.name for one in ON_POSTGRESQL], indirect=True
)


@pytest.fixture
def role(driven: Driven) -> Iterator[str]:
    """A role for the connections of the blueprint that may use its tables, but is no superuser."""
    name = f"limited_{os.getpid()}"
    for statement in (
        f"CREATE ROLE {name}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}",
    ):
        driven.execute(statement)

    def set_role(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET ROLE {name}")
        cursor.close()

    sa.event.listen(driven.pool, "checkout", set_role)
    yield name
    driven.session.remove()
    driven.pool.dispose()
    driven.execute(f"DROP OWNED BY {name}")
    driven.execute(f"DROP ROLE {name}")


@on_postgresql
@pytest.mark.parametrize("table", ["builds", "builds_revisions"])
def test_a_policy_refuses_and_is_named(
    driven: Driven, role: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    driven.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    column = {"builds": "status", "builds_revisions": "reason"}[table]
    driven.execute(f"CREATE POLICY own ON {table} USING (true) WITH CHECK ({column} <> 'error')")
    assert_refused(driven.put(CHANGED, query_string={"reason": "error"}))
    assert logged(caplog).endswith(f"(42501: {table})")
    changed = driven.put(OCTOCAT | {"title": "x"}, query_string={"reason": "a fire"})
    assert changed.status_code == 200


@on_postgresql
def test_a_lack_of_permission_is_a_failure(
    driven: Driven, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    driven.execute(f"REVOKE ALL ON builds FROM {role}")
    driven.execute(f"GRANT SELECT, UPDATE (title) ON builds TO {role}")
    assert driven.put(OCTOCAT | {"title": "x"}).status_code == 200
    forbidden = driven.put(CHANGED | {"title": "x"})
    assert (forbidden.status_code, forbidden.json) == (500, {"error": DatabaseError.sentence})
    assert logged(caplog).endswith("(42501)")


REFUSING_TRIGGER = {
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        """ $$ BEGIN RAISE 'no, "hush"' USING ERRCODE = '{code}'; END $$""",
        "CREATE TRIGGER refusing BEFORE UPDATE ON builds FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    "mariadb": [
        "CREATE TRIGGER refusing BEFORE UPDATE ON builds FOR EACH ROW"
        " SIGNAL SQLSTATE '{code}' SET MESSAGE_TEXT = 'no, \"hush\"'",
    ],
}


@pytest.mark.parametrize("code", ["P0001", "42501", "42703", "428C9", "55000", "55006", "CI001"])
def test_a_trigger_refuses_by_any_code_and_the_log_has_not_its_message(
    driven: Driven, driver: Driver, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    for statement in REFUSING_TRIGGER[driver.server]:
        driven.execute(statement.format(code=code))
    assert_refused(driven.put(CHANGED))
    assert "hush" not in logged(caplog)


@on_postgresql
def test_a_trigger_that_asks_for_another_try_is_unavailable(driven: Driven, driver: Driver) -> None:
    for statement in REFUSING_TRIGGER[driver.server]:
        driven.execute(statement.format(code="55P03"))
    assert driven.put(CHANGED).status_code == 503


@on_postgresql
@pytest.mark.parametrize(
    "statements",
    [
        # A publication of what nobody can tell apart, and a trigger that reads what it never set.
        [
            "ALTER TABLE builds REPLICA IDENTITY NOTHING",
            "CREATE PUBLICATION {name} FOR TABLE builds",
        ],
        [
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ DECLARE other record; BEGIN NEW.title := other.title; RETURN NEW; END $$",
            REFUSING_TRIGGER["postgresql"][1],
        ],
    ],
    ids=["publication", "trigger"],
)
def test_a_state_that_no_other_try_mends_is_a_failure(
    driven: Driven, statements: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    name = f"of_builds_{os.getpid()}"
    for statement in statements:
        driven.execute(statement.format(name=name))
    answer = driven.put(CHANGED)
    driven.execute(f"DROP PUBLICATION IF EXISTS {name}")
    assert (answer.status_code, answer.json) == (500, {"error": DatabaseError.sentence})
    assert logged(caplog).endswith("(55000)")


def test_another_has_the_lock(driven: Driven) -> None:
    with driven.engine.begin() as other:
        other.exec_driver_sql("SELECT id FROM builds WHERE id = 1 FOR UPDATE")
        answer = driven.put(CHANGED)
    assert (answer.status_code, answer.json) == (503, {"error": DatabaseUnavailable.sentence})
    assert driven.put(CHANGED).json == CHANGED


def test_the_connection_is_lost(driven: Driven) -> None:
    requests: list[Callable[[], Any]] = [
        driven.get,
        lambda: driven.put(CHANGED),
        lambda: driven.undo(1),
    ]
    for send in requests:
        driven.kill()
        assert send().status_code == 503
        assert send().status_code == 200


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("ALTER TABLE builds DROP COLUMN title", r"\bbuilds\.title\)$"),
        ("DROP TABLE builds", r"\bbuilds\)$"),
        ("DROP TABLE builds_revisions", r"\bbuilds_revisions\)$"),
    ],
)
def test_what_is_missing_is_named(
    driven: Driven, damage: str, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    driven.execute(damage)
    answer = driven.put(CHANGED)
    assert (answer.status_code, answer.json) == (500, {"error": DatabaseError.sentence})
    assert re.search(named, logged(caplog))


@contextmanager
def overrun() -> Iterator[int]:
    """Listen on a port where no connection is ever made, because others wait before it."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def cause_of(driven: Driven, url: sa.URL, caplog: pytest.LogCaptureFixture, **options: Any) -> str:
    """Return what the log says of a request to a database that cannot be reached."""
    engine = pooled(url, **options)
    driven.session.remove()
    driven.session.configure(bind=engine)
    answer = driven.get()
    assert (answer.status_code, answer.json) == (503, {"error": DatabaseUnavailable.sentence})
    engine.dispose()
    assert "hush" not in caplog.text
    return logged(caplog)


def test_the_log_says_why_a_database_cannot_be_reached(
    driven: Driven, driver: Driver, url: sa.URL, caplog: pytest.LogCaptureFixture
) -> None:
    # MariaDB's C library does not know more.
    of_c = driver.module in {"MySQLdb", "mariadb"}
    refused = "2002: no connection" if of_c else "connection refused"
    unknown = {"postgresql": "unknown role or database", "mariadb": "access denied"}[driver.server]
    secret = url.set(password="hush")
    assert f"{refused})" in cause_of(driven, secret.set(port=1), caplog)
    assert "unknown host)" in cause_of(driven, secret.set(host="nowhere.invalid"), caplog)
    assert f"{unknown})" in cause_of(driven, secret.set(username="nobody"), caplog)
    nameless = url.set(database="there_is_none")
    assert "unknown role or database)" in cause_of(driven, nameless, caplog)


@on_postgresql
def test_a_database_that_takes_no_connections_is_unavailable(
    driven: Driven, url: sa.URL, caplog: pytest.LogCaptureFixture
) -> None:
    with own_database("postgresql", "_closed") as closed:
        name = sa.make_url(closed).database
        driven.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cause_of(driven, url.set(database=name), caplog)


def test_the_log_says_that_a_connection_took_too_long(
    driven: Driven, driver: Driver, url: sa.URL, caplog: pytest.LogCaptureFixture
) -> None:
    with overrun() as port:
        cause = cause_of(driven, url.set(port=port), caplog, connect_args={driver.timeout: 1})
    assert re.search(r"timeout\)$", cause) or driver.module in {"MySQLdb", "mariadb"}
