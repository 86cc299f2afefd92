"""Requests whose framing two parsers could read differently, over raw sockets to gunicorn.

Whatever is sent: only a complete request of an administrator is stored, once, with a response that
says so; a request that is hidden in the body of another one is never handled; and the connection is
closed, or the next request on it is read from its first byte (RFC 9112, sections 6 to 9).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import BufferedReader
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from example_app import Build
from tests.support.hosts import OCTOCAT
from tests.support.load import is_formed
from tests.support.servers import PATIENCE, TOKEN, URL, Answer, Server, chain_of, serve

pytestmark = pytest.mark.slow

#: The worker classes that keep connections open, with their options.
WORKERS = {"gthread": ("--threads", "4"), "gevent": ()}

#: How the connection goes on: the responses to a GET that is sent after all others were received.
CLOSED: set[tuple[str, ...]] = {()}
IN_STEP: set[tuple[str, ...]] = {("app 200",)}
EITHER = CLOSED | IN_STEP
#: The bytes before the GET are read as its first line.
OUT_OF_STEP: set[tuple[str, ...]] = {("server 400",)}


class Case(NamedTuple):
    """What is sent on one connection, and what may come of it."""

    sent: bytes
    #: The responses in their order, each with all that are allowed. "app" is the blueprint, "host"
    #: the app around it, "server" gunicorn, whose responses are HTML.
    responses: tuple[set[str], ...]
    then: set[tuple[str, ...]]
    #: The titles of the complete requests of an administrator.
    complete: tuple[str, ...] = ()
    #: The client closes its side of the connection after it.
    ends: bool = False
    #: What the last response says.
    sentence: str | None = None


def refused(sent: bytes, status: int = 400) -> Case:
    """Expect gunicorn to refuse a request before the app is called."""
    return Case(sent, ({f"server {status}"},), CLOSED)


def stored(sent: bytes) -> Case:
    return Case(sent, ({"app 200"},), IN_STEP, ("sent",))


def tolerated(sent: bytes) -> Case:
    """Expect either of both, where RFC 9112 or gunicorn's options leave the choice."""
    return Case(sent, ({"app 200", "server 400"},), EITHER, ("sent",))


def unreadable(sent: bytes, *, ends: bool = False) -> Case:
    """Expect the blueprint to refuse a body: gunicorn reads it only when the app asks for it."""
    return Case(sent, ({"app 400"},), CLOSED, ends=ends, sentence="The body is incomplete.")


PATH = URL.encode()
LINE = b"PUT %s HTTP/1.1" % PATH
HOST = b"Host: ci.example.com\r\n"
ADMIN = b"Authorization: Bearer %s\r\n" % TOKEN.encode()
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"


def length(value: bytes | int) -> bytes:
    return b"Content-Length: %s\r\n" % (b"%d" % value if isinstance(value, int) else value)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def put(
    framing: bytes, body: bytes, *, line: bytes = LINE, host: bytes = HOST, admin: bytes = ADMIN
) -> bytes:
    """Write a PUT with these lines about its body, an administrator's by default."""
    return b"%s\r\n%s%s%s%s\r\n%s" % (line, host, admin, JSON, framing, body)


BODY = json.dumps(OCTOCAT | {"title": "sent"}).encode()
SIZE = len(BODY)
SENT = length(SIZE)
PLAIN = put(SENT, BODY)

#: What is hidden in bodies: an administrator's request, and one of somebody else's.
HIDDEN_BODY = json.dumps(OCTOCAT | {"title": "hidden"}).encode()
HIDDEN = put(length(len(HIDDEN_BODY)), HIDDEN_BODY)
HIDDEN_OF_ANYBODY = put(length(len(HIDDEN_BODY)), HIDDEN_BODY, admin=b"")

GET = b"GET %s/1 HTTP/1.1\r\n%s" % (PATH, HOST)
PROBE = GET + ADMIN + b"Connection: close\r\n\r\n"

#: More than max_content_length.
LARGE = HIDDEN + b"x" * 300_000


def chunk_of(size: bytes) -> bytes:
    """Write a PUT whose only chunk begins with this line."""
    return put(CHUNKED, b"%s\r\n%s\r\n%s" % (size, BODY, LAST))


