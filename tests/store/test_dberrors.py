"""What drivers report, also what no test can provoke here: the response, and the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from pymysql import err as pymysql
from sqlalchemy import exc

from flask_build_admin.exceptions import BuildConflict, DatabaseError, DatabaseUnavailable
from flask_build_admin.store.dberrors import describe, needs_reconnect, translate
from tests.support.hosts import Host, history_of, model_of


class Pg8000Error(Exception):
    """As pg8000 has it: a dict of the fields of the protocol."""


class ConnectorError(Exception):
    """As mysql-connector and mariadb have it."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


def of_mysql(number: int, message: str = "") -> exc.DBAPIError:
    return exc.OperationalError("UPDATE builds", None, pymysql.OperationalError(number, message))


def of_postgresql(**fields: str) -> exc.DBAPIError:
    return exc.ProgrammingError("UPDATE builds", None, Pg8000Error(fields))


def of_connector(errno: int, kind: type[exc.DBAPIError] = exc.OperationalError) -> exc.DBAPIError:
    return kind("UPDATE builds", None, ConnectorError("it said this", errno))


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        *((of_mysql(number), DatabaseUnavailable) for number in (1049, 1243, 1412, 1615, 1698)),
        *((of_mysql(number), DatabaseUnavailable) for number in (1290, 1792, 1836, 2006)),
        *((of_mysql(number), BuildConflict) for number in (1366, 1369, 1644, 3819, 4025)),
        *((of_mysql(number), BuildConflict) for number in (1348, 1906, 3105)),
        *((of_mysql(number), DatabaseError) for number in (1054, 1064, 1146)),
        *((of_connector(number), DatabaseUnavailable) for number in (-1, 1205, 2055)),
        (of_connector(-1, exc.InterfaceError), DatabaseUnavailable),
        (of_connector(-1, exc.ProgrammingError), DatabaseError),
        (of_connector(4025), BuildConflict),
        *((of_postgresql(C=state), DatabaseUnavailable) for state in ("08006", "3D000", "28P01")),
        *((of_postgresql(C=state), DatabaseUnavailable) for state in ("25006", "25P04", "55P03")),
        *((of_postgresql(C=state), DatabaseUnavailable) for state in ("26000", "42P05", "40001")),
        *((of_postgresql(C=state), BuildConflict) for state in ("22P05", "23514", "P0001")),
        *((of_postgresql(C=state), DatabaseError) for state in ("0A000", "25P02", "42P01")),
        (of_postgresql(C="0A000", R="RevalidateCachedQuery"), DatabaseUnavailable),
        (of_postgresql(C="428C9", R="rewriteTargetListIU"), BuildConflict),
        (of_postgresql(C="0A000", R="rewriteTargetView"), BuildConflict),
        (of_postgresql(C="42501", R="ExecWithCheckOptions"), BuildConflict),
        (of_postgresql(C="42501", R="exec_stmt_raise"), BuildConflict),
        (of_postgresql(C="40001", R="exec_stmt_raise"), DatabaseUnavailable),
        (of_postgresql(C="42501", R="aclcheck_error"), DatabaseError),
        *(
            (of_postgresql(C=state), DatabaseError)
            for state in ("55000", "55006", "55P02", "55P04")
        ),
        (of_postgresql(C="55000", R="CheckCmdReplicaIdentity"), DatabaseError),
        (of_postgresql(C="55000", R="CheckMyDatabase"), DatabaseUnavailable),
        (of_postgresql(C="55000", R="exec_stmt_raise"), BuildConflict),
        (exc.InvalidRequestError(), type(None)),
        (OSError(), type(None)),
    ],
)
def test_an_error_is_translated(error: Any, translated: type[Any]) -> None:
    assert type(translate(error)) is translated


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        *((of_mysql(number), True) for number in (1290, 1792, 1836)),
        (of_postgresql(C="25006"), True),
        (of_mysql(1205), False),
        (of_postgresql(C="55P03"), False),
        (OSError(), False),
    ],
)
def test_connections_to_where_nobody_can_write_are_of_no_use(error: Any, needed: bool) -> None:
    assert needs_reconnect(error) is needed


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (of_mysql(4025, "CONSTRAINT `sane` failed for `ci`.`builds`"), "4025: sane"),
        (of_mysql(3819, "Check constraint 'sane' is violated."), "3819: sane"),
        (of_mysql(1062, "Duplicate entry 'hush' for key 'x-hush' for key 'one'"), "1062: one"),
        (of_mysql(1062, "Duplicate entry 'hush\nfor key 'hush'' for key 'b.one'"), "1062: b.one"),
        (of_mysql(1062, "Duplicata du champ 'hush' pour la clef 'one'"), "1062"),
        (
            of_mysql(1452, "… fails (`ci`.`builds`, CONSTRAINT `fk` FOREIGN KEY (`repo_id`) …"),
            "1452: fk",
        ),
        (of_mysql(1048, "Column 'event' cannot be null"), "1048: event"),
        (of_mysql(1406, "Data too long for column 'error' at row 1"), "1406: error"),
        (
            of_mysql(1366, r"Incorrect string value: '\xE2hush' for column `a`.`b`.`c` at row 1"),
            "1366: c",
        ),
        (
            of_mysql(1292, "Incorrect datetime value: 'hush' for column 'at' at row 1"),
            "1292: at",
        ),
        (of_mysql(1644, "hush 'hush'"), "1644"),
        (of_mysql(1205, "Connection refused, unknown database: hush"), "1205"),
        (of_mysql(1049, "Unknown database 'hush'"), "1049: unknown role or database"),
        (of_mysql(1045, "Access denied for user 'hush'"), "1045: access denied"),
        (of_mysql(2013, "Lost connection to MySQL server"), "2013: connection lost"),
        (of_mysql(2003, "hush"), "2003"),
        (of_postgresql(C="23514", n="sane", D="(hush)"), "23514: sane"),
        (of_postgresql(C="23502", c="event", t="builds", D="(hush)"), "23502: event"),
        (of_postgresql(C="42P01", M='relation "ci.builds" does not exist'), "42P01: ci.builds"),
        (of_postgresql(C="42703", M="column builds.title does not exist"), "42703: builds.title"),
        (of_postgresql(C="42703", M="Spalte »title« existiert nicht"), "42703: title"),
        (of_postgresql(C="42703", M="la colonne « title » n'existe pas"), "42703: title"),
        (of_postgresql(C="42703", M="no such thing"), "42703"),
        (of_postgresql(C="428C9", M='column "title" can only be updated …'), "428C9: title"),
        (of_postgresql(C="42501", M="la règle « eigen » de la table"), "42501: eigen"),
        (of_postgresql(C="42501", M='hush "hush"', R="exec_stmt_raise"), "42501"),
        (of_mysql(1906, "The value for generated column 'a' in table 'b' has …"), "1906: a"),
        (of_mysql(1348, "Column 'a' is not updatable"), "1348: a"),
        (of_postgresql(C="P0001", M='hush "hush"'), "P0001"),
    ],
)
def test_what_an_error_is_about_is_named_and_no_value(error: Any, described: str) -> None:
    assert describe(error) == f"{type(error.orig).__name__} ({described})"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            'connection to server at "::1" failed: Connection refused\n\tIs the …',
            "connection refused",
        ),
        ('FATAL:  database "hush" does not exist', "unknown role or database"),
        ('FATAL:  role "hush" does not exist', "unknown role or database"),
        ('FATAL:  password authentication failed for user "hush"', "access denied"),
        ('FATAL:  no pg_hba.conf entry for host "hush"', "access denied"),
        ("fe_sendauth: no password supplied", "access denied"),
        ("FATAL:  sorry, too many clients already", "too many connections"),
        ("FATAL:  the database system is starting up", "starting or stopping"),
        ("FATAL:  the database system is in recovery mode", "starting or stopping"),
        ("connection timeout expired", "timeout"),
        ("failed to resolve host 'hush': [Errno -2] Name or service not known", "unknown host"),
        ("server closed the connection unexpectedly", "connection lost"),
        ("connection failed: hush", "no connection"),
    ],
)
def test_why_a_database_cannot_be_reached_is_named(message: str, kind: str) -> None:
    error = exc.OperationalError("", None, psycopg.OperationalError(message))
    assert describe(error) == f"OperationalError ({kind})"


