"""``flask build-admin queue``: the table, its filters, and what a pipe takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from marshmallow import fields

from flask_build_admin import BuildSchema
from tests.support.hosts import OCTOCAT, Host, model_of, row_of
from tests.support.terminals import pipe, run

MakeHost = Callable[..., Host]

ESCAPE = "\x1b"


BUILDS = [
    OCTOCAT | {"id": 1, "status": "running", "created": 1},
    OCTOCAT | {"id": 22, "number": 22, "status": "pending", "title": "漢字" * 40, "host": ""},
    OCTOCAT
    | {"id": 3, "number": 3, "status": "running", "title": "\x1b[2Jgone\u202e", "created": 0},
    OCTOCAT | {"id": 4, "number": 4, "status": "success"},
]


def columns_of(text: str) -> int:
    """Count the columns of the longest line."""
    lines = text.splitlines()
    return max(sum(2 if "\u2e80" <= char <= "\u9fff" else 1 for char in line) for line in lines)


def test_the_queue_fits_the_terminal(make_host: MakeHost, sqlite_url: str) -> None:
    now = int(time.time())
    rows = [row | {"created": now - 8100} if row["id"] == 22 else row for row in BUILDS]
    host = make_host(sqlite_url, rows=rows)
    shown = run(host, "queue").output
    lines = shown.splitlines()
    assert columns_of(shown) <= 80
    assert lines[0].split() == ["id", "repo", "number", "status", "age", "host", "title"]
    assert lines[4:] == ["3 builds"]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["22", "1", "22", "pending"],
        ["1", "1", "1", "running"],
        ["3", "1", "3", "running"],
    ]
    assert "2h 15m" in lines[1]
    assert f"{(now - 1) // 86_400}d " in lines[2]
    assert all(line.endswith("…") for line in lines[1:3])
    for columns in (40, 50, 60):
        narrow = run(host, "queue", columns=columns).output
        assert columns_of(narrow) <= columns
        assert [line.split()[0] for line in narrow.splitlines()] == ["id", "22", "1", "3", "3"]
    wide = run(host, "queue", columns=300).output
    assert pipe(host, "queue").output == wide
    assert "漢字" * 40 in wide
    assert "\\x1b[2Jgone\\u202e" in wide
    assert ESCAPE not in wide
    for span, ids in (("2h", [22, 1, 3]), ("3h", [1, 3]), ("9999d", [])):
        older = pipe(host, "queue", "--older-than", span, "--json").output
        assert [one["id"] for one in json.loads(older)] == ids


def test_the_age_is_that_of_the_first_sign_of_life(make_host: MakeHost, sqlite_url: str) -> None:
    now = int(time.time())
    schema = type("Schema", (BuildSchema,), {"Meta": type("Meta", (), {"exclude": ("created",)})})
    times = [{"enqueued": now - 7200, "started": now - 60}, {"enqueued": 0, "started": now - 180}]
    rows = [row_of("created", id=at, status="running", **times[at - 1]) for at in (1, 2)]
    model = model_of("created")
    host = make_host(sqlite_url, model=model, schema=schema, rows=rows)
    ages = [line.split()[4] for line in pipe(host, "queue").output.splitlines()[1:3]]
    assert sorted(ages) == ["2h", "3m"]


def test_an_empty_queue_is_a_sentence(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url)
    shown = pipe(host, "queue")
    assert (shown.code, shown.output, shown.errors) == (0, "No builds wait or run.\n", "")
    for filtered in (("--where", "host=nowhere"), ("--older-than", "1d")):
        assert pipe(host, "queue", *filtered).output == "No such builds wait or run.\n"


def test_a_queue_that_is_longer_says_so(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [OCTOCAT | {"id": n, "number": n, "status": "pending"} for n in range(1, 1002)]
    shown = pipe(make_host(sqlite_url, rows=rows), "queue")
    lines = shown.output.splitlines()
    assert len(lines) == 1002
    assert lines[-1] == "1000 builds"
    assert "there may be more: ask by --older-than or --where" in shown.errors


@pytest.fixture
def host(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host with four unfinished builds on three workers, and one that is finished."""
    rows = [
        {"id": 1, "host": "a", "created": 10},
        {"id": 2, "host": "b", "created": 20},
        {"id": 3, "host": "b", "created": 30, "repo_id": 7},
        {"id": 4, "host": "c", "created": 40, "started": int(time.time()) - 60},
        {"id": 5, "host": "b", "created": 50, "status": "success"},
    ]
    filled = [OCTOCAT | {"status": "running", "number": n} | row for n, row in enumerate(rows, 1)]
    return make_host(sqlite_url, rows=filled)