CONTENT_LENGTHS = {
    "length": stored(PLAIN),
    "length_with_leading_zeros": tolerated(put(length(b"000%d" % SIZE), BODY)),
    "no_length": Case(put(b"", b""), ({"app 400"},), IN_STEP),
    "no_length_but_a_request": Case(
        put(b"", HIDDEN_OF_ANYBODY), ({"app 400"}, {"app 401"}), EITHER
    ),
    "length_twice_the_same": tolerated(put(SENT + SENT, BODY)),
    "length_joined_the_same": tolerated(put(length(b"%d, %d" % (SIZE, SIZE)), BODY)),
    "length_twice_another": refused(put(SENT + length(0), BODY)),
    "length_joined_another": refused(put(length(b"%d, 0" % SIZE), BODY)),
    "length_negative": refused(put(length(-1), BODY)),
    "length_signed": refused(put(length(b"+%d" % SIZE), BODY)),
    "length_hexadecimal": refused(put(length(b"0x%x" % SIZE), BODY)),
    "length_with_a_fraction": refused(put(length(b"%d.0" % SIZE), BODY)),
    "length_with_an_underscore": refused(put(length(b"6_0"), BODY)),
    "length_in_other_digits": refused(put(length("٣".encode()), BODY)),
    "length_spaced": refused(put(length(b"6 0"), BODY)),
    "length_empty": refused(put(length(b""), BODY)),
    "length_after_a_space": refused(put(b"Content-Length : %d\r\n" % SIZE, BODY)),
    "length_by_another_name": tolerated(put(b"Content_Length: 0\r\n" + SENT, BODY)),
    "length_enormous": Case(
        put(length(10**30), BODY), ({"app 413", "server 400", "server 413"},), CLOSED, ends=True
    ),
    "length_of_too_many_digits": refused(put(length(b"9" * 5000), BODY)),
    "body_cut": unreadable(put(SENT, BODY[:-9]), ends=True),
    "body_short_but_whole_json": unreadable(put(length(SIZE + 7), BODY), ends=True),
    "body_too_long": Case(PLAIN + b"xxxx", ({"app 200"},), OUT_OF_STEP, ("sent",)),
    "empty_line_after_the_body": Case(
        PLAIN + b"\r\n", ({"app 200"},), IN_STEP | OUT_OF_STEP, ("sent",)
    ),
}

TRANSFER_ENCODINGS = {
    "chunked": stored(put(CHUNKED, chunk(BODY[:100]) + chunk(BODY[100:]) + LAST)),
    "chunked_in_capitals": stored(put(b"TRANSFER-ENCODING: CHUNKED\r\n", chunk(BODY) + LAST)),
    # Section 6.1: refused, or read as chunks with the connection closed after the response.
    "length_and_chunked": Case(
        put(SENT + CHUNKED, chunk(BODY) + LAST), ({"server 400", "app 200"},), CLOSED, ("sent",)
    ),
    "length_and_chunked_that_hides_a_request": Case(
        put(length(len(LAST)) + CHUNKED, LAST + HIDDEN), ({"server 400", "app 400"},), CLOSED
    ),
    "chunked_and_length_that_hides_a_request": Case(
        put(CHUNKED + length(len(LAST + HIDDEN)), LAST + HIDDEN),
        ({"server 400", "app 400"},),
        CLOSED,
    ),
    "chunked_in_http_1_0": refused(
        put(CHUNKED, chunk(BODY) + LAST, line=b"PUT %s HTTP/1.0" % PATH)
    ),
    "chunked_after_a_space": refused(put(b"Transfer-Encoding : chunked\r\n", chunk(BODY) + LAST)),
    # gunicorn does not decode the other coding, so the body is read as it is.
    "gzip_and_chunked": Case(
        put(b"Transfer-Encoding: gzip, chunked\r\n", chunk(BODY) + LAST),
        ({"app 200", "app 400", "server 400", "server 501"},),
        CLOSED,
        ("sent",),
    ),
    "chunked_in_two_lines": refused(put(CHUNKED + CHUNKED, chunk(BODY) + LAST)),
    **{
        f"transfer_encoding_{name}": refused(
            put(b"Transfer-Encoding: %s\r\n" % coding, chunk(BODY) + LAST), status
        )
        for name, coding, status in (
            ("identity", b"identity", 400),
            ("xchunked", b"xchunked", 501),
            ("chunked_twice", b"chunked, chunked", 400),
            ("chunked_then_identity", b"chunked, identity", 400),
            ("with_a_parameter", b"chunked;q=1", 501),
            ("after_a_vertical_tab", b"\x0bchunked", 400),
            ("empty", b"", 501),
        )
    },
    "transfer_encoding_identity_and_length": refused(
        put(b"Transfer-Encoding: identity\r\n" + SENT, BODY)
    ),
}

