"""PgBouncer in front of a PostgreSQL server of the tests' own: each transaction goes elsewhere."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.cluster import Cluster
from tests.support.servers import wait_until

#: It names the socket only: there is no network.
PORT = 6543

CONFIGURATION = """
[databases]
postgres = host={server} dbname=postgres user=postgres

[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {directory}
logfile = {directory}/log
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


@contextmanager
def run_pgbouncer(cluster: Cluster, mode: str = "transaction", size: int = 3) -> Iterator[str]:
    """Run PgBouncer, and yield the URL of what is behind it.

    :param mode: ``transaction`` or ``session``.
    :param size: how many connections it has to the server.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise FileNotFoundError(
            "There is no pgbouncer: install it (on Debian, apt-get install pgbouncer)."
        )
    with TemporaryDirectory(prefix="pgbouncer-") as folder:
        directory = Path(folder)
        (directory / "pgbouncer.ini").write_text(
            CONFIGURATION.format(
                server=cluster.directory, port=PORT, directory=directory, mode=mode, size=size
            )
        )
        if cluster.owner:  # PgBouncer refuses to be run by root
            shutil.chown(directory, "nobody", pwd.getpwnam("nobody").pw_gid)
        process = subprocess.Popen(
            [program, "-q", directory / "pgbouncer.ini"], cwd=directory, **cluster.owner
        )
        try:
            wait_until((directory / f".s.PGSQL.{PORT}").exists)
            yield f"postgresql+psycopg://postgres@/postgres?host={directory}&port={PORT}"
        finally:
            process.terminate()
            process.wait()
