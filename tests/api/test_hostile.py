"""Hostile requests: each gets the answer that the contract has for it, and harms nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO, RawIOBase
from time import thread_time
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Response
from marshmallow import fields
from werkzeug.datastructures import Headers
from werkzeug.exceptions import Conflict
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_build_admin import BuildSchema, build_updating
from tests.support.databases import DATABASES
from tests.support.hosts import ADMIN, OCTOCAT, URL, BuildRevision, Host, model_of, row_of
from tests.support.rules import DEFERRED, RULES, ruled_host

LIMIT = 262_144
NARROW = 2**31 - 1
WIDE = 2**63 - 1

#: The members that are numbers, with the least that each may be, …
NUMBERS = {
    "id": 1,
    "repo_id": 1,
    "number": 1,
    "parent": 0,
    "enqueued": 0,
    "created": 0,
    "started": 0,
    "finished": 0,
}
#: … and those that are text.
TEXTS = [name for name in OCTOCAT if name not in NUMBERS]

#: What must never be told: the database's own words, or the program's.
INTERNALS = re.compile(
    r"sqlite|postgres|psycopg|mysql|mariadb|sqlalchemy|werkzeug|select|update|insert|constraint"
    r"|unique|duplicate|foreign|builds|traceback|exception|\.py",
    re.IGNORECASE,
)

BYTES = json.dumps(OCTOCAT).encode()


#: Stands for a member that is not sent.
LEFT_OUT: Any = object()


def octocat_with(members: dict[str, Any]) -> bytes:
    """Write the sample with other values, or without a member."""
    document = OCTOCAT | members
    return json.dumps({k: v for k, v in document.items() if v is not LEFT_OUT}).encode()


def octocat_reading(member: str, text: str) -> bytes:
    """Write the sample with a member whose value is this very JSON."""
    pairs = (f'"{k}": {text if k == member else json.dumps(v)}' for k, v in OCTOCAT.items())
    return f"{{{', '.join(pairs)}}}".encode()


@pytest.fixture(scope="module")
def module_host(database_url: str) -> Iterator[Host]:
    host = Host(database_url)
    yield host
    host.close()


@pytest.fixture
def host(module_host: Host) -> Iterator[Host]:
    """A plain host on each database in turn, with the octocat build in it for every test."""
    yield module_host
    restore(module_host)


def restore(host: Host) -> None:
    with host.engine.begin() as connection:
        connection.execute(sa.update(host.model).where(host.model.id == 1).values(OCTOCAT))


def assert_refused(
    host: Host, answer: Any, status: int, fields: dict[str, list[str]] | None = None
) -> str:
    """See that a request was refused in the contract's form, and that it has harmed nothing.

    :returns: the sentence.
    """
    assert answer.status_code == status, answer.data
    assert answer.mimetype == "application/json"
    assert answer.json.keys() == ({"error"} if fields is None else {"error", "fields"})
    error = answer.json["error"]
    assert isinstance(error, str)
    assert error
    assert error.isprintable()
    assert "%" not in error
    assert not INTERNALS.search(error)
    assert answer.json.get("fields") == fields
    assert host.row() == OCTOCAT
    assert_stored(host, host.put(OCTOCAT | {"title": "the next"}), {"title": "the next"})
    return error


def assert_stored(host: Host, answer: Any, changed: dict[str, Any]) -> None:
    assert answer.status_code == 200, answer.data
    assert answer.json == host.row() == OCTOCAT | changed


MEDIA_TYPES = {
    "plain": ("application/json", 200),
    "utf_8": ("application/json; charset=utf-8", 200),
    "utf_8_without_space": ("application/json;charset=utf-8", 200),
    "utf_8_in_quotes": ('application/json; charset="utf-8"', 200),
    "capitals": ("Application/JSON; Charset=UTF-8", 200),
    "another_parameter": ("application/json; profile=build", 200),
    "none": (None, 415),
    "empty": ("", 415),
    "latin_1": ("application/json; charset=iso-8859-1", 415),
    "utf_16": ("application/json; charset=utf-16", 415),
    "ascii": ("application/json; charset=us-ascii", 415),
    "text": ("text/plain", 415),
    "text_json": ("text/json", 415),
    "json_5": ("application/json5", 415),
    "json_of_a_vendor": ("application/vnd.api+json", 415),
    "form": ("application/x-www-form-urlencoded", 415),
    "multipart": ("multipart/form-data; boundary=x", 415),
    "range": ("application/*", 415),
    "two": ("application/json, text/plain", 415),
    "no_type": ("json", 415),
    "hidden_in_a_parameter": ("text/plain; x=application/json", 415),
}


@pytest.mark.parametrize(("media_type", "status"), MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_the_media_type_is_json(host: Host, media_type: str | None, status: int) -> None:
    data = octocat_with({"title": "sent"})
    answer = host.put(data=data, content_type=media_type)
    if status == 200:
        assert_stored(host, answer, {"title": "sent"})
    else:
        assert_refused(host, answer, status)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity", "%s", "gzip, gzip"])
def test_no_content_encoding_is_taken(host: Host, coding: str) -> None:
    answer = host.put(data=BYTES, headers={"Content-Encoding": coding})
    assert_refused(host, answer, 415)


@pytest.mark.parametrize("body", [b"", b"{", b" " * (LIMIT + 1)], ids=["empty", "half", "too_long"])
def test_the_media_type_is_judged_before_the_body(host: Host, body: bytes) -> None:
    assert_refused(host, host.put(data=body, content_type="text/plain"), 415)


class Endless(RawIOBase):
    """A body that never ends, and counts what was read of it."""

    count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = b" " * len(buffer)
        self.count += len(buffer)
        return len(buffer)


def send(
    host: Host,
    body: Any,
    *,
    method: str = "PUT",
    path: str = URL,
    length: str | None = None,
    chunked: bool = False,
    ended: bool = False,
) -> Any:
    """Send a body with any length told of it, or none.

    :param length: the Content-Length; None: not sent.
    :param chunked: whether it comes in chunks.
    :param ended: whether the server knows where the body ends.
    """
    headers = Headers(ADMIN | {"Content-Type": "application/json"})
    environ = EnvironBuilder(path=path, method=method, headers=headers).get_environ()
    environ["wsgi.input"] = BytesIO(body) if isinstance(body, bytes) else body
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    if ended:
        environ["wsgi.input_terminated"] = True
    return Response(*run_wsgi_app(host.app, environ))


CHUNKED: dict[str, Any] = {"chunked": True, "ended": True}

LENGTHS: dict[str, tuple[bytes, dict[str, Any], int]] = {
    "told": (BYTES, {"length": str(len(BYTES))}, 200),
    "told_exactly_the_limit": (BYTES.ljust(LIMIT), {"length": str(LIMIT)}, 200),
    "told_one_more": (BYTES.ljust(LIMIT + 1), {"length": str(LIMIT + 1)}, 413),
    "told_far_more": (BYTES.ljust(LIMIT * 8), {"length": str(LIMIT * 8)}, 413),
    "chunked": (BYTES, CHUNKED, 200),
    "chunked_exactly_the_limit": (BYTES.ljust(LIMIT), CHUNKED, 200),
    "chunked_one_more": (BYTES.ljust(LIMIT + 1), CHUNKED, 413),
    "chunked_one_more_that_is_whole_before": (BYTES.ljust(LIMIT) + b"}", CHUNKED, 413),
    "chunked_far_more": (BYTES.ljust(LIMIT * 8), CHUNKED, 413),
    "chunked_garbage": (b"{" * (LIMIT + 1), CHUNKED, 413),
    "chunked_nothing": (b"", CHUNKED, 400),
    "chunked_and_told_less": (BYTES, {"length": "7", **CHUNKED}, 200),
    "chunked_and_told_less_than_the_limit": (
        BYTES.ljust(LIMIT + 1),
        {"length": "7", **CHUNKED},
        413,
    ),
    "chunked_without_an_end": (BYTES, {"chunked": True}, 400),
    "none_told": (BYTES, {}, 400),
    "told_nothing": (BYTES, {"length": "0"}, 400),
    "told_less": (BYTES, {"length": str(len(BYTES) - 1)}, 400),
    "told_less_than_what_follows": (BYTES + b" x", {"length": str(len(BYTES))}, 200),
    "told_less_and_far_more_sent": (BYTES.ljust(LIMIT * 8), {"length": "7"}, 400),
    "told_one_more_than_sent": (BYTES, {"length": str(len(BYTES) + 1)}, 400),
    "told_over_the_limit_but_short": (BYTES, {"length": str(LIMIT + 1)}, 413),
    "told_enormous": (BYTES, {"length": str(10**30)}, 413),
    "told_negative": (BYTES, {"length": "-1"}, 400),
    "told_a_word": (BYTES, {"length": "long"}, 400),
    "told_signed": (BYTES, {"length": f"+{len(BYTES)}"}, 400),
    "ended_by_the_server": (BYTES.ljust(LIMIT), {"ended": True}, 200),
    "ended_by_the_server_one_more": (BYTES.ljust(LIMIT + 1), {"ended": True}, 413),
    "ended_by_the_server_and_told_less": (
        BYTES.ljust(LIMIT + 1),
        {"length": "7", "ended": True},
        413,
    ),
    "ended_by_the_server_one_early": (
        BYTES,
        {"length": str(len(BYTES) + 1), "ended": True},
        400,
    ),
}


@pytest.mark.parametrize(("body", "told", "status"), LENGTHS.values(), ids=LENGTHS)
def test_no_length_passes_the_limit(
    host: Host, body: bytes, told: dict[str, Any], status: int
) -> None:
    answer = send(host, body, **told)
    if status == 200:
        assert_stored(host, answer, {})
    else:
        assert_refused(host, answer, status)


def test_an_endless_body_is_not_read_to_its_end(host: Host) -> None:
    body = Endless()
    assert_refused(host, send(host, body, **CHUNKED), 413)
    assert body.count < 2 * LIMIT


class MalformedChunk(Exception):
    """What a server raises for chunks that it cannot read, of no class that others know."""


class Malformed(RawIOBase):
    """A body that its server cannot read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise self.error