CHUNKS = {
    "chunk_size_with_leading_zeros": stored(chunk_of(b"%040x" % SIZE)),
    "chunk_extension": stored(chunk_of(b'%x;a;b=c;d="\\"0"' % SIZE)),
    "trailer": stored(put(CHUNKED, chunk(BODY) + b"0\r\nX-Checked: yes\r\n\r\n")),
    **{
        f"chunk_size_{name}": unreadable(chunk_of(line))
        for name, line in {
            "signed": b"+%x" % SIZE,
            "negative": b"-%x" % SIZE,
            "with_0x": b"0x%x" % SIZE,
            "after_a_space": b" %x" % SIZE,
            "before_a_space": b"%x " % SIZE,
            "with_an_underscore": b"0_%x" % SIZE,
            "not_hexadecimal": b"size",
            "empty": b"",
        }.items()
    },
    **{
        f"chunk_extension_{name}": unreadable(chunk_of(b"%x;%s" % (SIZE, extension)))
        for name, extension in {
            "malformed": b"=",
            "with_a_bare_lf": b"a\nb",
            "with_a_bare_cr": b"a\rb",
            "too_long": b"a" * 20_000,
        }.items()
    },
    "chunk_longer_than_its_size": unreadable(put(CHUNKED, b"5\r\n" + BODY + b"\r\n" + LAST)),
    "chunk_shorter_than_its_size": unreadable(
        put(CHUNKED, b"%x\r\n%s\r\n%s" % (SIZE + 4, BODY, LAST))
    ),
    "chunk_size_enormous": unreadable(chunk_of(b"f" * 40), ends=True),
    "chunks_with_bare_lf": unreadable(put(CHUNKED, b"%x\n%s\n0\n\n" % (SIZE, BODY)), ends=True),
    "chunk_cut": unreadable(put(CHUNKED, chunk(BODY)[:-20]), ends=True),
    "last_chunk_missing": unreadable(put(CHUNKED, chunk(BODY)), ends=True),
    "last_chunk_cut": unreadable(put(CHUNKED, chunk(BODY) + b"0\r\n"), ends=True),
    "trailer_with_a_length": unreadable(
        put(CHUNKED, chunk(BODY) + b"0\r\nContent-Length: 0\r\n\r\n")
    ),
    # The body is read only after the 401, and gunicorn may refuse it once more.
    "trailer_with_the_credentials": Case(
        put(CHUNKED, chunk(BODY) + b"0\r\n" + ADMIN + b"\r\n", admin=b""),
        ({"app 401"},),
        CLOSED | OUT_OF_STEP,
    ),
}

LINES = {
    "folded_header": refused(put(b"X-Folded: 1\r\n 2\r\n" + SENT, BODY)),
    "folded_transfer_encoding": refused(
        put(b"Transfer-Encoding:\r\n chunked\r\n", chunk(BODY) + LAST)
    ),
    "first_header_after_a_space": refused(put(SENT, BODY, host=b" " + HOST)),
    "bare_lf": refused(put(SENT, b"").replace(b"\r\n", b"\n") + BODY),
    "bare_lf_that_hides_a_length": refused(put(b"X-A: 1\nContent-Length: 0\r\n" + SENT, BODY)),
    "bare_cr_that_hides_a_length": refused(put(b"X-A: 1\rContent-Length: 0\r\n" + SENT, BODY)),
    "nul_in_a_header": refused(put(b"X-A: \0\r\n" + SENT, BODY)),
    "nul_in_the_credentials": refused(put(SENT, BODY, admin=ADMIN[:-2] + b"\0\r\n")),
    "non_ascii_in_a_header": tolerated(put("X-A: ü\r\n".encode() + b"X-B: \xff\r\n" + SENT, BODY)),
    "non_ascii_in_a_name": refused(put("X-Ü: 1\r\n".encode() + SENT, BODY)),
    "non_ascii_in_the_credentials": Case(
        put(SENT, BODY, admin=ADMIN[:-2] + b"\xc3\xbc\xff\r\n"), ({"app 401"},), EITHER
    ),
    "header_without_a_name": refused(put(b": 1\r\n" + SENT, BODY)),
    "header_too_long": refused(put(b"X-A: %s\r\n" % (b"a" * 9000) + SENT, BODY), 431),
    "headers_too_many": refused(put(b"X-A: 1\r\n" * 200 + SENT, BODY), 431),
    "host_twice": refused(put(SENT, BODY, host=HOST + b"Host: other.example.com\r\n")),
    "host_missing": tolerated(put(SENT, BODY, host=b"")),
    "credentials_twice": Case(
        put(b"Authorization: Bearer other\r\n" + SENT, BODY), ({"app 401", "server 400"},), EITHER
    ),
}


