"""What the commands make of their arguments: members, times, and who is acting."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import fields

from flask_build_admin import BuildSchema, Text, UnixTime
from tests.support.hosts import OCTOCAT, Host, model_of, row_of
from tests.support.terminals import pipe, run

MakeHost = Callable[..., Host]


@pytest.mark.parametrize("option", [[], ["--if"]], ids=["assignment", "condition"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("statu=error", "'statu' is unknown: did you mean status?"),
        ("xyzzy=1", "'xyzzy' is unknown: there are id, repo_id, number, "),
        ("finished=yesterday", "finished: 'yesterday' is no time: pass seconds since 1970"),
        ("created=", "created: '' is no time: pass seconds since 1970 (UNIX epoch), or now."),
    ],
)
def test_a_mistake_says_what_may_be_meant(
    kept: Host, option: list[str], text: str, told: str
) -> None:
    refused = pipe(kept, "set", "1", *(["title=x", *option] if option else []), text, "--yes")
    assert (refused.code, refused.output) == (2, "")
    assert told in refused.errors
    assert kept.row() == OCTOCAT


@pytest.mark.parametrize("value", ["-1", "1.5", "true", "253402300800000000000"])
def test_a_time_that_is_json_is_reported_by_the_schema(kept: Host, value: str) -> None:
    refused = pipe(kept, "set", "1", f"finished={value}", "--yes")
    assert refused.code == 1
    assert "finished: " in refused.errors
    assert kept.row() == OCTOCAT


class OwnTimes(BuildSchema):
    started = Text()
    created = fields.Raw(required=True)
    finished = UnixTime(attribute="finished_at")
    deadline = UnixTime()


@pytest.fixture
def own_times(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host with times of its own: one is text, one anything, two are datetimes."""
    model = model_of(
        *("finished", "started", "created"),
        started=sa.Column(sa.String(50)),
        created=sa.Column(sa.JSON),
        finished_at=sa.Column(sa.DateTime),
        deadline=sa.Column(sa.DateTime),
    )
    row = row_of("finished", started="1563474077", created=1563474077)
    return make_host(sqlite_url, model=model, schema=OwnTimes, rows=[row])


def test_a_time_of_the_hosts_own_kind(own_times: Host) -> None:
    assignments = ["started=yesterday", "created=yesterday", "deadline=now"]
    assert pipe(own_times, "set", "1", *assignments, "--yes").code == 0
    row = own_times.row()
    assert (row["started"], row["created"]) == ("yesterday", "yesterday")
    assert row["deadline"] is not None
    refused = pipe(own_times, "set", "1", "deadline=tomorrow", "--yes")
    assert refused.code == 2
    assert "deadline: 'tomorrow' is no time" in refused.errors


def test_times_are_printed_as_a_date_too(own_times: Host) -> None:
    shown = pipe(own_times, "show", "1").output
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert lines["created"] == "1563474077 (2019-07-18 18:21:17Z)"
    assert lines["started"] == '"1563474077"'
    assert lines["finished"] == "0"
    assert lines["number"] == "1"
    document = json.loads(pipe(own_times, "show", "1", "--json").output)
    assert (document["created"], document["finished"]) == (1563474077, 0)
    changed = pipe(own_times, "set", "1", "deadline=1795837299", "parent=1795837299", "--dry-run")
    assert changed.output == (
        "- parent: 1\n+ parent: 1795837299\n"
        "- deadline: 0\n+ deadline: 1795837299 (2026-11-28 03:41:39Z)\n"
        "warning: the status is final, but finished is 0\n"
    )


@pytest.mark.parametrize("value", [-1, 0, 253_402_300_800, 2**62])
def test_what_is_no_date_is_printed_as_it_is(kept: Host, value: int) -> None:
    kept.execute("UPDATE builds SET finished = :value", value=value)
    assert f"finished      {value}\n" in pipe(kept, "show", "1").output


@pytest.mark.parametrize(
    ("number", "sudo", "actor"),
    [
        (0, "mona", "root (sudo: mona)"),
        (0, "", "root"),
        (0, "mona\n1  2026-01-01\x1b[2J\udcff", r"root (sudo: mona\n1  2026-01-01\x1b[2J\udcff)"),
        (1000, "mona", "hubot"),
    ],
)
def test_after_sudo_the_actor_is_root_with_a_note(
    kept: Host, monkeypatch: pytest.MonkeyPatch, number: int, sudo: str, actor: str
) -> None:
    names = {0: "root", 1000: "hubot"}
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name=names[number]))
    monkeypatch.setattr("os.getuid", lambda: number)
    monkeypatch.setitem(os.environ, "SUDO_USER", sudo)
    assert pipe(kept, "set", "1", "title=x", "--yes").code == 0
    assert kept.recorded()[0]["actor"] == actor
    assert pipe(kept, "set", "1", "title=y", "--yes", "--actor", "octokitty").code == 0
    assert kept.recorded()[1]["actor"] == "octokitty"


@pytest.mark.parametrize("odd", ["\n", "\u2028", "\x1b[2J"], ids=ascii)
def test_no_id_forges_a_line_of_a_question(make_host: MakeHost, sqlite_url: str, odd: str) -> None:
    model = model_of(id=sa.Column(sa.String(50), primary_key=True))
    rows: list[Any] = [row_of(id=f"1{odd}x", status="running")]
    host = make_host(sqlite_url, model=model, schema=OddlyIdentified, rows=rows)
    named = f"1{odd.encode('unicode_escape').decode()}x"
    stored = run(host, "set", f"1{odd}x", "title=x", answers="y\n", NO_COLOR="1").output
    assert f"Store this change of build {named}? [y/N]: Build {named} is stored.\n" in stored
    cleaned = run(host, "clean", answers="y\n", NO_COLOR="1").output
    assert f"Set build {named} to error? [y/N]: 1 build cleaned.\n" in cleaned


class OddlyIdentified(BuildSchema):
    id = Text()
