"""Where the session writes: all of a change is on the connection that the flush uses.

Reads go where the host sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from flask_build_admin import BuildAdmin, BuildStore
from flask_build_admin.exceptions import ConfigurationError
from flask_build_admin.representation import Representation
from tests.support.cluster import Cluster, Standby, run_cluster, run_standby
from tests.support.databases import LOCK_PATIENCE, impatient_engine, own_database
from tests.support.hosts import ADMIN, OCTOCAT, Build, BuildRevision, Host, anybody, model_of
from tests.support.repairs import change, changes_of, command, fetch, queued, undo_newest
from tests.support.servers import wait_until

MakeHost = Callable[..., Host]

RUNNING = OCTOCAT | {"status": "running"}
ERROR = RUNNING | {"status": "error"}

#: Makes a session of two engines: one for what is written, one for what is read.
Route = Callable[[sa.Engine, sa.Engine], scoped_session[Any]]


def by_flushing(primary: sa.Engine, replica: sa.Engine) -> scoped_session[Any]:
    """Route as SQLAlchemy documents it under "Custom Vertical Partitioning"."""

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **options: Any) -> sa.Engine:
            written = self._flushing or isinstance(clause, sa.Update | sa.Delete)
            return primary if written else replica

    return scoped_session(sessionmaker(class_=RoutingSession))


def by_two_arguments(primary: sa.Engine, replica: sa.Engine) -> scoped_session[Any]:
    """Route with the documented form of two arguments."""

    class RoutingSession(Session):
        def get_bind(  # type: ignore[override]
            self, mapper: Any = None, clause: Any = None
        ) -> sa.Engine:
            written = self._flushing or isinstance(clause, sa.Update | sa.Delete)
            return primary if written else replica

    return scoped_session(sessionmaker(class_=RoutingSession))


def by_the_clause(primary: sa.Engine, replica: sa.Engine) -> scoped_session[Any]:
    """Send every SELECT that locks nothing to the replica, and all else to the primary."""

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **options: Any) -> sa.Engine:
            read = isinstance(clause, sa.Select) and clause._for_update_arg is None
            return replica if read and not self._flushing else primary

    return scoped_session(sessionmaker(class_=RoutingSession))


def by_the_mapper(primary: sa.Engine, replica: sa.Engine) -> scoped_session[Any]:
    """Route only what is of a mapper, and refuse the rest."""

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **options: Any) -> sa.Engine:
            if mapper is None and not isinstance(clause, sa.ClauseElement):
                raise LookupError("this session routes by the mapper or the clause")
            return primary if self._flushing else replica

    return scoped_session(sessionmaker(class_=RoutingSession))


ROUTES: dict[str, Route] = {
    "flushing": by_flushing,
    "two_arguments": by_two_arguments,
    "clause": by_the_clause,
    "mapper": by_the_mapper,
}


@contextmanager
def statements_of(engine: sa.Engine) -> Iterator[list[str]]:
    """Collect the statements that an engine is sent, without transaction control."""
    sent: list[str] = []

    def collect(connection: Any, cursor: Any, statement: str, *args: Any) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(" ".join(statement.split()))

    sa.event.listen(engine, "before_cursor_execute", collect)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", collect)


class Routed(Host):
    """A host with a history whose session has a primary and a replica.

    :param url: of the primary.
    :param replica: the engine of the replica; by default another one on the primary.
    """

    def __init__(
        self, url: str, route: Route, replica: sa.Engine | None = None, **options: Any
    ) -> None:
        self.primary = impatient_engine(url)
        self.replica = replica or impatient_engine(url)
        super().__init__(
            url,
            model=options.pop("model", Build),
            rows=options.pop("rows", [RUNNING]),
            history=options.pop("history", BuildRevision),
            session=route(self.primary, self.replica),
            **options,
        )

    def close(self) -> None:
        self.session.remove()
        self.primary.dispose()
        self.replica.dispose()
        super().close()


@pytest.fixture
def make_routed() -> Iterator[Callable[..., Routed]]:
    """Make such hosts, which are gone after the test."""
    hosts: list[Routed] = []

    def make(url: str, route: Route, replica: sa.Engine | None = None, **options: Any) -> Routed:
        hosts.append(Routed(url, route, replica, **options))
        return hosts[-1]

    yield make
    for host in reversed(hosts):
        host.close()


MakeRouted = Callable[..., Routed]

routes = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)


def tour(host: Host) -> None:
    """Fetch, preview, put, refuse, list and undo."""
    tag = host.get().headers["ETag"]
    assert fetch(host) == RUNNING
    assert queued(host) == [1]
    preview = host.put(ERROR, query_string={"dry_run": "true"})
    assert preview.status_code == 200, preview.data
    assert host.row() == RUNNING
    same = host.put(RUNNING, headers={"If-Match": tag})
    assert (same.status_code, same.json) == (200, RUNNING)
    answer = host.put(ERROR, headers={"If-Match": tag})
    assert (answer.status_code, answer.json) == (200, ERROR)
    assert host.row() == ERROR
    assert host.put(RUNNING, headers={"If-Match": tag}).status_code == 412
    assert changes_of(host) == [{"status": {"before": "running", "after": "error"}}]
    undone = undo_newest(host)
    assert (undone.status_code, undone.json) == (200, RUNNING)
    assert host.row() == RUNNING
    done = command(host, "set", "1", "status=killed", "--yes")
    assert done.code == 0, done.errors
    assert len(host.recorded()) == 3
    assert host.put(RUNNING | {"id": 9}).status_code == 404


@routes
def test_a_change_does_not_wait_for_its_own_lock(
    make_routed: MakeRouted, database_url: str, route: Route
) -> None:
    tour(make_routed(database_url, route))


@routes
def test_all_of_a_change_is_on_the_connection_that_writes(
    make_routed: MakeRouted, database_url: str, route: Route
) -> None:
    host = make_routed(database_url, route)
    change(host, status="error")
    document = fetch(host)
    with statements_of(host.replica) as read, statements_of(host.primary) as written:
        answer = host.put(document | {"status": "killed"})
        assert answer.status_code == 200
        undone = host.undo(host.recorded()[-1]["id"])
        assert undone.status_code == 200
    assert read == []
    verbs = [statement.split()[0] for statement in written]
    assert verbs.count("UPDATE") == 2
    assert verbs.count("INSERT") == 2


@routes
def test_what_is_only_read_is_read_where_the_host_reads(
    make_routed: MakeRouted, database_url: str, route: Route
) -> None:
    host = make_routed(database_url, route)
    change(host, error="lost")
    with statements_of(host.replica) as read, statements_of(host.primary) as written:
        assert host.get().status_code == 200
        assert host.revisions().status_code == 200
        assert queued(host) == [1]
    assert written == []
    assert len(read) >= 3


@pytest.mark.parametrize("route", [by_two_arguments], ids=["two_arguments"])
def test_a_session_of_one_engine_may_have_its_own_get_bind(
    make_routed: MakeRouted, database_url: str, route: Route
) -> None:
    engine = impatient_engine(database_url)
    tour(make_routed(database_url, lambda primary, replica: route(engine, engine)))
    engine.dispose()


READ_ONLY: dict[str, Callable[[str], sa.Engine]] = {
    "sqlite": lambda url: sa.create_engine(
        url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    ),
    "postgresql": lambda url: impatient_engine(
        url, options="-c lock_timeout=1s -c default_transaction_read_only=on"
    ),
    "mariadb": lambda url: impatient_engine(url, init_command="SET SESSION TRANSACTION READ ONLY"),
}


@routes
def test_a_replica_need_not_be_writable(
    make_routed: MakeRouted, database: str, database_url: str, route: Route
) -> None:
    tour(make_routed(database_url, route, READ_ONLY[database](database_url)))


# A replica that lags


class Lagging(NamedTuple):
    """A host, and its replica, which still has a build as it was."""

    host: Routed
    stale: Host


BY_ANOTHER = RUNNING | {"status": "success", "error": "by somebody else"}
OVERWRITE = "UPDATE builds SET status = 'success', error = 'by somebody else' WHERE id = 1"


@pytest.fixture(scope="module")
def replica_url(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another database of the same kind."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('replica') / 'ci.db'}"
        return
    with own_database(database, "_replica") as url:
        yield url


@pytest.fixture(params=[*ROUTES.values()], ids=[*ROUTES])
def lagging(
    request: pytest.FixtureRequest,
    make_host: MakeHost,
    make_routed: MakeRouted,
    database_url: str,
    replica_url: str,
) -> Lagging:
    """A host whose replica still has the build as it was before somebody else changed it."""
    stale = make_host(replica_url, rows=[RUNNING], history=BuildRevision)
    host = make_routed(database_url, request.param, impatient_engine(replica_url))
    host.execute(OVERWRITE)
    return Lagging(host, stale)


def assert_untouched(lagging: Lagging, revisions: int = 0) -> None:
    assert lagging.host.row() == BY_ANOTHER
    assert lagging.stale.row() == RUNNING
    assert len(lagging.host.recorded()) == revisions
    assert lagging.stale.recorded() == []


def test_a_put_is_judged_on_the_primary(lagging: Lagging) -> None:
    host, stale = lagging
    fetched = host.get()
    assert fetched.json == RUNNING
    headers = {"If-Match": fetched.headers["ETag"]}
    for query in ({"dry_run": "true"}, {}):
        for document in (ERROR, fetched.json):
            answer = host.put(document, headers=headers, query_string=query)
            assert answer.status_code == 412, answer.data
    assert_untouched(lagging)
    headers = {"If-Match": f'"{Representation.of(BY_ANOTHER).tag}"'}
    answer = host.put(BY_ANOTHER | {"status": "error"}, headers=headers)
    assert (answer.status_code, answer.json) == (200, BY_ANOTHER | {"status": "error"})
    assert host.row() == BY_ANOTHER | {"status": "error"}
    [revision] = host.recorded()
    assert revision["before"] == BY_ANOTHER
    assert stale.row() == RUNNING
    assert stale.recorded() == []


def test_a_clean_looks_for_builds_on_the_primary(lagging: Lagging) -> None:
    host, stale = lagging
    host.execute("UPDATE builds SET status = 'running', host = 'worker-9', created = 1")
    cleaned = host.client.put("/api/v1/admin/clean?host=worker-9", headers=ADMIN)
    assert cleaned.json == "1 build cleaned."
    assert (host.row()["status"], stale.row()) == ("error", RUNNING)


def test_what_differs_is_judged_on_the_primary(lagging: Lagging) -> None:
    host, stale = lagging
    same = host.put(BY_ANOTHER)
    assert (same.status_code, same.json) == (200, BY_ANOTHER)
    assert_untouched(lagging)
    answer = host.put(RUNNING)  # as the replica has it, and nobody asked for a tag
    assert (answer.status_code, answer.json) == (200, RUNNING)
    assert host.row() == RUNNING
    [revision] = host.recorded()
    assert (revision["before"], revision["after"]) == (BY_ANOTHER, RUNNING)
    assert stale.recorded() == []


def test_a_build_that_only_one_of_them_has(lagging: Lagging) -> None:
    host, stale = lagging
    stale.execute("DELETE FROM builds WHERE id = 1")
    assert host.get().status_code == 404
    answer = host.put(BY_ANOTHER | {"status": "error"})
    assert (answer.status_code, host.row()["status"]) == (200, "error")
    host.execute("DELETE FROM builds WHERE id = 1")
    with stale.engine.begin() as connection:
        connection.execute(sa.insert(Build).values(RUNNING))
    assert fetch(host) == RUNNING
    for headers in ({}, {"If-Match": "*"}, {"If-Match": host.get().headers["ETag"]}):
        assert host.put(RUNNING, headers=headers).status_code == 404


def test_an_undo_is_judged_on_the_primary(lagging: Lagging) -> None:
    host = lagging.host
    assert host.put(BY_ANOTHER | {"title": "x"}).status_code == 200
    [revision] = host.recorded()
    tag = host.get().headers["ETag"]
    assert host.undo(revision["id"], headers={"If-Match": tag}).status_code == 412
    undone = host.undo(revision["id"])
    assert (undone.status_code, undone.json) == (200, BY_ANOTHER)
    assert_untouched(lagging, revisions=2)
    host.execute("UPDATE builds SET title = 'y' WHERE id = 1")
    assert host.undo(host.recorded()[-1]["id"]).status_code == 409
    assert host.row()["title"] == "y"


def test_the_terminal_changes_the_build_of_the_primary(lagging: Lagging) -> None:
    done = command(lagging.host, "set", "1", "status=killed", "--yes")
    assert done.code == 0, done.errors
    assert done.output.startswith('- status: "success"\n+ status: "killed"\n')
    assert lagging.host.row() == BY_ANOTHER | {"status": "killed"}
    assert lagging.stale.row() == RUNNING
    refused = command(lagging.host, "set", "1", "status=error", "--if", "status=running", "--yes")
    assert refused.code == 3, refused.errors
    assert lagging.host.row() == BY_ANOTHER | {"status": "killed"}


# Sessions that promise nothing


def test_a_session_that_never_writes_where_it_says_is_refused_at_the_first_change(
    make_routed: MakeRouted, database_url: str
) -> None:
    patience = LOCK_PATIENCE[sa.make_url(database_url).get_backend_name()]

    class RestlessSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **options: Any) -> sa.Engine:
            return sa.create_engine(database_url, poolclass=sa.NullPool, connect_args=patience)

    def restless(primary: sa.Engine, replica: sa.Engine) -> scoped_session[Any]:
        return scoped_session(sessionmaker(class_=RestlessSession))

    host = make_routed(database_url, restless)
    assert fetch(host) == RUNNING
    with host.app.app_context(), pytest.raises(ConfigurationError, match=r"(?i)session"):
        host.blueprint.store.overwrite(ERROR)
    assert host.put(ERROR).status_code == 500
    assert host.row() == RUNNING
    assert host.recorded() == []


TWO_KEYS = model_of(number=sa.Column(sa.Integer, primary_key=True, autoincrement=False))
ASYNC: dict[str, Any] = {
    "async_sessionmaker": async_sessionmaker(),
    "async_scoped_session": async_scoped_session(async_sessionmaker(), scopefunc=lambda: 1),
    "AsyncSession": AsyncSession,
    "sessionmaker_of_async": sessionmaker(class_=AsyncSession),
}


def make_blueprint(model: type[Any], session: Any) -> object:
    return BuildAdmin(model, session, anybody)


MAKERS: dict[str, Callable[[type[Any], Any], object]] = {
    "blueprint": make_blueprint,
    "store": BuildStore,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_primary_key_of_two_columns_is_refused_when_the_blueprint_is_made(
    make: Callable[[type[Any], Any], object],
) -> None:
    with pytest.raises(ConfigurationError, match="primary key"):
        make(TWO_KEYS, scoped_session(sessionmaker()))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("session", ASYNC.values(), ids=ASYNC)
def test_an_async_session_is_refused_when_the_blueprint_is_made(
    make: Callable[[type[Any], Any], object], session: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r"(?i)async"):
        make(Build, session)


# A primary and its streaming standby

#: A commit waits until the standby shows it.
SYNCHRONOUS = "-c lock_timeout=1s -c synchronous_commit=remote_apply"
#: A commit does not wait.
ASYNCHRONOUS = "-c lock_timeout=1s -c synchronous_commit=local"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Standby]]:
    """Two servers of PostgreSQL's, of which one replays what the other has committed."""
    with run_cluster() as primary, run_standby(primary) as standby:
        autocommit = primary.engine.execution_options(isolation_level="AUTOCOMMIT")
        with autocommit.connect() as connection:
            connection.exec_driver_sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield primary, standby


