"""Errors of the database, translated: a refused row, an unavailable database, or a failure."""

from typing import Any

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from ..exceptions import BuildAdminError, BuildConflict, DatabaseError, DatabaseUnavailable

#: SQLSTATE classes (ISO 9075) of a refused row: data exception, constraint, WITH CHECK OPTION,
#: RAISE in PL/pgSQL, SIGNAL in MariaDB.
_REFUSED_STATES = frozenset({"22", "23", "44", "45", "P0"})

#: SQLSTATE classes of a database that cannot answer now: connection, rollback asked for (deadlock,
#: serialization), resources, lock not available, operator intervention.
_BUSY_STATES = frozenset({"08", "40", "53", "55", "57"})

#: A standby cannot be written to; a transaction idled for too long.
_BUSY_STATE_CODES = frozenset({"25006", "25P03"})

#: MariaDB's and MySQL's CHECK violations, SIGNAL and values out of range, which their drivers call
#: operational.
_REFUSED_NUMBERS = frozenset({4025, 3819, 1644, 1690})

#: SQLite's primary result codes that another try may mend: BUSY, LOCKED, NOMEM, READONLY,
#: INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
_SQLITE_BUSY = frozenset({5, 6, 7, 8, 9, 10, 13, 14, 15})

#: MariaDB's and MySQL's errors that another try may mend: changed since the last read, resources
#: and connections used up, shutdown, network, lock wait, deadlock, killed, read only, too slow,
#: idled for too long. Those of the client library (2000 and on) are all about the connection.
_MYSQL_BUSY = frozenset(
    {1020, 1021, 1037, 1038, 1040, 1041, 1047, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1180}
    | {1184, 1203, 1205, 1206, 1213, 1226, 1290, 1317, 1792, 1836, 1927, 1969, 3024, 3572, 4031}
    | set(range(2000, 2100))
)


#: What may be raised where a value of a row cannot be converted, see ``is_unreadable``.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, DBAPIError)


def translate(error: SQLAlchemyError) -> BuildAdminError | None:
    """Translate an error of SQLAlchemy.

    :returns: None for an error that is not the database's.
    """
    if isinstance(error, IntegrityError | DataError | StaleDataError):
        return BuildConflict()
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable()
    if isinstance(error, DBAPIError):
        return _of_driver(error)
    if isinstance(error, StatementError):
        return BuildConflict()  # the column's type takes no such value
    return None


def is_unreadable(error: Exception) -> bool:
    """Check whether a value that was fetched cannot be converted; a retry would not help.

    Drivers have no code for it: psycopg for a date that Python lacks, sqlite3 for text that is not
    UTF-8. A type of SQLAlchemy raises what Python does.
    """
    if not isinstance(error, DBAPIError):
        return not isinstance(error, SQLAlchemyError)
    origin = error.orig
    coded = _number(origin) or _state(origin) or getattr(origin, "sqlite_errorcode", None)
    of_sqlite = type(origin).__module__ == "sqlite3"
    return not coded and (isinstance(error, DataError) or of_sqlite)


def describe(error: BaseException) -> str:
    """Name what happened in a way that is fit for a log: no SQL, no values, no traceback."""
    origin = getattr(error, "orig", None)
    if origin is None:
        return type(error).__name__  # the arguments of any other exception may be values
    code = _number(origin) or _state(origin) or getattr(origin, "sqlite_errorname", None)
    name = type(origin).__name__
    return name if code is None else f"{name} ({code})"


def _of_driver(error: DBAPIError) -> BuildAdminError:
    origin = error.orig
    number, state = _number(origin), _state(origin)
    sqlite = getattr(origin, "sqlite_errorcode", None)
    if number in _REFUSED_NUMBERS or (number is None and state and state[:2] in _REFUSED_STATES):
        return BuildConflict()
    if number is not None:
        busy = number in _MYSQL_BUSY
    elif state is not None:
        busy = state[:2] in _BUSY_STATES or state in _BUSY_STATE_CODES
    elif sqlite is not None:
        busy = sqlite & 0xFF in _SQLITE_BUSY
    else:
        busy = isinstance(error, OperationalError)  # no answer at all: it could not connect
    return DatabaseUnavailable() if busy or error.connection_invalidated else DatabaseError()


def _number(origin: Any) -> int | None:
    """Get the number that MariaDB's and MySQL's drivers have for an error."""
    number = next(iter(getattr(origin, "args", ())), None)
    return number if type(number) is int else None


def _state(origin: Any) -> str | None:
    """Get the SQLSTATE that PostgreSQL's drivers have for an error."""
    state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    return state if isinstance(state, str) else None