def put_to(target: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"PUT") -> bytes:
    return put(SENT, BODY, line=b"%s %s %s" % (method, target, version))


TARGETS = {
    "absolute_form": stored(put_to(b"http://ci.example.com" + PATH)),
    "absolute_form_of_another_host": tolerated(put_to(b"http://other.example.com" + PATH)),
    "authority_form": refused(put_to(b"ci.example.com:80")),
    "authority_form_of_connect": Case(
        put_to(b"ci.example.com:80", method=b"CONNECT"), ({"host 404"},), CLOSED
    ),
    "path_of_connect": Case(put_to(PATH, method=b"CONNECT"), ({"app 405"},), CLOSED),
    "asterisk_form": refused(put_to(b"*")),
    "path_without_a_slash": refused(put_to(PATH[1:])),
    "path_with_other_characters": refused(put_to(PATH + "ü".encode())),
    "two_spaces_in_the_line": refused(put_to(b" " + PATH)),
    "line_too_long": refused(put_to(PATH + b"?reason=" + b"a" * 9000), 414),
    "nul_in_the_method": refused(put_to(PATH, method=b"PUT\0")),
}

PROTOCOLS = {
    "expect_continue": Case(
        put(b"Expect: 100-continue\r\n" + SENT, BODY),
        ({"server 100"}, {"app 200"}),
        IN_STEP,
        ("sent",),
    ),
    "expect_continue_of_anybody": Case(
        put(b"Expect: 100-continue\r\n" + SENT, BODY, admin=b""),
        ({"server 100"}, {"app 401"}),
        EITHER,
    ),
    "expect_something_else": refused(put(b"Expect: 200-ok\r\n" + SENT, BODY), 417),
    "upgrade_to_h2c": stored(
        put(
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n" + SENT,
            BODY,
        )
    ),
    "preface_of_http_2": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http_2_0": refused(put_to(PATH, b"HTTP/2.0")),
    "http_in_small_letters": refused(put_to(PATH, b"http/1.1")),
    "http_1_0": Case(put_to(PATH, b"HTTP/1.0"), ({"app 200"},), CLOSED, ("sent",)),
    "http_1_0_kept_alive": Case(
        put(b"Connection: keep-alive\r\n" + SENT, BODY, line=b"PUT %s HTTP/1.0" % PATH),
        ({"app 200"},),
        EITHER,
        ("sent",),
    ),
    "http_0_9": refused(b"GET %s/1\r\n\r\n" % PATH),
    "http_0_9_with_headers": refused(b"PUT %s\r\n" % PATH + PLAIN.split(b"\r\n", 1)[1]),
    "closed_before_the_second": Case(
        put(b"Connection: close\r\n" + SENT, BODY) + HIDDEN, ({"app 200"},), CLOSED, ("sent",)
    ),
}


def hidden_in(head: bytes, status: int, body: bytes = HIDDEN) -> Case:
    """Expect one response: a body is not read as a request, even if the view leaves it unread."""
    return Case(head + length(len(body)) + b"\r\n" + body, ({f"app {status}"},), EITHER)


HEAD = b"%s\r\n%s%s" % (LINE, HOST, JSON)
HEAD_OF_ADMIN = HEAD + ADMIN

PIPELINES = {
    "two_of_an_administrator": Case(
        PLAIN + HIDDEN, ({"app 200"}, {"app 200"}), IN_STEP, ("sent", "hidden")
    ),
    "anybody_then_an_administrator": Case(
        HIDDEN_OF_ANYBODY + PLAIN, ({"app 401"}, {"app 200"}), IN_STEP, ("sent",)
    ),
    "an_administrator_then_anybody": Case(
        PLAIN + HIDDEN_OF_ANYBODY, ({"app 200"}, {"app 401"}), EITHER, ("sent",)
    ),
    "hidden_from_anybody": hidden_in(HEAD, 401),
    "hidden_in_an_administrators": hidden_in(HEAD_OF_ADMIN, 400, HIDDEN_OF_ANYBODY),
    "hidden_in_a_get": hidden_in(GET + ADMIN, 200),
    "hidden_in_anybodys_get": hidden_in(GET, 401),
    "hidden_in_another_type": hidden_in(HEAD_OF_ADMIN.replace(JSON, b""), 415),
    "hidden_in_another_method": hidden_in(HEAD_OF_ADMIN.replace(b"PUT", b"DELETE"), 405),
    "hidden_in_options": hidden_in(HEAD.replace(b"PUT", b"OPTIONS"), 200),
    "hidden_in_an_undo": hidden_in(
        b"POST %s/1/revisions/1/undo HTTP/1.1\r\n%s%s%s" % (PATH, HOST, ADMIN, JSON), 400
    ),
    "hidden_in_a_large_body": hidden_in(HEAD_OF_ADMIN, 413, LARGE),
    "hidden_in_anybodys_large_body": hidden_in(HEAD, 401, LARGE),
    "hidden_in_chunks": Case(put(CHUNKED, chunk(HIDDEN) + LAST, admin=b""), ({"app 401"},), EITHER),
    "hidden_in_large_chunks": Case(put(CHUNKED, chunk(LARGE) + LAST), ({"app 413"},), EITHER),
    "hidden_after_the_last_chunk": Case(
        put(CHUNKED, LAST + HIDDEN_OF_ANYBODY), ({"app 400"}, {"app 401"}), EITHER
    ),
}

