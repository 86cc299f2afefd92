"""Lists end at a length as well as at a number, and ``Link`` has the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, BuildRevision, Host
from tests.support.terminals import in_pipe

MakeHost = Callable[..., Host]

COUNT = 30

PATHS = {"queue": f"{URL}s/queue", "revisions": f"{URL}/1/revisions"}


def build(number: int) -> dict[str, Any]:
    """Make a build that runs; each is of another length, in bytes and in characters."""
    return OCTOCAT | {
        "id": number,
        "number": number,
        "status": "running",
        "created": number // 4,
        "message": "é\U0001f389" * (number * number),
    }


@pytest.fixture
def limited(make_host: MakeHost, database_url: str) -> Callable[[int], Host]:
    """Make a host of thirty builds and as many revisions, whose lists are not longer than this."""

    def make(max_list_length: int, **options: Any) -> Host:
        host = make_host(
            database_url,
            rows=[build(number) for number in range(1, COUNT + 1)],
            history=BuildRevision,
            max_list_length=max_list_length,
            **options,
        )
        row = {"build_id": 1, "at": datetime.now(UTC), "before": build(1)}
        with host.engine.begin() as connection:
            connection.execute(
                sa.insert(BuildRevision),
                [row | {"after": build(number)} for number in range(1, COUNT + 1)],
            )
        return host

    return make


def get(host: Host, path: str) -> Any:
    answer = host.client.get(path, headers=ADMIN)
    assert answer.status_code == 200, answer.data
    return answer


def next_page(answer: Any) -> str:
    return str(answer.headers.get("Link", "")).removeprefix("<").partition(">")[0]


def pages(host: Host, path: str) -> Iterator[Any]:
    """Follow the links from page to page."""
    while path:
        yield (answer := get(host, path))
        path = next_page(answer)


@pytest.mark.parametrize("length", [1, 900, 4_000, 9_000, 50_000, 8_388_608])
def test_no_page_is_too_long_and_every_item_is_on_one(
    limited: Callable[[int], Host], length: int
) -> None:
    host = limited(length)
    for path, query in product(PATHS.values(), ["", "?limit=5"]):
        listed = [*pages(host, path + query)]
        items = [one for page in listed for one in page.json]
        assert [one["id"] for one in items] == [*range(COUNT, 0, -1)]
        for page in listed:
            assert len(page.json) == 1 or len(page.data) <= length
            assert len(page.json) <= (5 if query else COUNT)
            assert page.data == encoded(page.json)
            assert page.headers["Content-Length"] == str(len(page.data))
        for page, following in pairwise(listed):
            if following.json:  # else the page before ended at the number
                one_more = [*page.json, following.json[0]]
                assert len(page.json) == (5 if query else None) or len(encoded(one_more)) > length
        if length == 1:
            assert {len(page.json) for page in listed} == {1}


def encoded(items: list[Any]) -> bytes:
    return f"{json.dumps(items, ensure_ascii=False, separators=(',', ':'))}\n".encode()


@pytest.mark.parametrize("name", PATHS)
def test_the_length_is_that_of_the_whole_body(limited: Callable[[int], Host], name: str) -> None:
    three = len(get(limited(10**6), f"{PATHS[name]}?limit=3").data)
    assert len(get(limited(three), PATHS[name]).json) == 3
    assert len(get(limited(three - 1), PATHS[name]).json) == 2


@pytest.mark.parametrize("name", PATHS)
def test_head_tells_the_length_and_the_link(limited: Callable[[int], Host], name: str) -> None:
    host = limited(9_000)
    answer, head = get(host, PATHS[name]), host.client.head(PATHS[name], headers=ADMIN)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers == answer.headers
    assert next_page(answer)


@pytest.mark.parametrize("name", PATHS)
def test_the_link_keeps_what_was_asked_for(limited: Callable[[int], Host], name: str) -> None:
    host = limited(1)
    query = "limit=7&after=1&before=6" if name == "queue" else "limit=7&before=20"
    expected = "limit=7&after=1&before=6&below=23" if name == "queue" else "limit=7&before=19"
    assert next_page(get(host, f"{PATHS[name]}?{query}")) == f"{PATHS[name]}?{expected}"


@pytest.mark.parametrize("name", PATHS)
def test_an_empty_list_has_the_form_of_any_other(limited: Callable[[int], Host], name: str) -> None:
    host = limited(1)
    with host.engine.begin() as connection:
        connection.execute(sa.delete(Build).where(Build.id > 1))
        connection.execute(sa.delete(BuildRevision))
        connection.execute(sa.update(Build).values(status="success"))
    answer = get(host, PATHS[name])
    assert (answer.data, next_page(answer)) == (b"[]\n", "")


def test_a_list_is_sent_in_few_parts(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [build(1) | {"id": n, "number": n} for n in range(1, 1001)]
    client = make_host(sqlite_url, rows=rows).client
    small = client.get(f"{PATHS['queue']}?limit=50", headers=ADMIN, buffered=False)
    assert len([*small.response]) == 1
    large = client.get(f"{PATHS['queue']}?limit=1000", headers=ADMIN, buffered=False)
    *parts, last = map(len, large.response)
    assert all(64 * 1024 <= part < 66 * 1024 for part in parts)
    assert 0 < last < 66 * 1024


def test_the_terminal_lists_all_whatever_the_length(limited: Callable[[int], Host]) -> None:
    app = limited(1).app
    listed = json.loads(in_pipe(app, "build-admin", "queue", "--json").output)
    assert [one["id"] for one in listed] == [*range(COUNT, 0, -1)]
    history = in_pipe(app, "build-admin", "history", "1").output.splitlines()
    ids = [line.split()[0] for line in history if not line.startswith(" ")]
    assert ids == [str(number) for number in range(COUNT, 0, -1)]
