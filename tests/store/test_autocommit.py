"""A change is a transaction, whatever the host has set: connections without one are refused."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_build_admin.exceptions import (
    ConfigurationError,
    DatabaseUnavailable,
    PreconditionFailed,
)
from flask_build_admin.store import BuildStore, ChangeOptions
from tests.support.drivers import Driver, pooled
from tests.support.hosts import OCTOCAT, Build, Host, model_of

MakeHost = Callable[..., Host]
Ways = dict[str, Callable[[sa.URL], sa.Engine]]

CHANGED = OCTOCAT | {"title": "changed"}
PREVIEW = ChangeOptions(dry_run=True)


def refuse(build: object) -> None:
    raise PreconditionFailed


def assert_refused(store: BuildStore) -> None:
    for options in (PREVIEW, ChangeOptions(precondition=refuse), ChangeOptions()):
        with pytest.raises(ConfigurationError, match="than AUTOCOMMIT, and the driver no autoc"):
            store.overwrite(CHANGED, options)
    assert store.find("1").document == OCTOCAT


def at_event(name: str, url: sa.URL) -> sa.Engine:
    """Make an engine whose connections commit every statement from this event of the pool on."""

    def set_autocommit(connection: Any, *_: object) -> None:
        if callable(getattr(connection, "autocommit", None)):
            connection.autocommit(True)
        else:
            connection.autocommit = True

    engine = sa.create_engine(url)
    sa.event.listen(engine, name, set_autocommit)
    return engine


def by_statement(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url)
    sa.event.listen(
        engine, "connect", lambda connection, _: connection.cursor().execute("SET autocommit = 1")
    )
    return engine


OF_ENGINES: Ways = {
    "level": lambda url: sa.create_engine(url, isolation_level="AUTOCOMMIT"),
    "option": lambda url: sa.create_engine(url).execution_options(isolation_level="AUTOCOMMIT"),
}
OF_SERVERS: Ways = {
    **OF_ENGINES,
    "at connect": partial(at_event, "connect"),
    "at checkout": partial(at_event, "checkout"),
}
BY_ARGUMENTS: Ways = {
    "arguments": lambda url: sa.create_engine(url, connect_args={"autocommit": True}),
    "url": lambda url: sa.create_engine(url.update_query_dict({"autocommit": "true"})),
}
#: Of psycopg2 and pg8000 the arguments of ``connect`` have no autocommit.
OF_DRIVERS: dict[str, Ways] = {
    "psycopg": BY_ARGUMENTS,
    "pymysql": BY_ARGUMENTS | {"statement": by_statement},
    "MySQLdb": {"arguments": BY_ARGUMENTS["arguments"], "statement": by_statement},
    "mariadb": {"arguments": BY_ARGUMENTS["arguments"], "statement": by_statement},
    "mysql": BY_ARGUMENTS | {"statement": by_statement},
}


def test_a_server_that_commits_every_statement_is_refused(
    make_host: MakeHost, driver: Driver, url: sa.URL, server_urls: dict[str, str]
) -> None:
    host = make_host(server_urls[driver.server])
    for make in (OF_SERVERS | OF_DRIVERS.get(driver.module, {})).values():
        engine = make(url)
        assert_refused(BuildStore(Build, partial(Session, engine)))
        assert host.row() == OCTOCAT
        engine.dispose()


def test_every_connection_is_checked(
    make_host: MakeHost, driver: Driver, url: sa.URL, server_urls: dict[str, str]
) -> None:
    host = make_host(server_urls[driver.server])
    engine = pooled(url)
    sessions: list[Session] = []
    store = BuildStore(Build, lambda: sessions[-1])
    with Session(engine) as good:
        sessions.append(good)
        assert store.overwrite(CHANGED).build.document == CHANGED
        assert store.overwrite(OCTOCAT).build.document == OCTOCAT
    for make in OF_ENGINES.values():
        second = make(url)
        with Session(second) as session:
            sessions.append(session)
            assert_refused(store)
        second.dispose()
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        with Session(connection) as session:
            sessions.append(session)
            assert_refused(store)
    with Session(engine) as session:
        sessions.append(session)
        # As a host's auth may do.
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        with pytest.raises(ConfigurationError, match="than AUTOCOMMIT"):
            store.overwrite(CHANGED)
        # The connection has gone back to the pool, which resets it.
        assert store.overwrite(CHANGED, PREVIEW).build.document == CHANGED
    engine.dispose()
    assert host.row() == OCTOCAT


class Committing(sqlite3.Connection):
    """What ``autocommit=True`` makes of a connection from Python 3.12 on."""

    autocommit = True


def begin(connection: sa.Connection) -> None:
    """Begin what the driver does not, as SQLAlchemy's documentation has it for SAVEPOINT."""
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")


