"""The query of a request, read as strictly as a body."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import parse_qsl

from .errors import InvalidParameter

#: Reads one value, or raises a ``ValueError`` that says what it is not.
Reader = Callable[[str], Any]

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_BOOLEANS = {"true": True, "false": False}


def boolean(text: str) -> bool:
    """Read ``true`` or ``false``."""
    if text not in _BOOLEANS:
        raise ValueError("not true or false")
    return _BOOLEANS[text]


def whole(most: int, *, least: int = 1) -> Reader:
    """Make a reader of plain decimal numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not _DECIMAL.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"not a whole number from {least} to {most}")
        return int(text)

    return read


def read_parameters(
    query: bytes, readers: Mapping[str, Reader], foreign: Container[str]
) -> dict[str, Any]:
    """Read the query of a request.

    :param query: as it came, percent-encoded UTF-8 (RFC 3986, section 2.5).
    :param readers: of the parameters that there may be.
    :param foreign: names of parameters that are none of ours.
    :returns: the values of those that there are.
    :raises InvalidParameter: one is unknown, doubled or not of its form; tells all of them.
    """
    if _BROKEN_ESCAPE.search(query):
        raise InvalidParameter({"query": ["not percent-encoded"]})
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidParameter({"query": ["not UTF-8"]}) from error
    own = [(name, text) for name, text in pairs if name not in foreign]
    problems: dict[str, list[str]] = {}
    values = {}
    for name, text in own:
        if name not in readers:
            problems[name] = ["unknown parameter"]
            continue
        try:
            values[name] = readers[name](text)
        except ValueError as error:
            problems[name] = [str(error)]
    for name, count in Counter(name for name, _ in own).items():
        if count > 1:
            problems[name] = ["more than once"]
    if problems:
        raise InvalidParameter(problems)
    return values