def test_one_build_is_counted_as_one(host: Host) -> None:
    assert pipe(host, "queue", "--where", "id=3").output.endswith("\n1 build\n")


def test_a_pipe_takes_the_ids(host: Host) -> None:
    assert pipe(host, "queue", "--ids") == (0, "4\n3\n2\n1\n", "")
    assert pipe(host, "queue", "--ids", "--oldest-first") == (0, "1\n2\n3\n4\n", "")
    nothing = pipe(host, "queue", "--ids", "--where", "host=nowhere")
    assert nothing == (0, "", "")
    refused = pipe(host, "queue", "--ids", "--json")
    assert refused.code == 2
    assert "Pass --ids or --json, not both." in refused.errors


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--where", "host=b"], "3 2"),
        (["--where", "host=b", "--where", "repo_id=7"], "3"),
        (["--older-than", "10m"], "3 2 1"),
        (["--older-than", "10m", "--where", "host=c"], ""),
        (["--where", "created=20", "--oldest-first"], "2"),
    ],
)
def test_the_filters(host: Host, arguments: list[str], ids: str) -> None:
    assert pipe(host, "queue", "--ids", *arguments).output.split() == ids.split()
    listed = json.loads(pipe(host, "queue", "--json", *arguments).output)
    assert [str(build["id"]) for build in listed] == ids.split()


def test_help_says_what_older_than_means(host: Host) -> None:
    help_ = " ".join(pipe(host, "queue", "--help").output.split())
    assert "without a sign of life for so long (idle_before)" in help_


class Failing(BuildSchema):
    event = fields.Function(lambda build: {"push": "push"}[build.event])


def test_the_id_of_a_build_that_cannot_be_read_is_one(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [
        OCTOCAT | {"id": 1, "status": "running", "event": "push"},
        OCTOCAT | {"id": 2, "number": 2, "status": "running", "event": "odd"},
    ]
    host = make_host(sqlite_url, rows=rows, schema=Failing)
    listed = pipe(host, "queue", "--ids")
    assert listed.output == "1\n2\n"
    assert listed.errors == "Build 2 cannot be read: KeyError\n"
    assert pipe(host, "queue").output.endswith("\n2 builds\n")


class WithoutColumn(BuildSchema):
    quota = fields.Constant("x", dump_only=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hots=b", "'hots' is unknown: did you mean host?"),
        ("quota=x", "'quota' is unknown: there are id, repo_id, "),
        ("host", "'host' is not of the form MEMBER=VALUE."),
        ("created=yesterday", "created: 'yesterday' is no time: pass seconds since 1970"),
    ],
)
def test_a_filter_that_cannot_be(
    make_host: MakeHost, sqlite_url: str, text: str, told: str
) -> None:
    host = make_host(sqlite_url, schema=WithoutColumn)
    refused = pipe(host, "queue", "--where", text)
    assert (refused.code, refused.output) == (2, "")
    assert told in refused.errors


def test_a_filter_twice(host: Host) -> None:
    refused = pipe(host, "queue", "--where", "host=a", "--where", "host=b")
    assert refused.code == 2
    assert "'host' is given more than once." in refused.errors


def test_a_value_that_the_member_cannot_have(host: Host) -> None:
    refused = pipe(host, "queue", "--where", "repo_id=x")
    assert (refused.code, refused.errors) == (1, "Error: repo_id: not an integer\n")


def test_no_queue_says_why(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, queue_statuses=())
    for command in (["queue", "--where", "host=b"], ["clean"]):
        refused = pipe(host, *command)
        assert refused.code == 1
        assert refused.errors.startswith("Error: There is no queue: ")