INCOMPLETE = "The body is incomplete."


@pytest.mark.parametrize("told", [CHUNKED, {"length": "9"}], ids=["chunked", "told"])
@pytest.mark.parametrize("error", [MalformedChunk(), OSError(), ValueError()])
def test_a_body_that_the_server_cannot_read(
    host: Host, error: Exception, told: dict[str, Any]
) -> None:
    assert assert_refused(host, send(host, Malformed(error), **told), 400) == INCOMPLETE


@pytest.mark.parametrize("sent", [b"", BYTES[:-1], BYTES], ids=["nothing", "half", "whole_json"])
@pytest.mark.parametrize("ended", [False, True], ids=["ended_by_the_client", "by_the_server"])
def test_a_body_that_is_shorter_than_told(host: Host, sent: bytes, ended: bool) -> None:
    answer = send(host, sent, length=str(len(BYTES) + 1), ended=ended)
    assert assert_refused(host, answer, 400) == INCOMPLETE


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (Malformed(MalformedChunk()), CHUNKED),
        (BytesIO(b"{}"), {"length": "3"}),
        (BytesIO(b"{}"), {"length": "3", "ended": True}),
    ],
)
def test_an_undo_with_a_body_that_cannot_be_read(
    make_host: Callable[..., Host], sqlite_url: str, body: Any, told: dict[str, Any]
) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    host.put(OCTOCAT | {"title": "undone"})
    undo = f"{URL}/1/revisions/1/undo"
    answer = send(host, body, method="POST", path=undo, **told)
    assert (answer.status_code, answer.json["error"]) == (400, INCOMPLETE)
    assert host.row() == OCTOCAT | {"title": "undone"}


