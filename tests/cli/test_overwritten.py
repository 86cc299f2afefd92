"""The terminal shows what others have changed, what cannot be, and removes what is old."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.hosts import OCTOCAT, BuildRevision, Host, stuck
from tests.support.terminals import Editor, pipe, run

MakeHost = Callable[..., Host]

HOUR = 3600


@pytest.fixture
def repaired(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host with two repairs, the first of which a late worker has overwritten."""
    host = make_host(sqlite_url, rows=[stuck(1), stuck(2)], history=BuildRevision)
    for number in ("1", "2"):
        done = pipe(host, "set", number, "status=error", "--actor", "mona", "--yes")
        assert done.code == 0
    host.execute("UPDATE builds SET status = 'success', finished = 1563474099 WHERE id = 1")
    return host


def lines(output: str) -> list[str]:
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ(?!\))", "<date>", output).splitlines()


def test_overwritten_lists_the_repairs_and_fails(repaired: Host) -> None:
    found = pipe(repaired, "overwritten")
    assert (found.code, found.errors) == (3, "")
    assert lines(found.output) == [
        "1  build 1  <date>  mona",
        '  overwritten: status: "error" → "success"',
        "1 repair of the last 1d 0h overwritten.",
    ]
    as_json = pipe(repaired, "overwritten", "--json")
    assert as_json.code == 3
    [revision] = json.loads(as_json.output)
    assert revision["overwritten"] == {"status": {"before": "error", "after": "success"}}
    assert pipe(repaired, "set", "1", "status=error", "--yes").code == 0
    none = pipe(repaired, "overwritten")
    assert (none.code, none.output) == (0, "No repair of the last 1d 0h overwritten.\n")
    assert pipe(repaired, "overwritten", "--json").output == "[]\n"


def test_since_when_they_are_listed(repaired: Host) -> None:
    table: Any = BuildRevision.__table__
    with repaired.engine.begin() as connection:
        old = datetime.now(UTC) - timedelta(hours=2)
        connection.execute(sa.update(table).where(table.c.id == 1).values(at=old))
    assert pipe(repaired, "overwritten", "--since", "1h").code == 0
    assert pipe(repaired, "overwritten", "--since", "3h").code == 3
    assert pipe(repaired, "overwritten", "--since", "99999d").code == 3
    assert pipe(repaired, "overwritten", "--since", "ever").code == 2


def test_history_shows_what_was_changed_outside_in_its_place(repaired: Host) -> None:
    assert pipe(repaired, "set", "1", "title=x", "--actor", "hubot", "--yes").code == 0
    shown = pipe(repaired, "history", "1")
    outside = (
        '  then, outside this tool: status: "error" → "success",'
        " finished: 0 → 1563474099 (2019-07-18 18:21:39Z)"
    )
    assert lines(shown.output) == [
        "3  <date>  hubot",
        f'  - title: "{OCTOCAT["title"]}"',
        '  + title: "x"',
        "1  <date>  mona",
        '  - status: "running"',
        '  + status: "error"',
        outside,
    ]
    assert outside in lines(pipe(repaired, "log").output)
    listed = json.loads(pipe(repaired, "history", "1", "--json").output)
    assert [{*one["changed_outside"]} for one in listed] == [set(), {"status", "finished"}]


def test_control_characters_of_others_are_escaped(repaired: Host) -> None:
    repaired.execute("UPDATE builds SET status = :text WHERE id = 1", text="\x1b[31m\nred")
    assert '"error" → "\\u001b[31m\\nred"' in pipe(repaired, "overwritten").output


@pytest.fixture
def strict(make_host: MakeHost, sqlite_url: str) -> Host:
    rows = [stuck(1), stuck(2), stuck(3)]
    return make_host(sqlite_url, rows=rows, history=BuildRevision, refuse_warnings=True)


WARNING = "the status is final, but finished is 0"


def test_what_cannot_be_is_shown_before_the_question(repaired: Host) -> None:
    done = run(repaired, "set", "2", "title=x", answers="n\n", NO_COLOR="1")
    assert f'+ title: "x"\r\nwarning: {WARNING}\r\nStore this' in done.output or (
        f'+ title: "x"\nwarning: {WARNING}\nStore this' in done.output
    )
    assert "warning" not in pipe(repaired, "set", "2", "finished=now", "--dry-run").output