def url_of(cluster: Cluster, options: str) -> str:
    url = sa.make_url(cluster.url).update_query_dict({"options": options})
    return url.render_as_string(hide_password=False)


@pytest.mark.slow
@routes
def test_a_host_with_a_streaming_standby(
    make_routed: MakeRouted, servers: tuple[Cluster, Standby], route: Route
) -> None:
    primary, standby = servers
    replica = sa.create_engine(url_of(standby, "-c lock_timeout=1s"))
    host = make_routed(url_of(primary, SYNCHRONOUS), route, replica)
    host.session.remove()
    tour(host)


@pytest.mark.slow
@routes
def test_a_standby_that_lags_overwrites_nothing(
    make_routed: MakeRouted, servers: tuple[Cluster, Standby], route: Route
) -> None:
    primary, standby = servers
    replica = sa.create_engine(url_of(standby, "-c lock_timeout=1s"))
    host = make_routed(url_of(primary, ASYNCHRONOUS), route, replica)
    wait_until(lambda: host.get().status_code == 200)
    with standby.lagging():
        host.execute(OVERWRITE)
        fetched = host.get()
        assert fetched.json == RUNNING
        headers = {"If-Match": fetched.headers["ETag"]}
        assert host.put(ERROR, headers=headers).status_code == 412
        assert host.row() == BY_ANOTHER
        assert host.put(BY_ANOTHER | {"status": "error"}).status_code == 200
        [revision] = host.recorded()
        assert host.undo(revision["id"]).json == host.row() == BY_ANOTHER
        assert fetch(host) == RUNNING
    wait_until(lambda: fetch(host) == BY_ANOTHER)
