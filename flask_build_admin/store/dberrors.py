"""Errors of the database, translated: a refused row, an unavailable database, or a failure."""

import json
import re
from traceback import walk_tb
from typing import Any

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from ..exceptions import (
    BuildAdminError,
    BuildConflict,
    DatabaseError,
    DatabaseUnavailable,
    InvalidBuild,
    InvalidParameter,
    one_line,
)
from ..representation import Document

#: SQLSTATE classes (ISO 9075) of a refused row: data exception, constraint, WITH CHECK OPTION,
#: RAISE in PL/pgSQL, SIGNAL in MariaDB.
_REFUSED_STATES = frozenset({"22", "23", "44", "45", "P0"})

#: A generated column, in PostgreSQL's words GENERATED ALWAYS.
_REFUSED_STATE_CODES = frozenset({"428C9"})

#: The functions of PostgreSQL that refuse a row under any other code: WITH CHECK of a policy, RAISE
#: with a code of the host's own, and the update of what is an expression in a view.
_REFUSING_FUNCTIONS = frozenset({"ExecWithCheckOptions", "exec_stmt_raise", "rewriteTargetView"})

#: SQLSTATE classes of a database that cannot be reached: connection, role, name of the database.
_UNREACHABLE_STATES = frozenset({"08", "28", "3D"})

#: SQLSTATE classes of a database that cannot answer now: rollback asked for (deadlock,
#: serialization), resources, operator intervention.
_BUSY_STATES = _UNREACHABLE_STATES | {"40", "53", "57"}

#: A read-only server; a transaction idled or ran for too long; a prepared statement that the server
#: does not know, or already has, because a pooler has changed the server or it was reset; lock not
#: available: no other try mends the others of its class.
_BUSY_STATE_CODES = frozenset({"25006", "25P03", "25P04", "26000", "42P05", "55P03"})

#: The functions of PostgreSQL that fail under codes which are much else: "cached plan must not
#: change result type", and a database that takes no connections.
_BUSY_FUNCTIONS = frozenset({"RevalidateCachedQuery", "CheckMyDatabase"})

#: MariaDB's and MySQL's values out of range or without a character set, view and partition that
#: have no such row, expressions in a view, generated columns, CHECK violations, SIGNAL and invalid
#: JSON, which some drivers call operational.
_REFUSED_NUMBERS = frozenset(
    {1292, 1348, 1364, 1366, 1369, 1526, 1644, 1690, 1906, 3105, 3140, 3819, 4025}
)

#: SQLite has no code for a generated column.
_SQLITE_REFUSED = re.compile("cannot (?:UPDATE|INSERT into) generated column ")

#: SQLite's primary result codes that another try may mend: BUSY, LOCKED, NOMEM, READONLY,
#: INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
_SQLITE_BUSY = frozenset({5, 6, 7, 8, 9, 10, 13, 14, 15})

#: MariaDB's and MySQL's errors of a database that cannot be reached: no such user or database, host
#: not allowed, or blocked. Those of the client library (2000 and on) are all about the connection.
_MYSQL_UNREACHABLE = frozenset({1044, 1045, 1049, 1129, 1130, 1698, *range(2000, 2100)})

#: MariaDB's and MySQL's errors that another try may mend: changed since the last read, resources
#: and connections used up, shutdown, network, lock wait, deadlock, killed, read only, too slow,
#: idled for too long, a table that was altered, a prepared statement that has to be prepared again.
_MYSQL_BUSY = _MYSQL_UNREACHABLE | frozenset(
    {1020, 1021, 1037, 1038, 1040, 1041, 1047, 1053, 1080, 1114, 1135, 1152, 1158, 1159, 1160}
    | {1161, 1180, 1184, 1203, 1205, 1206, 1213, 1226, 1243, 1290, 1317, 1412, 1461, 1613, 1614}
    | {1615, 1637, 1792, 1836, 1927, 1969, 3024, 3168, 3169, 3572, 4031}
)

#: A server, or the transactions of a connection, that turn out to be read-only; a node of Galera
#: that has left its cluster; a file of SQLite's that was replaced while it was open.
_READ_ONLY = frozenset({"25006", 1047, 1290, 1792, 1836, "SQLITE_READONLY_DBMOVED"})


