"""What is behind an engine, where it matters: a pooler, a cluster, a standby, a sequence.

Each question is asked once for an engine, or for a table of it, on the driver itself: it is no
statement of the session.
"""

import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Column
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ..exceptions import ConfigurationError, DatabaseUnavailable
from .mapping import MYSQL
from .transactions import log

#: Whether the connections of an engine lead through a pooler.
_POOLED: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()

#: The engines whose cluster is in order.
_CAUSAL: WeakSet[Engine] = WeakSet()

#: The tables of revisions whose sequence is in order, by engine.
_ORDERED: WeakKeyDictionary[Engine, WeakSet[Any]] = WeakKeyDictionary()

_WSREP = "SHOW SESSION VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_sync_wait')"

#: Of Galera's ``wsrep_sync_wait``: a SELECT waits for what other nodes have committed.
_READS = 1

#: How many numbers a session takes at once of the sequences that a table owns: those of its serial
#: and identity columns.
_CACHE = (
    "SELECT s.seqrelid::regclass::text, s.seqcache FROM pg_sequence s JOIN pg_depend d"
    " ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')"
    " WHERE d.refobjid = to_regclass(%s) AND s.seqcache > 1"
)

#: The function of PostgreSQL's server that warns of a commit without its standby; psycopg2 has the
#: text only.
_UNCONFIRMED = re.compile("SyncRepWaitForLSN|synchronous replication")


def prepare_nothing_behind_poolers(connection: Connection) -> None:
    """Let psycopg prepare no statements on one of its connections that leads through a pooler.

    A pooler such as PgBouncer may give each transaction another connection to the server. There the
    name of a prepared statement may be unknown, or that of another one: a PUT would run a SELECT
    without its lock. The setting stays, because it is as wrong for the host's own statements.
    """
    driver: Any = connection.connection.dbapi_connection
    if driver.prepare_threshold is None:
        return
    engine = connection.engine
    if engine not in _POOLED:
        # A pooler knows the process of the server only once it has chosen one.
        [(process,)] = _ask(connection, "SELECT pg_backend_pid()")
        _POOLED[engine] = process != driver.info.backend_pid
    if _POOLED[engine]:
        driver.prepare_threshold = None


def require_causal_reads(connection: Connection) -> None:
    """Check that a node of Galera finds what other nodes have committed.

    :raises ConfigurationError: a change could be compared with what the build was before.
    """
    if connection.engine in _CAUSAL or connection.dialect.name not in MYSQL:
        return
    variables = dict(_ask(connection, _WSREP))
    if variables.get("wsrep_on") == "ON" and not int(variables["wsrep_sync_wait"]) & _READS:
        raise ConfigurationError(
            "This node of Galera reads without waiting for what other nodes have committed, so a"
            " change could be lost: pass SET wsrep_sync_wait = 1 as init_command to the driver."
        )
    _CAUSAL.add(connection.engine)


def require_ordered_ids(connection: Connection, column: Column[Any]) -> None:
    """Check that later revisions have greater ids, whichever connection adds them.

    :param column: the id of the revisions.
    :raises ConfigurationError: each connection takes several numbers of PostgreSQL's sequence.
    """
    dialect = connection.dialect
    if dialect.name != "postgresql":
        return
    ordered = _ORDERED.setdefault(connection.engine, WeakSet())
    if column.table in ordered:
        return
    table = dialect.identifier_preparer.format_table(column.table)
    for sequence, cache in _ask(connection, _CACHE, table):
        raise ConfigurationError(
            f"Each connection takes {cache} ids at once of {sequence}, so the revisions of a build"
            f" are not in the order of their ids: ALTER SEQUENCE {sequence} CACHE 1."
        )
    ordered.add(column.table)


def commit(session: Session, connection: Connection) -> None:
    """Commit, and learn whether PostgreSQL has given up waiting for its standby.

    It then answers with a warning: the change is stored here, but lost if the standby takes over.

    :param connection: of the session, to PostgreSQL.
    :raises DatabaseUnavailable: it has.
    """
    driver: Any = connection.connection.dbapi_connection
    warnings: list[str] = []

    def hear(notice: Any) -> None:
        warnings.append(f"{notice.source_function} {notice.message_primary}")

    handles = hasattr(driver, "add_notice_handler")  # psycopg
    heard = len(getattr(driver, "notices", ()))  # psycopg2, pg8000
    if handles:
        driver.add_notice_handler(hear)
    try:
        session.commit()
    finally:
        if handles:
            driver.remove_notice_handler(hear)
    warnings += map(str, [*getattr(driver, "notices", ())][heard:])
    if any(map(_UNCONFIRMED.search, warnings)):
        log.warning("a change is stored, but the standby has not confirmed it")
        raise DatabaseUnavailable(
            "The change may be lost again: the standby has not confirmed it. Fetch the build."
        )


def _ask(connection: Connection, query: str, *values: Any) -> Sequence[Any]:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(query, *[values] if values else [])
        return cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise OperationalError(query, None, error) from error
    finally:
        cursor.close()