#: A body, and what the refusal says of it.
NOT_JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n\t ", "not JSON"),
    "nul": (b"\0", "not JSON"),
    "half": (BYTES[: len(BYTES) // 2], "not JSON"),
    "without_the_end": (BYTES[:-1], "not JSON"),
    "trailing_brace": (BYTES + b"}", "not JSON"),
    "trailing_nul": (BYTES + b"\0", "not JSON"),
    "trailing_comma": (BYTES[:-1] + b",}", "not JSON"),
    "two_documents": (BYTES + BYTES, "not JSON"),
    "two_lines": (BYTES + b"\n" + BYTES, "not JSON"),
    "prefix_against_hijacking": (b")]}',\n" + BYTES, "not JSON"),
    "line_comment": (BYTES + b" // done", "not JSON"),
    "block_comment": (b"/* a build */" + BYTES, "not JSON"),
    "hash_comment": (b"# a build\n" + BYTES, "not JSON"),
    "single_quotes": (BYTES.replace(b'"', b"'"), "not JSON"),
    "bare_names": (BYTES.replace(b'"id"', b"id"), "not JSON"),
    "number_as_name": (BYTES.replace(b'"id"', b"1"), "not JSON"),
    "python": (octocat_reading("title", "None"), "not JSON"),
    "undefined": (octocat_reading("title", "undefined"), "not JSON"),
    "no_value": (octocat_reading("title", ""), "not JSON"),
    "two_commas": (BYTES.replace(b", ", b",, ", 1), "not JSON"),
    "raw_newline_in_text": (octocat_reading("title", '"a\nb"'), "not JSON"),
    "raw_escape_in_text": (octocat_reading("title", '"\x1b[31m"'), "not JSON"),
    "raw_nul_in_text": (octocat_reading("title", '"a\0b"'), "not JSON"),
    "unknown_escape": (octocat_reading("title", r'"\x41"'), "not JSON"),
    "cut_escape": (octocat_reading("title", r'"\u004"'), "not JSON"),
    "underscore_in_escape": (octocat_reading("title", r'"\u00_1"'), "not JSON"),
    "sign_in_escape": (octocat_reading("title", r'"\u+041"'), "not JSON"),
    "leading_zero": (octocat_reading("number", "01"), "not JSON"),
    "plus_sign": (octocat_reading("number", "+1"), "not JSON"),
    "hexadecimal": (octocat_reading("number", "0x1"), "not JSON"),
    "underscore_in_number": (octocat_reading("number", "1_0"), "not JSON"),
    "no_digit_before_the_point": (octocat_reading("number", ".5"), "not JSON"),
    "no_digit_after_the_point": (octocat_reading("number", "1."), "not JSON"),
    "arabic_digit": (octocat_reading("number", "١"), "not JSON"),
    "no_break_space": (octocat_reading("number", "\u00a01"), "not JSON"),
    "form_feed": (b"\f" + BYTES, "not JSON"),
    "form_data": (b"id=1&repo_id=1", "not JSON"),
    "xml": (b"<build><id>1</id></build>", "not JSON"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "not UTF-8"),
    "latin_1": (octocat_reading("title", '"é"').decode().encode("latin-1"), "not UTF-8"),
    "cut_character": (octocat_reading("title", '"é"').replace(b"\xa9", b""), "not UTF-8"),
    "overlong_slash": (octocat_reading("title", '"#"').replace(b"#", b"\xc0\xaf"), "not UTF-8"),
    "surrogate_in_utf_8": (
        octocat_reading("title", '"#"').replace(b"#", b"\xed\xa0\x80"),
        "not UTF-8",
    ),
    "beyond_unicode": (
        octocat_reading("title", '"#"').replace(b"#", b"\xf4\x90\x80\x80"),
        "not UTF-8",
    ),
    "utf_16_with_mark": (BYTES.decode().encode("utf-16"), "not UTF-8"),
    "utf_16_le": (BYTES.decode().encode("utf-16-le"), "not JSON"),
    "utf_16_be": (BYTES.decode().encode("utf-16-be"), "not JSON"),
    "utf_32": (BYTES.decode().encode("utf-32"), "not UTF-8"),
    "array": (b"[]", "not a JSON object"),
    "array_of_builds": (b"[" + BYTES + b"]", "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "true": (b"true", "not a JSON object"),
    "number": (b"1", "not a JSON object"),
    "text": (b'"{}"', "not a JSON object"),
    "member_twice": (BYTES[:-1] + b', "title": "again"}', '"title" more than once'),
    "member_twice_alike": (BYTES[:-1] + b', "id": 1}', '"id" more than once'),
    "member_twice_escaped": (BYTES[:-1] + rb', "\u0069d": 1}', '"id" more than once'),
    "unknown_member_twice": (BYTES[:-1] + b', "%d": 1, "%d": 1}', "more than once"),
    "long_member_twice": (b'{"x%s": 1, "x%s": 1}' % (b"y" * 9999, b"y" * 9999), "more than once"),
    "odd_member_twice": (rb'{"\u001b\n\ud800": 1, "\u001b\n\ud800": 1}', "more than once"),
    "member_twice_within": (octocat_reading("title", '{"a": 1, "a": 2}'), '"a" more than once'),
    "member_twice_deep_within": (
        octocat_reading("title", '[{"a": [{"b": 1, "b": 1}]}]'),
        '"b" more than once',
    ),
    "nan": (octocat_reading("number", "NaN"), "NaN"),
    "infinity": (octocat_reading("number", "Infinity"), "Infinity"),
    "minus_infinity": (octocat_reading("number", "-Infinity"), "Infinity"),
    "nan_within": (octocat_reading("title", "[[NaN]]"), "NaN"),
    "exponent": (octocat_reading("number", "1e999"), "too large"),
    "minus_exponent": (octocat_reading("number", "-1e999"), "too large"),
    "exponent_within": (octocat_reading("title", '{"a": [1E400]}'), "too large"),
    "many_digits": (octocat_reading("number", "9" * 5000), "too long"),
    "many_minus_digits": (octocat_reading("number", "-" + "9" * 5000), "too long"),
    "many_digits_alone": (b"9" * 100_000, "too long"),
    "deep_arrays": (octocat_reading("title", "[" * 100_000 + "]" * 100_000), "too deep"),
    "deep_open_arrays": (b"[" * 100_000, "too deep"),
    "deep_objects": (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "too deep"),
    "deep_open_objects": (b'{"":' * 50_000, "too deep"),
    "deep_mixture": (b'[{"a":' * 30_000, "too deep"),
}


@pytest.mark.parametrize(("body", "says"), NOT_JSON.values(), ids=NOT_JSON)
def test_the_body_is_one_json_object(host: Host, body: bytes, says: str) -> None:
    assert says in assert_refused(host, host.put(data=body), 400)


def alike(names: Any, told: str) -> dict[str, list[str]]:
    return {name: [told] for name in names}


WRONG_FOR_NUMBERS = {
    "1.0": 1.0,
    "0.5": 0.5,
    "text": "1",
    "empty_text": "",
    "true": True,
    "false": False,
    "array": [1],
    "empty_array": [],
    "object": {"a": 1},
    "empty_object": {},
}
WRONG_FOR_TEXTS = {
    "0": 0,
    "1": 1,
    "1.0": 1.0,
    "true": True,
    "false": False,
    "array": ["a"],
    "empty_array": [],
    "object": {"a": "a"},
    "empty_object": {},
}

#: What is sent otherwise than in the sample, and the problem of each member.
MEMBERS: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    **{f"{name}_missing": ({name: LEFT_OUT}, {name: ["missing"]}) for name in OCTOCAT},
    **{f"{name}_null": ({name: None}, {name: ["null"]}) for name in OCTOCAT},
    **{
        f"{name}_is_{kind}": ({name: value}, {name: ["not an integer"]})
        for name, kinds in {
            **dict.fromkeys(NUMBERS, ("text", "true", "1.0")),
            "number": tuple(WRONG_FOR_NUMBERS),
        }.items()
        for kind, value in WRONG_FOR_NUMBERS.items()
        if kind in kinds
    },
    **{
        f"{name}_is_{kind}": ({name: value}, {name: ["not a string"]})
        for name, kinds in {
            **dict.fromkeys(TEXTS, ("1", "empty_array")),
            "title": tuple(WRONG_FOR_TEXTS),
        }.items()
        for kind, value in WRONG_FOR_TEXTS.items()
        if kind in kinds
    },
    **{
        f"{name}_is_{least - 1}": ({name: least - 1}, {name: [f"less than {least}"]})
        for name, least in NUMBERS.items()
    },
    "number_is_minus_1": ({"number": -1}, {"number": ["less than 1"]}),
    "number_is_far_below": ({"number": -(10**30)}, {"number": ["less than 1"]}),
    "finished_is_far_below": ({"finished": -(2**63) - 1}, {"finished": ["less than 0"]}),
    "event_empty": ({"event": ""}, {"event": ["empty"]}),
    "status_empty": ({"status": ""}, {"status": ["empty"]}),
    "event_one_too_long": ({"event": "e" * 21}, {"event": ["longer than 20 characters"]}),
    "status_one_too_long": ({"status": "é" * 21}, {"status": ["longer than 20 characters"]}),
    "commit_one_too_long": ({"commit": "c" * 41}, {"commit": ["longer than 40 characters"]}),
    "title_one_too_long": ({"title": "t" * 251}, {"title": ["longer than 250 characters"]}),
    "title_one_too_long_in_astral": (
        {"title": "\U0001f600" * 251},
        {"title": ["longer than 250 characters"]},
    ),
    "title_one_too_long_in_combining": (
        {"title": "e\u0301" * 125 + "e"},
        {"title": ["longer than 250 characters"]},
    ),
    "title_too_long_only_in_spaces": (
        {"title": "t" * 250 + " "},
        {"title": ["longer than 250 characters"]},
    ),
    "distribution_far_too_long": (
        {"distribution": "d" * 100_000},
        {"distribution": ["longer than 250 characters"]},
    ),
    "nul_alone": ({"status": "\0"}, {"status": ["holds U+0000"]}),
    "nul_first": ({"title": "\0title"}, {"title": ["holds U+0000"]}),
    "nul_last": ({"title": "title\0"}, {"title": ["holds U+0000"]}),
    "nul_in_long_text": ({"message": "mess\0age"}, {"message": ["holds U+0000"]}),
    "high_surrogate": ({"title": "a\ud800"}, {"title": ["holds a lone surrogate"]}),
    "low_surrogate": ({"title": "\udfffa"}, {"title": ["holds a lone surrogate"]}),
    "swapped_surrogates": ({"error": "\ude00\ud83d"}, {"error": ["holds a lone surrogate"]}),
    "two_high_surrogates": ({"title": "\ud83d\ud83d"}, {"title": ["holds a lone surrogate"]}),
    "pair_and_a_half": ({"title": "\U0001f600\ude00"}, {"title": ["holds a lone surrogate"]}),
    "unknown_null": ({"extra": None}, {"extra": ["unknown"]}),
    "unknown_object": ({"extra": {"deep": [{"deeper": None}]}}, {"extra": ["unknown"]}),
    "unknown_upper_case": ({"ID": 1}, {"ID": ["unknown"]}),
    "unknown_with_space": ({"id ": 1}, {"id ": ["unknown"]}),
    "unknown_lookalike": ({"\u0456d": 1}, {"\u0456d": ["unknown"]}),
    "unknown_format": ({"%s%n%(id)s": 1}, {"%s%n%(id)s": ["unknown"]}),
    "unknown_braces": ({"{0.__class__}": 1}, {"{0.__class__}": ["unknown"]}),
    "unknown_newline": ({"a\r\nb": 1}, {"a\r\nb": ["unknown"]}),
    "unknown_escape": ({"\x1b[31mred": 1}, {"\x1b[31mred": ["unknown"]}),
    "unknown_delete": ({"\x7f\x9b": 1}, {"\x7f\x9b": ["unknown"]}),
    "unknown_line_separator": ({"a\u2028b\u202e": 1}, {"a\u2028b\u202e": ["unknown"]}),
    "unknown_empty": ({"": 1}, {"": ["unknown"]}),
    "unknown_nul": ({"a\0b": 1}, {"a\0b": ["unknown"]}),
    "unknown_high_surrogate": ({"\ud800": 1}, {"\ud800": ["unknown"]}),
    "unknown_low_surrogate": ({"id\udc00": 1}, {"id\udc00": ["unknown"]}),
    "unknown_long": ({"x" * 10_000: 1}, {"x" * 10_000: ["unknown"]}),
    "unknown_long_odd": ({"%\n" * 5000: 1}, {"%\n" * 5000: ["unknown"]}),
    "unknown_dunder": ({"__class__": 1}, {"__class__": ["unknown"]}),
    "unknown_attributes": (
        {"metadata": 1, "registry": 1},
        alike(["metadata", "registry"], "unknown"),
    ),
    "unknown_schema": ({"_schema": 1}, {"_schema": ["unknown"]}),
    "unknown_many": (
        alike((f"extra_{n}" for n in range(1000)), "x"),
        alike((f"extra_{n}" for n in range(1000)), "unknown"),
    ),
    "nothing": (dict.fromkeys(OCTOCAT, LEFT_OUT), alike(OCTOCAT, "missing")),
    "nothing_known": (
        {**dict.fromkeys(OCTOCAT, LEFT_OUT), "build": OCTOCAT},
        {**alike(OCTOCAT, "missing"), "build": ["unknown"]},
    ),
    "everything_null": (dict.fromkeys(OCTOCAT), alike(OCTOCAT, "null")),
    "everything_an_array": (
        {name: [] for name in OCTOCAT},
        alike(NUMBERS, "not an integer") | alike(TEXTS, "not a string"),
    ),
    "everything_nul": (
        dict.fromkeys(TEXTS, "\0"),
        alike(TEXTS, "holds U+0000"),
    ),
    "every_number_below": (
        dict.fromkeys(NUMBERS, -1) | {"id": 1},
        {name: [f"less than {least}"] for name, least in NUMBERS.items() if name != "id"},
    ),
    "an_id_below": (dict.fromkeys(NUMBERS, -1), {"id": ["less than 1"]}),
    "form_before_values": (
        {"repo_id": LEFT_OUT, "parent": None, "deploy": 1, "extra": 1, "number": 0, "event": ""},
        {
            "repo_id": ["missing"],
            "parent": ["null"],
            "deploy": ["not a string"],
            "extra": ["unknown"],
        },
    ),
    "one_of_each": (
        {
            "number": 0,
            "event": "",
            "status": "s" * 21,
            "finished": 2**63,
            "title": "\0",
            "message": "\ud800",
        },
        {
            "number": ["less than 1"],
            "event": ["empty"],
            "status": ["longer than 20 characters"],
            "finished": [f"greater than {WIDE}"],
            "title": ["holds U+0000"],
            "message": ["holds a lone surrogate"],
        },
    ),
}


@pytest.mark.parametrize(("members", "fields"), MEMBERS.values(), ids=MEMBERS)
def test_every_problem_of_every_member_is_told(
    host: Host, members: dict[str, Any], fields: dict[str, list[str]]
) -> None:
    assert_refused(host, host.put(data=octocat_with(members)), 400, fields)


def test_every_problem_of_one_member_is_told(host: Host) -> None:
    answer = host.put(data=octocat_with({"status": "\0" * 21}))
    told = answer.json["fields"]["status"]
    assert sorted(told) == ["holds U+0000", "longer than 20 characters"]
    assert_refused(host, answer, 400, {"status": told})


#: What is sent, and the sentence about it.
SENTENCES: dict[str, tuple[dict[str, Any], str]] = {
    "one": ({"repo_id": LEFT_OUT}, "repo_id: missing"),
    "two_in_the_documented_order": (
        {"finished": 1.0, "repo_id": LEFT_OUT},
        "repo_id: missing; finished: not an integer",
    ),
    "unknown_last": (
        {"extra": 1, "distribution": None},
        "distribution: null; extra: unknown",
    ),
    "all": (
        dict.fromkeys(OCTOCAT, LEFT_OUT),
        "; ".join(f"{name}: missing" for name in OCTOCAT),
    ),
}


@pytest.mark.parametrize(("members", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_sentence_lists_the_members(host: Host, members: dict[str, Any], sentence: str) -> None:
    answer = host.put(data=octocat_with(members))
    assert assert_refused(host, answer, 400, answer.json["fields"]) == sentence


@pytest.mark.parametrize(
    ("members", "begins"),
    [
        (dict.fromkeys((f"extra_{n}" for n in range(1000)), 1), "extra_0: unknown; extra_1: "),
        (dict.fromkeys((f"%{n}" for n in range(1000)), 1), r"\u00250: unknown; \u00251: "),
        ({"x" * 10_000: 1}, "xxx"),
        ({"\n" * 10_000: 1}, r"\u000a\u000a"),
    ],
    ids=["many", "many_odd", "long", "long_odd"],
)
def test_the_sentence_is_no_longer_than_a_line(
    host: Host, members: dict[str, Any], begins: str
) -> None:
    answer = host.put(OCTOCAT | members)
    sentence = assert_refused(host, answer, 400, alike(members, "unknown"))
    assert sentence.startswith(begins)
    assert len(sentence) < 600


#: The largest number that a column holds, where it is not 64 bits wide.
LARGEST = {
    ("postgresql", "repo_id"): NARROW,
    ("postgresql", "number"): NARROW,
    ("postgresql", "parent"): NARROW,
    ("mariadb", "repo_id"): NARROW,
    ("mariadb", "number"): NARROW,
    ("mariadb", "parent"): NARROW,
}


@pytest.mark.parametrize("member", ["repo_id", "number", "parent", "started", "finished"])
@pytest.mark.parametrize(
    "value",
    [2**31 - 1, 2**31, 2**32 + 1, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**30, 10**4000],
    ids=["2^31-1", "2^31", "2^32+1", "2^63-1", "2^63", "2^64", "2^64+1", "10^30", "10^4000"],
)
def test_a_number_that_its_column_cannot_hold_is_refused(
    host: Host, database: str, member: str, value: int
) -> None:
    largest = LARGEST.get((database, member), WIDE)
    answer = host.put(OCTOCAT | {member: value})
    if value <= largest:
        assert_stored(host, answer, {member: value})
    else:
        assert_refused(host, answer, 400, {member: [f"greater than {largest}"]})


@pytest.mark.parametrize(
    "text",
    ["a" * 65_535, "é" * 32_767 + "a", "\U0001f600" * 16_383 + "abc"],
    ids=["ascii", "two_bytes", "four_bytes"],
)
def test_long_text_is_counted_in_bytes_where_its_column_does(
    host: Host, database: str, text: str
) -> None:
    assert_stored(host, host.put(OCTOCAT | {"message": text}), {"message": text})
    restore(host)
    answer = host.put(OCTOCAT | {"message": text + "a"})
    if database == "mariadb":
        assert_refused(host, answer, 400, {"message": ["longer than 65535 bytes in UTF-8"]})
    else:
        assert_stored(host, answer, {"message": text + "a"})


#: Values as odd as can be that a build may have.
ACCEPTED: dict[str, dict[str, Any]] = {
    "least_numbers": NUMBERS,
    "empty_texts": dict.fromkeys(set(TEXTS) - {"event", "status"}, ""),
    "as_long_as_the_column": {"event": "e" * 20, "commit": "c" * 40, "title": "t" * 250},
    "as_long_in_astral": {"status": "\U0001f600" * 20, "title": "\U0001f600" * 250},
    "as_long_in_combining": {"title": "e\u0301" * 125},
    "not_normalised": {"title": "e\u0301 \u00e9 \u212b \ufb01"},
    "spaces_around": {"title": "  title  ", "status": " ", "branch": "main "},
    "line_ends": {"message": "a\nb\r\nc\rd\te\v\f", "title": "\n"},
    "another_case": {"status": "CREATED", "branch": "MAIN", "sender": "octokitty"},
    "an_accent_more": {"author": "ÖctoKítty"},
    "markup": {"title": "<b>bold</b><script>alert(1)</script> &amp;"},
    "format": {"title": "%s %(id)s %% {0} {id} ${id}", "error": "100%"},
    "sql": {"title": "'; DROP TABLE builds; --", "error": "\"\\'`"},
    "backslashes": {"title": "C:\\new\\table\\0", "message": "\\u0000 \\x00"},
    "parameters": {"title": ":id ?1 $1 @id"},
    "controls": {"message": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f"},
    "escape_sequence": {"error": "\x1b[31mred\x1b[0m"},
    "byte_order_mark": {"title": "\ufefftitle\ufeff"},
    "noncharacters": {"title": "\ufffe\uffff\U0010ffff\ufdd0\ufffd"},
    "right_to_left": {"title": "\u202eelttit\u202c \u05d0\u0661"},
    "separators": {"title": "a\u2028b\u2029c\u0085d\u00a0e\u200b"},
    "like_other_types": {"title": "null", "error": "true", "deploy": "1", "ref": "NaN"},
}


@pytest.mark.parametrize("members", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted_is_stored_exactly(host: Host, members: dict[str, Any]) -> None:
    assert_stored(host, host.put(data=octocat_with(members)), members)


#: JSON of one member, and what it says.
SPELLINGS: dict[str, tuple[str, str, Any]] = {
    "minus_zero": ("parent", "-0", 0),
    "escaped": ("title", r'"\u0074\u0069tle\/\b\f"', "title/\b\f"),
    "escaped_pair": ("title", r'"\ud83d\ude00\uD83D\uDE00"', "\U0001f600\U0001f600"),
    "escaped_backslash_before_u": ("title", r'"\\ud800"', r"\ud800"),
    "white_space": ("title", '\r\n\t "title" \r\n\t', "title"),
}


@pytest.mark.parametrize(("member", "text", "value"), SPELLINGS.values(), ids=SPELLINGS)
def test_json_may_be_spelt_in_many_ways(host: Host, member: str, text: str, value: Any) -> None:
    assert_stored(host, host.put(data=octocat_reading(member, text)), {member: value})


@pytest.mark.parametrize("text", ["1.0", "1e0", "10E-1", "1." + "0" * 5000, "1e-999", "-1.5"])
def test_a_fraction_or_an_exponent_is_no_integer(host: Host, text: str) -> None:
    answer = host.put(data=octocat_reading("number", text))
    assert_refused(host, answer, 400, {"number": ["not an integer"]})


@pytest.mark.slow
def test_a_member_twice_among_many_is_found_at_once(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    names = [f'"{number:x}":1' for number in range(29_000)]
    started = thread_time()
    answer = make_host(sqlite_url).put(data=f"{{{','.join([*names, names[-1]])}}}")
    assert answer.status_code == 400
    assert thread_time() - started < 2


class Labelled(BuildSchema):
    """A host whose builds have a member of any JSON."""

    labels = fields.Raw(required=True)


@pytest.fixture
def labelled(make_host: Callable[..., Host], sqlite_url: str) -> Host:
    model = model_of(labels=sa.Column(sa.JSON))
    return make_host(sqlite_url, model=model, schema=Labelled, rows=[row_of(labels=None)])


@pytest.mark.parametrize(
    "depth", [*range(10, 1000, 70), 969, 985, 1100, 1500, 2000, 5000, 9000, 20_000]
)
def test_a_nesting_is_stored_or_told_to_be_too_deep(labelled: Host, depth: int) -> None:
    def receiver(sender: Any, **told: Any) -> None:
        """Be there, so that the documents are copied."""

    with build_updating.connected_to(receiver, labelled.app):
        body = json.dumps(OCTOCAT)[:-1] + f', "labels": {"[" * depth}{"]" * depth}}}'
        answer = labelled.put(data=body)
    if answer.status_code == 200:
        assert labelled.get().data == answer.data
    else:
        assert answer.status_code == 400
        assert "too deep" in answer.json["error"]


@pytest.mark.parametrize("depth", [1, 10, 30])
def test_a_nesting_that_the_parser_reads_is_a_wrong_type(host: Host, depth: int) -> None:
    answer = host.put(data=octocat_reading("title", "[" * depth + "]" * depth))
    assert_refused(host, answer, 400, {"title": ["not a string"]})


@pytest.mark.parametrize("build_id", [2, 2**31 - 1], ids=["2", "2^31-1"])
def test_an_unknown_build_is_never_created(host: Host, build_id: int) -> None:
    assert_refused(host, host.put(OCTOCAT | {"id": build_id}), 404)
    with host.engine.connect() as connection:
        assert connection.scalars(sa.select(host.model.id)).all() == [1]


@pytest.mark.parametrize(
    "build_id", [2**31, 2**32 + 1, 2**63 - 1], ids=["2^31", "2^32+1", "2^63-1"]
)
def test_an_id_that_only_sqlite_holds_is_unknown_there_and_too_large_elsewhere(
    host: Host, database: str, build_id: int
) -> None:
    answer = host.put(OCTOCAT | {"id": build_id})
    if database == "sqlite":
        assert_refused(host, answer, 404)
    else:
        assert_refused(host, answer, 400, {"id": [f"greater than {NARROW}"]})


@pytest.mark.parametrize("build_id", [2**63, 2**64 + 1, 10**30], ids=["2^63", "2^64+1", "10^30"])
def test_an_id_that_no_column_holds_is_too_large(host: Host, database: str, build_id: int) -> None:
    largest = WIDE if database == "sqlite" else NARROW
    answer = host.put(OCTOCAT | {"id": build_id})
    assert_refused(host, answer, 400, {"id": [f"greater than {largest}"]})


#: What stands in the path where the id belongs.
PATHS: dict[str, tuple[str, int]] = {
    "known": ("1", 200),
    "known_with_a_slash": ("1/", 200),
    "known_with_a_query": ("1?id=2", 400),
    "unknown": ("2", 404),
    "unknown_with_a_slash": ("2/", 404),
    "zero": ("0", 404),
    "minus_one": ("-1", 404),
    "minus_zero": ("-0", 404),
    "leading_zero": ("01", 404),
    "plus": ("+1", 404),
    "escaped_plus": ("%2B1", 404),
    "fraction": ("1.0", 404),
    "exponent": ("1e0", 404),
    "hexadecimal": ("0x1", 404),
    "underscore": ("1_0", 404),
    "thousands": ("1,000", 404),
    "2^31-1": (str(2**31 - 1), 404),
    "2^31": (str(2**31), 404),
    "2^32+1": (str(2**32 + 1), 404),
    "2^63-1": (str(2**63 - 1), 404),
    "2^63": (str(2**63), 404),
    "2^64+1": (str(2**64 + 1), 404),
    "10^30": (str(10**30), 404),
    "10^30_below": (str(-(10**30)), 404),
    "5000_digits": ("9" * 5000, 404),
    "word": ("abc", 404),
    "null": ("null", 404),
    "true": ("true", 404),
    "nan": ("NaN", 404),
    "infinity": ("Infinity", 404),
    "nul": ("%00", 404),
    "nul_after": ("1%00", 404),
    "space_before": ("%201", 404),
    "space_after": ("1%20", 404),
    "newline_after": ("1%0A", 404),
    "escape": ("%1B[31m", 404),
    "percent": ("%25s", 404),
    "arabic_digit": ("%D9%A1", 404),
    "full_width_digit": ("%EF%BC%91", 404),
    "superscript_digit": ("%C2%B9", 404),
    "astral": ("%F0%9F%98%80", 404),
    "not_utf_8": ("%FF", 404),
    "surrogate": ("%ED%A0%80", 404),
    "quote": ("1'", 404),
    "sql": ("1%20OR%201=1", 404),
    "list": ("1,2", 404),
    "json": ("%5B1%5D", 404),
    "parameter": ("1;v=1", 404),
    "markup": ("%3Cscript%3E", 404),
    "very_long": ("x" * 10_000, 404),
}


@pytest.mark.parametrize(("build_id", "status"), PATHS.values(), ids=PATHS)
def test_a_path_names_a_build_by_its_plain_number(host: Host, build_id: str, status: int) -> None:
    answer = host.get(build_id)
    if status == 200:
        assert_stored(host, answer, {})
    else:
        assert_refused(host, answer, status)


@pytest.mark.parametrize(
    "build_id", ["010", "+10", "10.0", "1e1", "1_0", "%2010", "10%0A", "1%D9%A0", "1%EF%BC%90"]
)
def test_a_path_names_a_build_in_one_way(
    make_host: Callable[..., Host], sqlite_url: str, build_id: str
) -> None:
    host = make_host(sqlite_url, rows=[OCTOCAT | {"id": 10}])
    assert host.get("10").status_code == 200
    assert host.get(build_id).status_code == 404


#: If-Match, where {tag} stands for the opaque part of the current tag.
IF_MATCH: dict[str, tuple[str, int]] = {
    "current": ('"{tag}"', 200),
    "current_in_a_list": ('"stale", "{tag}"', 200),
    "current_beside_weak": ('W/"{tag}", "{tag}"', 200),
    "any": ("*", 200),
    "stale": ('"stale"', 412),
    "stale_list": ('"stale", "staler","stalest"', 412),
    "weak": ('W/"{tag}"', 412),
    "weak_list": ('"stale", W/"{tag}"', 412),
    "empty": ("", 412),
    "blank": (" ", 412),
    "empty_list": (",", 412),
    "empty_tag": ('""', 412),
    "quoted_any": ('"*"', 412),
    "any_in_a_list": ('"stale", *', 412),
    "weak_any": ("W/*", 412),
    "upper_case": ('"{upper}"', 412),
    "half": ('"{half}"', 412),
    "more": ('"{tag}0"', 412),
    "space_within": ('" {tag}"', 412),
    "single_quotes": ("'{tag}'", 412),
    "unquoted_junk": ("junk", 412),
    "half_quoted_junk": ('"junk', 412),
    "format": ('"%s%n"', 412),
    "not_ascii": ('"é"', 412),
    "long": ('"' + "x" * 10_000 + '"', 412),
    "many": (", ".join(['"x"'] * 2000), 412),
}


def current_tag(host: Host) -> dict[str, str]:
    tag = host.get().headers["ETag"].strip('"')
    return {"tag": tag, "upper": tag.upper(), "half": tag[:16]}


@pytest.mark.parametrize(("header", "status"), IF_MATCH.values(), ids=IF_MATCH)
def test_a_put_overwrites_only_what_if_match_names(host: Host, header: str, status: int) -> None:
    headers = {"If-Match": header.format(**current_tag(host))}
    answer = host.put(OCTOCAT | {"title": "sent"}, headers=headers)
    if status == 200:
        assert_stored(host, answer, {"title": "sent"})
    else:
        assert_refused(host, answer, status)


def test_a_tag_is_stale_as_soon_as_the_build_has_changed(host: Host) -> None:
    headers = {"If-Match": host.get().headers["ETag"]}
    first = host.put(OCTOCAT | {"title": "the first"}, headers=headers)
    assert first.status_code == 200
    second = host.put(OCTOCAT | {"title": "the second"}, headers=headers)
    assert second.status_code == 412
    assert host.row()["title"] == "the first"
    third = host.put(OCTOCAT, headers={"If-Match": first.headers["ETag"]})
    assert_stored(host, third, {})
    assert third.headers["ETag"] == headers["If-Match"]


@pytest.mark.parametrize("header", ["*", '"stale"', "", "junk"])
def test_if_match_makes_no_build_known(host: Host, header: str) -> None:
    answer = host.put(OCTOCAT | {"id": 2}, headers={"If-Match": header})
    assert_refused(host, answer, 404)


@pytest.mark.parametrize("header", ["*", '"stale"', "", "junk"])
def test_the_form_of_the_body_is_checked_before_if_match(host: Host, header: str) -> None:
    answer = host.put(OCTOCAT | {"number": "0"}, headers={"If-Match": header})
    assert_refused(host, answer, 400, {"number": ["not an integer"]})


@pytest.mark.parametrize("header", ['"stale"', "", "junk"])
def test_the_values_in_the_body_are_checked_after_if_match(host: Host, header: str) -> None:
    answer = host.put(OCTOCAT | {"number": 0}, headers={"If-Match": header})
    assert_refused(host, answer, 412)


@pytest.mark.parametrize(
    ("header", "status"), [('"{tag}"', 200), ("*", 200), ('"stale"', 412), ('W/"{tag}"', 412)]
)
def test_a_get_answers_only_what_if_match_names(host: Host, header: str, status: int) -> None:
    answer = host.get(headers={"If-Match": header.format(**current_tag(host))})
    if status == 200:
        assert_stored(host, answer, {})
    else:
        assert_refused(host, answer, status)


#: If-None-Match, and the answer to a GET and to a PUT.
IF_NONE_MATCH: dict[str, tuple[str, int, int]] = {
    "current": ('"{tag}"', 304, 412),
    "weak": ('W/"{tag}"', 304, 412),
    "current_in_a_list": ('"stale", "{tag}"', 304, 412),
    "any": ("*", 304, 412),
    "stale": ('"stale"', 200, 200),
    "quoted_any": ('"*"', 200, 200),
    "empty": ("", 200, 200),
    "empty_tag": ('""', 200, 200),
    "upper_case": ('"{upper}"', 200, 200),
    "junk": ("%s junk", 200, 200),
}


@pytest.mark.parametrize(("header", "get", "put"), IF_NONE_MATCH.values(), ids=IF_NONE_MATCH)
def test_if_none_match_asks_for_another_build_than_the_one_known(
    host: Host, header: str, get: int, put: int
) -> None:
    tags = current_tag(host)
    headers = {"If-None-Match": header.format(**tags)}
    fetched = host.get(headers=headers)
    assert fetched.status_code == get
    assert fetched.headers["ETag"] == f'"{tags["tag"]}"'
    if get == 304:
        assert fetched.data == b""
    else:
        assert fetched.json == OCTOCAT
    answer = host.put(OCTOCAT | {"title": "sent"}, headers=headers)
    if put == 200:
        assert_stored(host, answer, {"title": "sent"})
    else:
        assert_refused(host, answer, put)


def test_what_a_receiver_says_is_made_plain(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    def refuse(sender: Any, **told: Any) -> None:
        raise Conflict("100%\r\nof\tit \x1b[31mis\u2028held")

    host = make_host(sqlite_url)
    with build_updating.connected_to(refuse, host.app):
        answer = host.put(OCTOCAT | {"title": "sent"})
    sentence = assert_refused(host, answer, 409)
    assert sentence == r"100\u0025 of it \u001b[31mis held"


@pytest.fixture(scope="module")
def deferring(database_url: str) -> Iterator[Host]:
    """A host whose database checks what rules it can at the commit."""
    deferral: dict[str, Any] = {"deferrable": True, "initially": "DEFERRED"}
    unique = sa.UniqueConstraint("repo_id", "number", **deferral).ddl_if(dialect="postgresql")
    host = ruled_host(database_url, "deferring", unique, **deferral)
    if host.engine.dialect.name == "postgresql":
        host.execute(
            "CREATE FUNCTION check_times() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.finished > 0 AND NEW.finished < NEW.started THEN"
            " RAISE check_violation USING MESSAGE = 'finished before started'; END IF;"
            " RETURN NULL; END $$"
        )
        host.execute(
            "CREATE CONSTRAINT TRIGGER times AFTER UPDATE ON deferring"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_times()"
        )
    yield host
    if host.engine.dialect.name == "postgresql":
        host.execute("DROP FUNCTION check_times CASCADE")
    host.close()


@pytest.mark.parametrize("rule", RULES)
def test_a_row_that_breaks_a_rule_is_a_conflict(ruled: Host, rule: str) -> None:
    assert_refused(ruled, ruled.put(OCTOCAT | RULES[rule]), 409)
    restore(ruled)


@pytest.mark.parametrize(
    "database", [name for name in DEFERRED if name in DATABASES], indirect=True
)
def test_a_row_that_breaks_a_rule_at_the_commit_is_a_conflict(
    deferring: Host, database: str
) -> None:
    for rule in DEFERRED[database]:
        with deferring.statements() as sent:
            answer = deferring.put(OCTOCAT | RULES[rule])
        assert "COMMIT" in sent
        assert_refused(deferring, answer, 409)
        restore(deferring)
