"""A cluster of three nodes of MariaDB, all of which take changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from flask_build_admin.exceptions import ConfigurationError
from tests.engines.conftest import SECONDS
from tests.engines.writers import Outcome, assert_nothing_is_lost, write
from tests.support.galera import Node, run_galera
from tests.support.hosts import OCTOCAT, Host
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow

CAUSAL = {"init_command": "SET wsrep_sync_wait = 1, innodb_lock_wait_timeout = 5"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    with run_galera() as nodes:
        yield nodes


@pytest.fixture
def hosts(nodes: list[Node], host_on: Callable[..., Host]) -> list[Host]:
    """A host on each node, with the tables of all."""
    first, *others = nodes
    made = [host_on(first.url, connect_args=CAUSAL)]
    for node in others:
        wait_until(partial(node.execute, "SHOW TABLES FROM test LIKE 'builds'"))
        made.append(host_on(node.url, fresh=False, connect_args=CAUSAL))
    return made


def test_a_node_that_may_be_late_is_refused(
    nodes: list[Node], hosts: list[Host], host_on: Callable[..., Host]
) -> None:
    late = host_on(nodes[1].url, fresh=False)
    late.app.testing = True
    assert late.get(1).status_code == 200
    with pytest.raises(ConfigurationError, match="SET wsrep_sync_wait = 1 as init_command"):
        late.put(OCTOCAT | {"title": "t"})
    assert hosts[0].row()["title"] == OCTOCAT["title"]


def test_nothing_is_lost(
    nodes: list[Node], hosts: list[Host], tell: Callable[[str, Outcome], None]
) -> None:
    outcome = write(hosts, SECONDS)
    tell("Galera, three nodes", outcome)
    assert_nothing_is_lost(outcome, hosts[0].engine)


def test_a_node_that_was_cut_off_comes_back(
    nodes: list[Node], hosts: list[Host], tell: Callable[[str, Outcome], None]
) -> None:
    def cut_off() -> None:
        time.sleep(1)
        nodes[2].isolate(True)
        wait_until(lambda: nodes[2].status("wsrep_ready") == "OFF")
        assert hosts[2].put(OCTOCAT | {"title": "t"}).status_code == 503
        time.sleep(2)
        nodes[2].isolate(False)
        wait_until(nodes[2].is_ready)
        time.sleep(1)

    outcome = write(hosts, SECONDS, cut_off)
    tell("Galera, a node cut off", outcome)
    assert_nothing_is_lost(outcome, hosts[0].engine)
    assert hosts[2].put(OCTOCAT | {"title": "back"}).status_code == 200


def test_a_node_dies(
    nodes: list[Node], hosts: list[Host], tell: Callable[[str, Outcome], None]
) -> None:
    outcome = write(hosts, SECONDS, nodes[2].kill)
    tell("Galera, a node killed", outcome)
    assert_nothing_is_lost(outcome, hosts[0].engine)
    nodes[2].start()
    assert hosts[2].put(OCTOCAT | {"title": "back"}).status_code == 200