CASES: dict[str, Case] = (
    CONTENT_LENGTHS | TRANSFER_ENCODINGS | CHUNKS | LINES | TARGETS | PROTOCOLS | PIPELINES
)


@pytest.fixture(scope="module", params=WORKERS)
def module_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve with each worker class in turn, with one worker that every case finds unharmed."""
    directory = tmp_path_factory.mktemp(request.param)
    # An idle connection stays open for longer than a test waits: what closes it is a decision.
    options = ("--keep-alive", f"{2 * PATIENCE}", "--worker-class", request.param)
    url = f"sqlite:///{directory / 'ci.db'}"
    with serve(url, directory, *options, *WORKERS[request.param], workers=1) as server:
        yield server


@pytest.fixture
def server(module_server: Server) -> Iterator[Server]:
    """A server that has the octocat build again after each test."""
    yield module_server
    assert module_server.put(OCTOCAT).json == OCTOCAT


@pytest.fixture
def url(module_server: Server) -> str:
    """The URL of the server's database."""
    return f"sqlite:///{module_server.log.parent / 'ci.db'}"


def send(connection: socket.socket, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the server closed it meanwhile
        connection.sendall(data)


def receive(stream: BufferedReader) -> Answer | None:
    """Return the next response; None: the connection is closed."""
    try:
        line = stream.readline()
        if not line:
            return None
        headers = dict(
            header.decode().split(": ", 1) for header in iter(partial(line_of, stream), b"")
        )
        body = stream.read(int(headers.get("Content-Length", 0)))
    except ConnectionResetError:
        return None
    return Answer(int(line.split()[1]), headers, body)


def line_of(stream: BufferedReader) -> bytes:
    return stream.readline().removesuffix(b"\r\n")


def origin(response: Answer | None) -> str:
    """Return who made a response in which status, and check that it has the form for it."""
    if response is None:
        return "closed"
    status, headers, body = response
    match headers.get("Content-Type"):
        case "text/html; charset=utf-8":
            return f"host {status}"
        case "text/html":
            assert headers["Connection"] == "close"
            return f"server {status}"
        case None if status == 100:
            return "server 100"
        case None if "Allow" in headers:
            assert not body
            return f"app {status}"
    assert is_formed("fetch", response), response
    return f"app {status}"


def row_in(url: str) -> dict[str, Any]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        row = connection.execute(sa.select(Build.__table__)).one()
    engine.dispose()
    return dict(row._mapping)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_only_complete_requests_of_an_administrator_are_stored(
    server: Server, url: str, case: Case
) -> None:
    recorded, logged = len(chain_of(url)), len(server.log.read_text())
    address = ("127.0.0.1", server.port)
    with (
        socket.create_connection(address, PATIENCE) as connection,
        connection.makefile("rb") as stream,
    ):
        send(connection, case.sent)
        if case.ends:
            with suppress(OSError):  # the same
                connection.shutdown(socket.SHUT_WR)
        received = [receive(stream) for _ in case.responses]
        send(connection, PROBE)
        following = [*iter(partial(receive, stream), None)]

    origins = [origin(one) for one in received]
    assert all(one in allowed for one, allowed in zip(origins, case.responses, strict=True)), (
        origins
    )
    assert tuple(origin(one) for one in following) in case.then
    if case.sentence is not None:
        assert received[-1] is not None
        assert received[-1].json["error"] == case.sentence

    # Only a response to a change has a Content-Location.
    confirmed = [
        one.json for one in (*received, *following) if one and "Content-Location" in one.headers
    ]
    changes = [after for _, after in chain_of(url)[recorded:]]
    assert changes == confirmed
    assert [one["title"] for one in changes] == [*case.complete[: len(changes)]]
    assert row_in(url) == server.get().json == (changes or [OCTOCAT])[-1]
    assert "Traceback" not in server.log.read_text()[logged:]
