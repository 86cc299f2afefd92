"""JSON on the wire: the strict reader, the writer, and the entity tag of what was written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from math import isfinite
from typing import Any, NamedTuple, Self

from .errors import MalformedBody, plain

#: A build as JSON has it: member to value.
Document = dict[str, Any]

#: Types of JSON values that hold no others, and of which two are the same if they are equal.
SCALARS = frozenset({str, int, bool, type(None)})

#: How deep arrays and objects may lie in each other (RFC 8259, section 9, leaves it to the parser).
DEPTH = 100


def _unique(pairs: Sequence[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise MalformedBody(f'The body has the member "{plain(twice[:100])}" more than once.')
    return document


def _constant(name: str) -> float:
    raise MalformedBody(f"The body is not JSON: {name} is no JSON value.")


def _float(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise MalformedBody("The body has a number that is too large.")
    return value


_TOO_DEEP = f"The body is nested too deeply: more than {DEPTH} levels."

_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_float)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(body: bytes) -> Document:
    """Read one JSON object, and nothing that RFC 8259 leaves open to interpretation.

    :param body: the bytes of the request.
    :raises MalformedBody: not UTF-8, not JSON, trailing data, a member twice, ``NaN``, a number
        or a nesting beyond the parser, or anything but an object.
    """
    try:
        text = body.decode()
        document = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The body is not UTF-8: byte {error.start} is invalid.") from error
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"The body is not JSON: line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise MalformedBody(_TOO_DEEP) from error
    except ValueError as error:
        # int() takes no more digits than sys.get_int_max_str_digits().
        raise MalformedBody("The body has a number that is too long.") from error
    if not isinstance(document, dict):
        raise MalformedBody
    if text.count("{") + text.count("[") > DEPTH and _deeper_than(DEPTH, document):
        raise MalformedBody(_TOO_DEEP)
    return document


def _deeper_than(depth: int, document: Document) -> bool:
    level: list[Any] = [document]
    while level and depth:
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        depth -= 1
    return bool(level)


def encode(document: Document | list[Document]) -> bytes:
    """Write documents as one line of JSON, their members in the order they have."""
    return f"{_encoder.encode(document)}\n".encode()


class Representation(NamedTuple):
    """A build as it goes over the wire."""

    document: Document
    #: The same, encoded.
    body: bytes

    @classmethod
    def of(cls, document: Document) -> Self:
        """Represent a build."""
        return cls(document, encode(document))

    @property
    def tag(self) -> str:
        """The opaque part of its strong entity tag (RFC 9110, section 8.8.3)."""
        return blake2b(self.body, digest_size=16).hexdigest()