class Mode:
    """How an engine on SQLite begins and ends a transaction.

    :param begins: whether it does so by a listener.
    :param options: of ``create_engine``.
    """

    def __init__(self, *, begins: bool = False, **options: Any) -> None:
        self.begins = begins
        self.options = options

    @contextmanager
    def engine(self, url: str, attached: Path | None) -> Iterator[sa.Engine]:
        # One connection: what is not rolled back in it, the next commit would store.
        engine = sa.create_engine(url, pool_size=1, max_overflow=0, **self.options)
        if attached is not None:
            attach = f"ATTACH '{attached}' AS other"
            sa.event.listen(engine, "connect", lambda connection, _: connection.execute(attach))
        if self.begins:
            sa.event.listen(engine, "begin", begin)
        yield engine
        engine.dispose()


BY_NONE: Mapping[str, Any] = {"connect_args": {"isolation_level": None, "timeout": 0}}
AUTOCOMMIT: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT", "connect_args": {"timeout": 0}}
SKIPPING = {"skip_autocommit_rollback": True}

if sys.version_info >= (3, 12):
    BY_DRIVER: dict[str, Any] = {"autocommit": True}
else:
    BY_DRIVER = {"factory": Committing}

REFUSED = {
    "level": Mode(**AUTOCOMMIT),
    "none": Mode(**BY_NONE),
    "driver": Mode(connect_args=BY_DRIVER),
    "driver, none and a listener": Mode(
        begins=True, connect_args=BY_DRIVER | {"isolation_level": None}
    ),
}
ACCEPTED = {
    "default": Mode(connect_args={"timeout": 0}),
    "immediate": Mode(connect_args={"timeout": 0, "isolation_level": "IMMEDIATE"}),
    "listener": Mode(begins=True, connect_args={"timeout": 0}),
    "none and a listener": Mode(begins=True, **BY_NONE),
    "level and a listener": Mode(begins=True, **AUTOCOMMIT),
}
if sys.version_info >= (3, 12):
    OWN: dict[str, Any] = {"timeout": 0, "autocommit": False}
    ACCEPTED["own"] = Mode(connect_args=OWN)
    ACCEPTED["own and none"] = Mode(connect_args=OWN | {"isolation_level": None})
    ACCEPTED["own and level"] = Mode(isolation_level="AUTOCOMMIT", connect_args=OWN)
if hasattr(sa.Dialect, "detect_autocommit_setting"):  # from SQLAlchemy 2.0.43 on, as the option is
    # It would leave a preview in the transaction, for the next commit to store.
    REFUSED |= {
        f"{name}, no rollback": Mode(begins=mode.begins, **mode.options, **SKIPPING)
        for name, mode in ACCEPTED.items()
        if "none" in name or "level" in name
    }
    ACCEPTED["default, no rollback"] = Mode(connect_args={"timeout": 0}, **SKIPPING)


@pytest.fixture(params=[False, True], ids=["main", "attached"])
def attached(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where the builds are if they are in an attached file."""
    return tmp_path / "other.db" if request.param else None


@pytest.fixture
def lite(make_host: MakeHost, tmp_path: Path, attached: Path | None) -> Host:
    """A host on the file of the builds."""
    return make_host(f"sqlite:///{attached or tmp_path / 'main.db'}")


@contextmanager
def store_on(mode: Mode, attached: Path | None, lite: Host) -> Iterator[BuildStore]:
    """Make a store whose sessions are on an engine of a mode, with the builds that a host has."""
    model = model_of(__table_args__={"schema": "other"}) if attached else lite.model
    url = f"sqlite:///{attached.with_name('main.db')}" if attached else lite.engine.url
    with mode.engine(str(url), attached) as engine, ExitStack() as sessions:
        yield BuildStore(model, lambda: sessions.enter_context(Session(engine)))


@pytest.mark.parametrize("mode", REFUSED)
def test_a_connection_of_sqlite_that_commits_every_statement_is_refused(
    lite: Host, attached: Path | None, mode: str
) -> None:
    with store_on(REFUSED[mode], attached, lite) as store:
        assert_refused(store)
    assert lite.row() == OCTOCAT


@pytest.mark.parametrize("mode", ACCEPTED)
def test_a_change_on_sqlite_is_a_transaction(lite: Host, attached: Path | None, mode: str) -> None:
    with (
        store_on(ACCEPTED[mode], attached, lite) as store,
        store_on(ACCEPTED[mode], attached, lite) as other,
    ):

        def interfere(build: object) -> None:
            with pytest.raises(DatabaseUnavailable):
                other.overwrite(OCTOCAT | {"title": "of another"})

        assert store.overwrite(CHANGED, PREVIEW).build.document == CHANGED
        with pytest.raises(PreconditionFailed):
            store.overwrite(CHANGED, ChangeOptions(precondition=refuse))
        # A commit would store what was not rolled back.
        assert store.find("1").document == lite.row() == OCTOCAT
        store.overwrite(CHANGED, ChangeOptions(precondition=interfere))
        assert other.find("1").document == lite.row() == CHANGED


def test_the_refusal_is_a_500_over_http(host: Host) -> None:
    host.session.configure(bind=host.engine.execution_options(isolation_level="AUTOCOMMIT"))
    for query in ({}, {"dry_run": "true"}):
        answer = host.put(CHANGED, query_string=query)
        assert (answer.status_code, [*answer.json]) == (500, ["error"])
    assert host.get().json == host.row() == OCTOCAT
