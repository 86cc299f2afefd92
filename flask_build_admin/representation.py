"""JSON on the wire: parsed strictly, encoded, tagged, and compared."""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from math import isfinite
from typing import Any, NamedTuple, Self

from .exceptions import InvalidJSON, plain

#: A build as JSON: member to value.
Document = dict[str, Any]

#: Types of JSON values that hold no others. Two values of one of these types are the same if equal.
SCALARS = frozenset({str, int, bool, type(None)})

#: The most levels of arrays and objects (RFC 8259, section 9, leaves this to the parser).
DEPTH = 100

#: The least length of a part of a list, in bytes: a server sends each part by itself.
_PART = 64 * 1024

_TOO_DEEP = f"The body is nested too deeply: more than {DEPTH} levels."


def _unique(pairs: Sequence[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidJSON(f'The body has the member "{plain(name[:100])}" more than once.')
    return document


def _refuse_constant(name: str) -> float:
    raise InvalidJSON(f"The body is not JSON: {name} is no JSON value.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise InvalidJSON("The body has a number that is too large.")
    return value


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(body: bytes) -> Document:
    """Parse one JSON object, and nothing that RFC 8259 leaves open to interpretation.

    :param body: the bytes of the request.
    :raises InvalidJSON: not UTF-8, not JSON, trailing data, a repeated member, ``NaN``, too many
        digits or levels, or a value other than an object.
    """
    try:
        # RFC 8259, section 8.1, lets a parser ignore a byte order mark.
        text = body.removeprefix(BOM_UTF8).decode()
        document = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidJSON(f"The body is not UTF-8: byte {error.start} is invalid.") from error
    except json.JSONDecodeError as error:
        if not text:
            raise InvalidJSON("The body is empty.") from error
        raise InvalidJSON(
            f"The body is not JSON: line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise InvalidJSON(_TOO_DEEP) from error
    except ValueError as error:
        # int() takes no more digits than sys.get_int_max_str_digits().
        raise InvalidJSON("The body has a number that is too long.") from error
    if not isinstance(document, dict):
        raise InvalidJSON
    if text.count("{") + text.count("[") > DEPTH and _deeper_than(DEPTH, document):
        raise InvalidJSON(_TOO_DEEP)
    return document


def _deeper_than(depth: int, document: Document) -> bool:
    level: list[Any] = [document]
    while level and depth:
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        depth -= 1
    return bool(level)


def encode(value: Any) -> bytes:
    """Encode a JSON value as one line. The order of the members of a document is kept."""
    return f"{_encoder.encode(value)}\n".encode()


class EncodedList:
    """A list as it goes over the wire: encoded item by item, up to a number and a length.

    :param limit: the most items.
    :param max_length: of the whole list, in bytes. A single item may be longer.
    """

    def __init__(self, limit: int, max_length: int) -> None:
        self._limit = limit
        self._max_length = max_length
        self._length = len(b"[]\n")
        self._parts: list[bytes] = []
        self._part = bytearray(b"[")
        self.count: int = 0
        #: The id of the last item.
        self.last_id: Any = None
        #: Whether there was no room for an item.
        self.full: bool = False

    def append(self, document: Document | None, item_id: Any) -> bool:
        """Append an item, if there is room for it; None only counts as one."""
        if self.count < self._limit:
            item = b""
            if document is not None:
                item = b"," * (not self._empty) + _encoder.encode(document).encode()
            if self._empty or self._length + len(item) <= self._max_length:
                self._add(item)
                self.count += 1
                self.last_id = item_id
                return True
        self.full = True
        return False

    @property
    def _empty(self) -> bool:
        return self._length == len(b"[]\n")

    def _add(self, item: bytes) -> None:
        self._length += len(item)
        self._part += item
        if len(self._part) >= _PART:
            self._parts.append(bytes(self._part))
            self._part.clear()

    @property
    def body(self) -> list[bytes]:
        """The list, in parts: as one, it would be in memory twice while it is made."""
        return [*self._parts, bytes(self._part) + b"]\n"]


class Representation(NamedTuple):
    """A build as it goes over the wire."""

    #: The build as JSON: every member, with its value.
    document: Document
    #: The document, encoded.
    body: bytes

    @classmethod
    def of(cls, document: Document) -> Self:
        """Encode a document."""
        return cls(document, encode(document))

    @property
    def tag(self) -> str:
        """The opaque part of the strong entity tag (RFC 9110, section 8.8.3)."""
        return blake2b(self.body, digest_size=16).hexdigest()


def same(one: Any, other: Any) -> bool:
    """Compare two JSON values. To Python, but not to JSON, 1, 1.0 and true are equal."""
    kind = type(one)
    if kind is type(other) and kind in SCALARS:
        return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def changed_members(before: Document, after: Document) -> list[str]:
    """List the members whose values differ between two documents of one build."""
    changed = []
    for key, value in after.items():
        if key in before:
            old = before[key]
            # Most values are text and numbers: to call same() for each would cost 1 % of an update.
            if old is value or (old == value and type(old) is type(value) in SCALARS):
                continue
            if same(old, value):
                continue
        changed.append(key)
    return changed


def changes_between(before: Document, after: Document) -> Document:
    """Return the values ``before`` and ``after`` of each member that differs, or is gone."""
    names = changed_members(before, after) + [key for key in before if key not in after]
    return {name: {"before": before.get(name), "after": after.get(name)} for name in names}
