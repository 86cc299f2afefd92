"""Real hosts on real databases, for every test."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, settings
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from tests.support.ci_servers import CiServer
from tests.support.cluster import Cluster, run_cluster
from tests.support.databases import DATABASES, SERVERS, own_database
from tests.support.drivers import DRIVERS, Driver
from tests.support.hosts import OCTOCAT, BuildRevision, Host
from tests.support.rules import ruled_host

#: What pyproject.toml leaves out of a run that asks for no marker.
FAST = "not slow and not browser"

# Collecting garbage takes a tenth of the time: each test makes an app, which is one big circle.
gc.set_threshold(20_000, 50, 100)


class Templates(BytecodeCache):
    """The compiled templates of all apps: each compiles them anew otherwise."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (compiled := self._compiled.get(bucket.key)) is not None:
            bucket.bytecode_from_string(compiled)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = {"bytecode_cache": Templates()}

# How long an example takes is no matter here: others may have the machine as well.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run the others in one process: they measure time, make load, or share a browser."""
    return None if config.option.markexpr == FAST else 0


def pytest_report_header(config: pytest.Config) -> list[str]:
    left_out = [name for name in SERVERS if name not in DATABASES]
    told = [f"databases: {', '.join(DATABASES)}"]
    if left_out:
        names = " and ".join(f"TEST_{name.upper()}_URL" for name in left_out)
        told[0] += f" (left out: {', '.join(left_out)}; set {names})"
    if config.option.markexpr == FAST:
        told.append("left out: the slow tests, of time and load; pytest -m slow runs them")
        told.append("left out: the pages in a browser; pytest -m browser runs them")
    return told


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, told in report.user_properties:
            terminalreporter.section(name)
            terminalreporter.write_line(told)
    if config.option.markexpr == FAST or len(DATABASES) <= len(SERVERS):
        terminalreporter.write_line("\n".join(pytest_report_header(config)))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that may be broken."""
    with run_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def server_urls() -> Iterator[dict[str, str]]:
    """The URLs of this session's own databases, by the name of the server."""
    with ExitStack() as databases:
        yield {
            name: databases.enter_context(own_database(name))
            for name in DATABASES
            if name in SERVERS
        }


@pytest.fixture(params=DRIVERS, ids=[driver.name for driver in DRIVERS])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver in turn."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def url(driver: Driver, server_urls: dict[str, str]) -> sa.URL:
    """The URL of the driver's own server."""
    return driver.url(server_urls[driver.server])


@pytest.fixture(scope="module", params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The name of each database in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def database_url(
    database: str, server_urls: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URL of each database in turn."""
    if database == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'ci.db'}"
    return server_urls[database]


@pytest.fixture(params=[name for name in DATABASES if name != "sqlite"])
def server_url(request: pytest.FixtureRequest, server_urls: dict[str, str]) -> str:
    """The URL of each database in turn that is a server."""
    return server_urls[request.param]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ci.db'}"


@pytest.fixture
def make_host() -> Iterator[Callable[..., Host]]:
    """Make hosts that are gone after the test, tables and all."""
    hosts: list[Host] = []
    urls: set[str] = set()

    def make(url: str, **options: Any) -> Host:
        hosts.append(Host(url, replace=url in urls, **options))
        urls.add(url)
        return hosts[-1]

    yield make
    for host in reversed(hosts):
        host.close()


@pytest.fixture
def host(make_host: Callable[..., Host], sqlite_url: str) -> Host:
    """A plain host on SQLite, with the octocat build in it."""
    return make_host(sqlite_url)


@pytest.fixture
def hosted(make_host: Callable[..., Host], database_url: str) -> Host:
    """A plain host on each database in turn, with the octocat build in it."""
    return make_host(database_url)


@pytest.fixture
def octocat() -> dict[str, Any]:
    """A copy of the contract's sample."""
    return json.loads(json.dumps(OCTOCAT))  # type: ignore[no-any-return]


@pytest.fixture
def kept(make_host: Callable[..., Host], database_url: str) -> Host:
    """A host that keeps history, on each database in turn."""
    return make_host(database_url, history=BuildRevision, actor=lambda: "mona")


@pytest.fixture(scope="module")
def ruled(database_url: str) -> Iterator[Host]:
    """A host whose database checks every rule at once."""
    host = ruled_host(
        database_url,
        "ruled",
        sa.UniqueConstraint("repo_id", "number"),
        sa.CheckConstraint("finished = 0 OR finished >= started"),
    )
    yield host
    host.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CiServer]:
    """The reader's own CI server, for the blocks of the pages to import from."""
    server = CiServer(tmp_path)
    monkeypatch.setitem(sys.modules, "ci_server", server)
    yield server
    server.close()
