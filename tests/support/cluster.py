"""A PostgreSQL server of the tests' own, which may be stopped, broken and thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from tests.support.servers import PATIENCE

#: Where PostgreSQL's programs are: on the PATH, or where Debian keeps them.
FOLDERS = [os.environ["PATH"], *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)]

#: No port: one that is free while the server is down may be a client's when it comes back.
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
max_connections = 20
"""

TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Cluster:
    """A server with one database.

    :param directory: of its data, its socket and its log.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.url = f"postgresql+psycopg://postgres@/postgres?host={directory}"
        #: For what is done behind the back of whoever uses the server.
        self.engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        self.owner: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
            group = pwd.getpwnam("nobody").pw_gid
            self.owner = {"user": "nobody", "group": group, "extra_groups": []}
            shutil.chown(directory, "nobody", group)
        self._make_data()
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(SETTINGS.format(directory=directory))

    def _make_data(self) -> None:
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8")

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", f"--log={self.directory / 'log'}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server.

        :param mode: ``fast`` ends all connections; ``immediate`` is a crash, to be recovered from.
        """
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def end(self) -> None:
        """Stop the server, if it runs."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")

    @contextmanager
    def stopped(self, mode: str = "fast") -> Iterator[None]:
        self.stop(mode)
        try:
            yield
        finally:
            self.start()

    def scalar(self, query: str) -> Any:
        """Execute a query, or a command, behind the back of whoever uses the server."""
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with autocommit.connect() as connection:
            result = connection.exec_driver_sql(query)
            return result.scalar() if result.returns_rows else None

    def configure(self, setting: str) -> None:
        """Change a setting of the server that runs."""
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with autocommit.connect() as connection:
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")

    def terminate(self) -> int:
        """End the connections of everybody else, and answer how many those were."""
        with self.engine.connect() as connection:
            return len(connection.exec_driver_sql(TERMINATE).all())

    def _run(self, program: str, *arguments: str) -> None:
        found = shutil.which(program, path=os.pathsep.join(FOLDERS))
        if found is None:
            raise FileNotFoundError(
                f"There is no {program}: install PostgreSQL's server (on Debian, apt-get install"
                " postgresql), or put the folder of its programs on the PATH."
            )
        subprocess.run(
            [found, *arguments, f"--pgdata={self.data}"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
            timeout=PATIENCE,
            **self.owner,
        )


class Standby(Cluster):
    """A server that replays what another has committed, and can be read.

    :param directory: of its data, its socket and its log.
    """

    def __init__(self, directory: Path, primary: Cluster) -> None:
        self._primary = primary
        super().__init__(directory)

    def _make_data(self) -> None:
        host = f"--host={self._primary.directory}"
        self._run("pg_basebackup", "--write-recovery-conf", host, "--username=postgres")

    def promote(self) -> None:
        """Take the place of the primary."""
        self._run("pg_ctl", "promote", "--wait")

    @contextmanager
    def lagging(self) -> Iterator[None]:
        """Stay as it is, whatever the primary commits."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("SELECT pg_wal_replay_resume()")


@contextmanager
def run_standby(primary: Cluster) -> Iterator[Standby]:
    """Make a standby of a server that runs, run it, and leave nothing of it behind."""
    with TemporaryDirectory(prefix="postgresql-") as directory:
        standby = Standby(Path(directory), primary)
        try:
            standby.start()
            yield standby
        finally:
            standby.end()


@contextmanager
def run_cluster(**settings: str) -> Iterator[Cluster]:
    """Make a server, run it, and leave nothing of it behind."""
    with TemporaryDirectory(prefix="postgresql-") as directory:
        cluster = Cluster(Path(directory))
        with (cluster.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = {value}\n" for name, value in settings.items())
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.end()
