"""A cluster of MariaDB's Galera, of the tests' own: all its nodes take changes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.servers import wait_until

PROVIDER = "/usr/lib/galera/libgalera_smm.so"

CONFIGURATION = """
[mysqld]
datadir={directory}/data
socket={directory}/socket
pid-file={directory}/pid
log-error={directory}/log.err
skip-networking
skip-log-bin
binlog_format=ROW
innodb_buffer_pool_size=32M
innodb_log_file_size=16M
innodb_flush_log_at_trx_commit=0
innodb_autoinc_lock_mode=2
performance_schema=OFF
max_connections=60
wsrep_on=ON
wsrep_provider={provider}
wsrep_provider_options="gcache.size=16M;gmcast.listen_addr=tcp://127.0.0.1:{port};ist.recv_addr=127.0.0.1:{ist};evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;evs.suspect_timeout=PT1S;evs.inactive_timeout=PT3S;evs.install_timeout=PT3S"
wsrep_cluster_name={name}
wsrep_cluster_address=gcomm://{others}
wsrep_node_name=node{number}
wsrep_node_address=127.0.0.1
wsrep_sst_method=rsync
wsrep_sst_receive_address=127.0.0.1:{sst}
"""


class Node:
    """One server of the cluster.

    :param directory: of its data, its socket and its log.
    """

    def __init__(self, directory: Path, number: int, ports: Sequence[int], others: str) -> None:
        self.directory = directory
        self.url = f"mysql+pymysql://root@localhost/test?unix_socket={directory}/socket"
        self._process: subprocess.Popen[bytes] | None = None
        listening, ist, sst = ports
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:  # as root, rsync would write as somebody else
            self._owner = {"user": "mysql", "group": "mysql", "extra_groups": []}
            for one in (directory.parent, directory):
                shutil.chown(one, "mysql", "mysql")
        self._configuration = directory / "my.cnf"
        self._configuration.write_text(
            CONFIGURATION.format(
                directory=directory,
                provider=PROVIDER,
                name=directory.parent.name,
                number=number,
                port=listening,
                ist=ist,
                sst=sst,
                others=others,
            )
        )
        subprocess.run(
            [
                _program("mariadb-install-db"),
                f"--defaults-file={self._configuration}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--wsrep-on=OFF",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            **self._owner,
        )

    def start(self, *, first: bool = False) -> None:
        """Start the server, and wait until it has all that the others have.

        :param first: whether there are no others yet.
        """
        self._process = subprocess.Popen(
            [
                _program("mariadbd"),
                f"--defaults-file={self._configuration}",
                *(["--wsrep-new-cluster"] if first else []),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            **self._owner,
        )
        wait_until(lambda: self.is_ready() or self._has_ended(), every=0.2)
        assert not self._has_ended(), (self.directory / "log.err").read_text()

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def is_ready(self) -> bool:
        """Check whether the node takes part in the cluster."""
        return self.status("wsrep_ready") == "ON"

    def status(self, name: str) -> str:
        """Read a status variable; empty if nobody answers."""
        found = self._client(f"SHOW STATUS LIKE '{name}'", check=False).split()
        return found[1] if found else ""

    def execute(self, statement: str) -> str:
        """Execute a statement behind the back of whoever uses the server; return what it prints."""
        return self._client(statement, check=True)

    def _client(self, statement: str, *, check: bool) -> str:
        client = [_program("mariadb"), f"--socket={self.directory}/socket", "--user=root"]
        done = subprocess.run(
            [*client, "--skip-column-names", "--batch", "--execute", statement],
            check=check,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return done.stdout

    def isolate(self, alone: bool) -> None:
        """Cut the node off from the others, or let it back."""
        self.execute(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={int(alone)}'")

    def kill(self) -> None:
        """Let the server die at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def run_galera(count: int = 3) -> Iterator[list[Node]]:
    """Make a cluster, run it, and leave nothing of it behind."""
    if not Path(PROVIDER).exists():
        raise FileNotFoundError(
            f"There is no {PROVIDER}: install MariaDB's server with Galera (on Debian, apt-get"
            " install mariadb-server)."
        )
    ports = _free_ports(3 * count)
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports[:count])
    with TemporaryDirectory(prefix="galera-") as folder, ExitStack() as running:
        nodes = []
        for number in range(count):
            directory = Path(folder) / f"{number}"
            directory.mkdir()
            own = ports[number::count]
            nodes.append(Node(directory, number, own, addresses))
        for number, node in enumerate(nodes):
            running.callback(node.kill)
            node.start(first=number == 0)
        nodes[0].execute("CREATE DATABASE test")
        yield nodes


def _free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    if found is None:
        raise FileNotFoundError(f"There is no {name}: install MariaDB's server.")
    return found