#: How a message names what the error is about, by the code of the error. A message may hold a
#: value, too: these match names of the schema only.
_NAMES: dict[int | str, re.Pattern[str]] = {
    code: re.compile(pattern)
    for pattern, codes in {
        r"CONSTRAINT `([^`]+)`": (1451, 1452, 4025),
        r"'([^']+)' is violated": (3819,),
        r"for key '([^']+)'$": (1062, 1586),
        r"'([^']+)'": (1048, 1054, 1146, 1264, 1265, 1348, 1364, 1406, 1906, 3105),
        r"(\w+)[`'] at row \d+$": (1292, 1366),
        r'["«»„“]\s?([^"«»„“”]+?)\s?["«»“”]|\b(\w+\.\w+)': (
            "0A000",
            "42501",
            "428C9",
            "42703",
            "42P01",
        ),
        r"^CHECK constraint failed: (\w+)$": ("SQLITE_CONSTRAINT_CHECK",),
        r"constraint failed: ([\w., ']+)$": (
            "SQLITE_CONSTRAINT_NOTNULL",
            "SQLITE_CONSTRAINT_PRIMARYKEY",
            "SQLITE_CONSTRAINT_UNIQUE",
        ),
        r"(?:no such (?:table|column):|has no column named|generated column) \"?([\w.]+)\"?$": (
            "SQLITE_ERROR",
        ),
    }.items()
    for code in codes
}

_NO_CONNECTION = "no connection"

#: Why a database cannot be reached, in words that hold nothing of the message.
_TROUBLES = {
    "connection refused": "refused",
    "unknown host": "resolve|translate host|name resolution|not known|unknown.* host|getaddrinfo",
    "timeout": "timed out|timeout expired",
    "unknown role or database": "(role|database) .*does not exist|unknown database",
    "access denied": r"denied|authentication|password|pg_hba\.conf|not allowed",
    "too many connections": "too many|remaining connection slots",
    "starting or stopping": "starting up|shutting down|recovery mode",
    "connection lost": "lost|closed|gone away|terminat|network error|reset by peer|not available",
    _NO_CONNECTION: "connect",
}

#: What PostgreSQL's server, or a pooler in its place, says of a connection that it refuses.
_FATAL = re.compile(r"FATAL:\s+(.+)")

_UNSTORABLE = ["holds a character that the database cannot store"]


def translate(error: Exception) -> BuildAdminError | None:
    """Translate an error of SQLAlchemy, or of the network: pg8000 passes some on.

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
    if isinstance(error, OSError) and _is_of_driver(error):
        return DatabaseUnavailable()
    return None


class Unreadable(Exception):
    """A value that was fetched cannot be converted, and another try does not help."""


class _ConvertingValues:
    """Raise ``Unreadable`` in the place of what says that a value cannot be converted.

    Drivers have no code for it: psycopg for a date that Python lacks, sqlite3 for text that is not
    UTF-8. A type of SQLAlchemy, a field or the host's own code may raise anything.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DBAPIError):
            of_sqlite = type(error.orig).__module__ == "sqlite3"
            unreadable = not _code(error.orig) and (isinstance(error, DataError) or of_sqlite)
        else:
            ours = isinstance(error, BuildAdminError)
            unreadable = isinstance(error, Exception) and not ours and translate(error) is None
        if unreadable and isinstance(error, Exception):
            raise Unreadable(describe(error)) from error


converting_values: _ConvertingValues = _ConvertingValues()


class UnknownValue(Exception):
    """A query compares a column with what no row of the database can have."""


class _ComparingValues:
    """Raise ``UnknownValue`` in the place of what says so: the driver, or the database."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and _is_of_value(error):
            raise UnknownValue(describe(error)) from error


comparing_values: _ComparingValues = _ComparingValues()


def describe(error: BaseException) -> str:
    """Name what happened in a way that is fit for a log: no SQL, no values, no traceback.

    A constraint, a table or a column is named, and why the database cannot be reached.
    """
    origin = getattr(error, "orig", None)
    if origin is None:
        return type(error).__name__  # the arguments of any other exception may be values
    code = _code(origin)
    details = ": ".join(str(one) for one in (code, _name(origin, code)) if one)
    return f"{type(origin).__name__} ({details})" if details else type(origin).__name__


def needs_reconnect(error: Exception) -> bool:
    """Check whether the next try fails as well on the connections that there are.

    SQLAlchemy itself closes those that a driver reports to be lost.
    """
    if isinstance(error, DBAPIError):
        return _code(error.orig) in _READ_ONLY
    return isinstance(error, OSError) and _is_of_driver(error)


def refuse_character(
    error: Exception, members: Document, reason: str | None, actor: str | None
) -> None:
    """Refuse a change if it has a character that the character set of the database lacks.

    :param members: those that are changed.
    :raises InvalidBuild: names the members that have it.
    :raises InvalidParameter: names the reason or the actor if they have it.
    """
    character = _missing_character(error)
    if character is None:
        return
    texts = {key: json.dumps(value, ensure_ascii=False) for key, value in members.items()}
    if named := [key for key, text in texts.items() if character in text]:
        raise InvalidBuild(dict.fromkeys(named, _UNSTORABLE)) from error
    for name, text in {"reason": reason, "actor": actor}.items():
        if character in (text or ""):
            raise InvalidParameter({name: _UNSTORABLE}) from error


def _missing_character(error: Exception) -> str | None:
    if isinstance(error, UnicodeEncodeError):
        return str(error.object[error.start]) if _is_of_driver(error) else None
    origin = getattr(error, "orig", None)
    if _state(origin) != "22P05" and _number(origin) != 1366:
        return None
    octets = re.findall(r"(?:0x|\\x)([0-9a-fA-F]{2})", _message(origin))
    return bytes.fromhex("".join(octets)).decode(errors="ignore")[:1] or None


def _is_of_value(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        # StatementError: the type of the column refuses the value.
        return isinstance(error, OverflowError | UnicodeEncodeError | StatementError)
    if isinstance(error, DataError) or (_state(error.orig) or "")[:2] == "22":
        return True
    return _number(error.orig) in {1267, 1270, 1271, 3988}  # the column has another character set


def _is_of_driver(error: Exception) -> bool:
    """Check whether a driver has raised what is no error of its own; or else it is the host's."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(frame.f_globals["__name__"] == "sqlalchemy.engine.base" for frame in frames)