def test_a_clean_shows_it_before_the_question(make_host: MakeHost, sqlite_url: str) -> None:
    rows = [stuck(1), stuck(2, started=int(time.time()) + HOUR)]
    host = make_host(sqlite_url, rows=rows)
    done = run(host, "clean", answers="n\n", NO_COLOR="1")
    assert done.code == 1
    assert (
        lines(done.output)[-5:]
        == [
            "2 builds",
            "Build 2:",
            "  warning: finished is before started",
            "  warning: started is in the future",
            "Set these 2 builds to error? [y/N]: ",
        ]
        or done.output == ""
    )
    assert [host.row(one)["status"] for one in (1, 2)] == ["running", "running"]


def test_of_many_builds_each_is_named(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, rows=[stuck(one) for one in range(1, 8)])
    shown = pipe(host, "set", *map(str, range(1, 8)), "status=killed", "--dry-run").output
    assert shown.endswith("".join(f"Build {one}:\n  warning: {WARNING}\n" for one in range(1, 8)))


def test_what_is_refused_can_be_forced(strict: Host) -> None:
    refused = pipe(strict, "set", "1", "status=error", "--yes")
    assert refused.code == 1
    assert refused.errors == f"Error: status: {WARNING}\nfinished: {WARNING}\n"
    several = pipe(strict, "set", "1", "2", "status=error", "--yes")
    assert several.code == 1
    assert f"Build 2 is not changed: Refused, unless you force it: {WARNING}." in several.errors
    assert strict.recorded() == []
    assert pipe(strict, "set", "1", "status=error", "--yes", "--force").code == 0
    assert pipe(strict, "set", "2", "3", "status=error", "--yes", "--force").code == 0
    assert {one["reason"] for one in strict.recorded()} == {f"(forced: {WARNING})"}


def test_an_edit_that_is_refused_can_be_mended(strict: Host, tmp_path: Path) -> None:
    editor = Editor(tmp_path, [{"set": {"status": "error"}}, {"set": {"finished": 1700000099}}])
    done = run(strict, "edit", "1", answers="y\n", **editor.environment)
    assert done.code == 0
    assert f"# status: {WARNING}\n" in editor.seen[1]
    assert strict.row()["status"] == "error"


@pytest.fixture
def old(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host with three changes of a build: of ten days ago, of eight, and of now."""
    host = make_host(sqlite_url, rows=[stuck(1)], history=BuildRevision)
    rows = [{"build_id": 1, "at": datetime.now(UTC) - timedelta(days=age)} for age in (10, 8, 0)]
    with host.engine.begin() as connection:
        connection.execute(
            sa.insert(BuildRevision), [row | {"before": OCTOCAT, "after": OCTOCAT} for row in rows]
        )
    return host


def test_prune_counts_asks_and_removes(old: Host) -> None:
    shown = pipe(old, "prune", "--older-than", "9d", "--dry-run")
    assert (shown.code, shown.output) == (0, "1 change would be removed.\n")
    question = "Remove these 2 changes from the history, for ever? [y/N]: "
    declined = run(old, "prune", "--older-than", "7d", answers="n\n")
    assert declined.code == 1
    assert question in declined.output
    refused = pipe(old, "prune", "--older-than", "7d")
    assert (refused.code, len(old.recorded())) == (1, 3)
    assert "there is no terminal to ask at, so pass --yes" in refused.errors
    asked = run(old, "prune", "--older-than", "9d", answers="n\n")
    assert "Remove this change from the history, for ever?" in asked.output
    done = run(old, "prune", "--older-than", "7d", answers="y\n")
    assert done.code == 0
    assert f"{question}2 changes removed." in done.output
    assert [one["id"] for one in old.recorded()] == [3]
    nothing = pipe(old, "prune", "--older-than", "0s", "--yes")
    assert (nothing.code, nothing.output) == (
        0,
        "No change is that old, except the newest of each build.\n",
    )


def test_prune_needs_an_age(old: Host) -> None:
    assert pipe(old, "prune", "--yes").code == 2
    assert pipe(old, "prune", "--older-than", "7d", "--yes").output == "2 changes removed.\n"
