"""The sessions of docs/terminal.md and the README, typed at the terminal of the example."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from example_app import Build, create_app, db
from flask_build_admin.cli.refusals import EXIT_CODES
from tests.support.hosts import stuck
from tests.support.pages import PAGES, README, ROOT, from_page
from tests.support.terminals import Editor, Outcome, as_process, at_terminal

PAGE = "docs/terminal.md"


@pytest.fixture
def app(sqlite_url: str) -> Iterator[Flask]:
    """The example, with its build still running."""
    app = create_app({"SQLALCHEMY_DATABASE_URI": sqlite_url})
    with app.app_context():
        db.session.execute(sa.update(Build).values(status="running"))
        db.session.commit()
    yield app
    with app.app_context():
        db.engine.dispose()


def status(app: Flask, build_id: int = 1) -> str:
    with app.app_context():
        return db.session.get_one(Build, build_id).status


def add_builds(app: Flask, **counts: int) -> None:
    """Add builds of a worker that died, as many as given of each status, from id 2 on."""
    names = [name for name, count in counts.items() for _ in range(count)]
    with app.app_context():
        rows = [stuck(at, status=name, host="worker-7") for at, name in enumerate(names, 2)]
        db.session.add_all(Build(**row) for row in rows)
        db.session.commit()


def steps(console: str) -> list[tuple[list[str], str]]:
    """Take a session apart: what is typed after ``flask``, and what is shown then."""
    typed = [step.partition("\n") for step in console.split("$ ")[1:]]
    return [(shlex.split(command.partition("flask ")[2]), printed) for command, _, printed in typed]


def assert_session(app: Flask, console: str, *codes: int, **environment: Any) -> None:
    """Type a session, and check what is shown and the exit codes, which are as many."""
    session = steps(console)
    batches: dict[str, str] = {}  # those of the page, to those that there are
    for (command, printed), code in zip(session, codes, strict=True):
        typed = [batches.get(word, word) for word in command]
        outcome = at_terminal(app, *typed, answers="y\n", NO_COLOR="1", **environment)
        assert outcome.code == code
        batches |= zip(BATCH.findall(printed), BATCH.findall(outcome.output), strict=True)
        # What is typed is shown at once, and not where it is asked for.
        shown = outcome.errors + outcome.output.replace("y\n", "", 1)
        assert plain(shown.replace("[y/N]: ", "[y/N]: y\n")) == plain(printed)


BATCH = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def plain(text: str) -> str:
    # The longer the age, the less there is of the title, and the more of each gap.
    text = re.sub(r"[0-9]+d [0-9]+h ", "AGE ", text)
    text = re.sub(r" {2,}", "  ", re.sub(r"\S*…", "…", text))
    text = re.sub(r"\S*/build-\w+\.json", "DRAFT", text)
    text = BATCH.sub("BATCH", text)
    text = re.sub(r"finished: 17[0-9]{8} \(.*\)", "finished: NOW", text)
    return re.sub(r"\b20[0-9-]+ [0-9:]+Z  [^:]+:", "TIME AND USER:", text)


@from_page(PAGE, console="queue --older-than 2h")
def test_find_repair_take_back(app: Flask, console: str) -> None:
    assert_session(app, console, *[0] * 5)
    assert status(app) == "running"


@from_page(README, console="$ flask build-admin")
def test_the_session_of_the_readme(app: Flask, console: str) -> None:
    assert_session(app, console, 0, 0)
    assert status(app) == "running"


@from_page(PAGE, console="then, outside this tool")
def test_what_became_of_a_repair(app: Flask, console: str) -> None:
    repair = ("set", "1", "status=error", "--yes", "--reason", "worker lost")
    assert at_terminal(app, "build-admin", *repair).code == 0
    assert at_terminal(app, "build-admin", "overwritten").output == (
        "No repair of the last 1d 0h overwritten.\n"
    )
    with app.app_context():
        db.session.execute(sa.update(Build).values(status="success"))
        db.session.commit()
    assert_session(app, console, 3, 0)


@from_page(PAGE, console="host=worker-7")
def test_many_builds_at_once(app: Flask, console: str) -> None:
    add_builds(app, running=2, pending=1)
    assert_session(app, console, 0, 0, 0)
    assert [status(app, build) for build in (2, 3, 4)] == ["running", "running", "pending"]


@from_page(PAGE, console="edit 1")
def test_edit(app: Flask, console: str, tmp_path: Path) -> None:
    editor = Editor(tmp_path, [{"set": {"status": "error"}}])
    assert_session(app, console, 0, **editor.environment)
    assert status(app) == "error"


def run_script(sqlite_url: str, script: str) -> Outcome:
    flask = f'flask() {{ {sys.executable} -m flask --app example_app "$@"; }}\n'
    options: Any = {"cwd": ROOT, "env": os.environ | {"DATABASE_URL": sqlite_url}}
    return as_process(["bash", "-c", flask + script], terminal=False, **options)


@from_page(PAGE, script="clean --older-than 1d")
def test_a_script_that_cleans(app: Flask, sqlite_url: str, script: str) -> None:
    done = run_script(sqlite_url, script)
    assert (done.code, done.errors) == (0, "")
    assert "\n1 build cleaned.\n" in done.output
    assert status(app) == "error"


@from_page(PAGE, script="set - status=killed")
def test_a_script_that_sets(app: Flask, sqlite_url: str, script: str) -> None:
    add_builds(app, running=1, pending=1)
    finished = script.replace("--where status=running --ids |", "--ids | sed 's/^1$/3/' |")
    refused = run_script(sqlite_url, finished)
    assert refused.code == 3
    assert 'Build 3 is not changed: Refused by --if: status is "pending" now' in refused.errors
    assert [status(app, build) for build in (1, 2, 3)] == ["running", "killed", "pending"]
    done = run_script(sqlite_url, script)
    assert (done.code, done.errors) == (0, "")
    assert [status(app, build) for build in (1, 2, 3)] == ["killed", "killed", "pending"]


def test_the_exit_codes_are_those_of_the_commands() -> None:
    told = {int(code) for code in re.findall(r"^\| ([0-9]) \|", PAGES[PAGE], re.MULTILINE)}
    assert told == {0, 1, 2, *EXIT_CODES.values()}


def test_every_command_is_told(app: Flask) -> None:
    told = re.findall(r"^\| `([a-z]+)[^`]*` \|", PAGES[PAGE], re.MULTILINE)
    help_ = at_terminal(app, "build-admin", "--help").output
    assert sorted({*told}) == re.findall(r"^  ([a-z]+)  ", help_, re.MULTILINE)