def _of_driver(error: DBAPIError) -> BuildAdminError:
    origin = error.orig
    number, state = _number(origin), _state(origin)
    sqlite = getattr(origin, "sqlite_errorcode", None)
    refused = False
    if number is not None:
        busy, refused = number in _MYSQL_BUSY, number in _REFUSED_NUMBERS
    elif state is not None:
        function = _function(origin)
        busy = state[:2] in _BUSY_STATES or state in _BUSY_STATE_CODES
        busy |= function in _BUSY_FUNCTIONS
        refused = state[:2] in _REFUSED_STATES or state in _REFUSED_STATE_CODES
        refused |= function in _REFUSING_FUNCTIONS
    elif sqlite is not None:
        busy = sqlite & 0xFF in _SQLITE_BUSY
        refused = _SQLITE_REFUSED.match(_message(origin)) is not None
    else:
        # No answer at all: it could not connect.
        busy = isinstance(error, OperationalError | InterfaceError)
    if busy or error.connection_invalidated:
        return DatabaseUnavailable()
    return BuildConflict() if refused else DatabaseError()


def _name(origin: Any, code: int | str | None) -> str | None:
    """Name the constraint, the table or the column, or why the database cannot be reached."""
    named = _field(origin, "constraint_name", "n") or _field(origin, "column_name", "c")
    if named:
        return str(named)
    if code in _NAMES and _function(origin) != "exec_stmt_raise":  # whose message is the host's
        found = _NAMES[code].search(_message(origin))
        return found and found[found.lastindex or 0]
    if code is None or code in _MYSQL_UNREACHABLE or str(code)[:2] in _UNREACHABLE_STATES:
        # pg8000 has no more than "Can't create a connection": the reason is in the context.
        said = f"{origin} {origin.__context__}"
        trouble = next((one for one in _TROUBLES if re.search(_TROUBLES[one], said, re.I)), None)
        # The server's own sentence, or the pooler's: no statement was sent, so it has no value.
        found = _FATAL.search(said) if trouble in (None, _NO_CONNECTION) else None
        return one_line(found[1]) if found else trouble
    return None


def _code(origin: Any) -> int | str | None:
    return _number(origin) or _state(origin) or getattr(origin, "sqlite_errorname", None)


def _number(origin: Any) -> int | None:
    """Get the number that MariaDB's and MySQL's drivers have for an error."""
    candidates = (*getattr(origin, "args", ())[:1], getattr(origin, "errno", None))
    # mysql-connector has -1 for what the server did not say.
    return next((one for one in candidates if type(one) is int and one != -1), None)


def _state(origin: Any) -> str | None:
    """Get the SQLSTATE that PostgreSQL's drivers have for an error."""
    state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    return state if isinstance(state, str) else _field(origin, "sqlstate", "C")


def _field(origin: Any, name: str, letter: str) -> Any:
    """Get a field of PostgreSQL's error message.

    :param name: of the attribute that psycopg and psycopg2 have.
    :param letter: of the field in the protocol, as pg8000 has it.
    """
    fields = next(iter(getattr(origin, "args", ())), None)
    if isinstance(fields, dict):
        return fields.get(letter)
    return getattr(getattr(origin, "diag", None), name, None)


def _function(origin: Any) -> Any:
    """Get the function of PostgreSQL's server that raised an error: it is so in any language."""
    return _field(origin, "source_function", "R")


def _message(origin: Any) -> str:
    message = _field(origin, "message_primary", "M")
    return message or next((one for one in origin.args if isinstance(one, str)), "")
