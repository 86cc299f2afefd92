"""The query of a request, read as strictly as a body."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Whole:
    """Read a plain decimal number.

    :param most: the greatest that is allowed.
    :param least: … and the least.
    """

    most: int
    least: int = 1

    def __call__(self, text: str) -> int:
        """Read one."""
        if not _DECIMAL.fullmatch(text) or not self.least <= int(text) <= self.most:
            raise ValueError(f"not a whole number from {self.least} to {self.most}")
        return int(text)


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