def test_what_is_said_in_other_words_is_left_out() -> None:
    error = exc.OperationalError("", None, psycopg.OperationalError("hush"))
    assert describe(error) == "OperationalError"
    assert describe(ValueError("hush")) == "ValueError"


@pytest.mark.parametrize("table", ["builds", "builds_revisions"])
def test_a_generated_column_that_the_model_does_not_declare_is_a_conflict(
    make_host: Callable[..., Host],
    database_url: str,
    table: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = model_of()
    host = make_host(database_url, model=model, history=history_of(model))
    column, of_column = {"builds": ("title", "branch"), "builds_revisions": ("reason", "actor")}[
        table
    ]
    host.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    generated = f"{column} VARCHAR(250) GENERATED ALWAYS AS ({of_column})"
    kind = "VIRTUAL" if host.engine.dialect.name == "sqlite" else "STORED"
    host.execute(f"ALTER TABLE {table} ADD COLUMN {generated} {kind}")
    document = host.get().json
    for query in ({}, {"dry_run": "true"}):
        refused = host.put(document | {"title": "x"}, query_string=query | {"reason": "why"})
        assert (refused.status_code, refused.json) == (409, {"error": BuildConflict.sentence})
        assert caplog.messages[-1].endswith(f": {column})")
    assert host.get().json == document
    if table == "builds":
        assert host.put(document | {"status": "error"}).status_code == 200
