"""``flask build-admin``: every rule of the routes, at a terminal, in a pipe and from a script."""

from __future__ import annotations

import json
import os
import pwd
import re
import resource
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask, abort
from marshmallow import fields

import example_app
from flask_build_admin import (
    BuildAdmin,
    BuildSchema,
    Text,
    UnixTime,
    build_updated,
    build_updating,
)
from flask_build_admin.exceptions import ConfigurationError
from tests.support.databases import DATABASES
from tests.support.hosts import (
    OCTOCAT,
    Build,
    BuildRevision,
    Host,
    Status,
    history_of,
    model_of,
    row_of,
    token_auth,
)
from tests.support.terminals import Editor, Outcome, as_process, in_pipe, meanwhile, pipe, run

MakeHost = Callable[..., Host]

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b"
USER = pwd.getpwuid(os.getuid()).pw_name
DATE = re.compile(r" \(20[0-9-]+ [0-9:]+Z\)$")
RED = re.compile(r"\x1b\[[0-9;]*m")


def test_show_has_the_members_in_the_documented_order(kept: Host) -> None:
    shown = run(kept, "show", "1")
    assert shown.code == 0
    lines = [line.split(maxsplit=1) for line in shown.output.splitlines()]
    values = {name: DATE.sub("", value) for name, value in lines}
    assert {name: json.loads(value) for name, value in values.items()} == OCTOCAT
    assert [name for name, _ in lines] == list(OCTOCAT)
    assert pipe(kept, "show", "1") == shown


def test_what_show_prints_as_json_apply_takes_back(kept: Host) -> None:
    shown = pipe(kept, "show", "1", "--json")
    assert json.loads(shown.output) == OCTOCAT
    applied = pipe(kept, "apply", "-", sent=shown.output)
    assert (applied.code, applied.output) == (0, "Nothing would be changed.\n")
    assert kept.recorded() == []


DIFFERENCE = """\
- status: "created"
+ status: "error"
- finished: 0
+ finished: 1563474099 (2019-07-18 18:21:39Z)
"""
CHANGED = OCTOCAT | {"status": "error", "finished": 1563474099}
STORED = "Build 1 is stored as revision 1.\n"
SET = ("set", "1", "status=error", "finished=1563474099")


def test_set_shows_the_difference_asks_and_stores(kept: Host) -> None:
    done = run(kept, *SET, "--reason", "lost", answers="y\n")
    assert done.code == 0
    asked = "Store this change of build 1? [y/N]: "
    assert RED.sub("", done.output) == f"y\n{DIFFERENCE}{asked}{STORED}"
    assert f"{ESCAPE}[31m- status" in done.output
    assert f"{ESCAPE}[32m+ status" in done.output
    assert kept.row() == CHANGED
    [revision] = kept.recorded()
    assert (revision["actor"], revision["reason"]) == (USER, "lost")


@pytest.mark.parametrize("answers", ["n\n", "\n", "\x04"])
def test_set_that_is_declined_changes_nothing(kept: Host, answers: str) -> None:
    done = run(kept, *SET, answers=answers)
    assert done.code == 1
    assert "Store this change of build 1?" in done.output
    assert kept.row() == OCTOCAT
    assert kept.recorded() == []


def test_nobody_is_asked_in_a_pipe(kept: Host) -> None:
    refused = pipe(kept, *SET, sent="y\n")
    assert (refused.code, refused.output) == (1, DIFFERENCE)
    assert refused.errors == (
        "Error: Nothing was changed: there is no terminal to ask at, so pass --yes.\n"
    )
    assert kept.row() == OCTOCAT
    done = pipe(kept, *SET, "--yes", "--actor", "mona")
    assert (done.code, done.output) == (0, f"{DIFFERENCE}{STORED}")
    assert kept.row() == CHANGED
    assert kept.recorded()[0]["actor"] == "mona"


def test_an_actor_without_a_name_is_a_number(kept: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert pipe(kept, *SET, "--yes").code == 0
    assert kept.recorded()[0]["actor"] == f"user {os.getuid()}"


def test_where_there_are_no_numbers_the_actor_is_who_has_logged_in(
    kept: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)
    monkeypatch.setattr("os.getlogin", lambda: "mona")
    assert pipe(kept, *SET, "--yes").code == 0
    assert kept.recorded()[0]["actor"] == "mona"


def test_a_dry_run_only_shows(kept: Host) -> None:
    for arguments in ((*SET, "--dry-run"), (*SET, "--dry-run", "--yes")):
        shown = pipe(kept, *arguments)
        assert (shown.code, shown.output, shown.errors) == (0, DIFFERENCE, "")
    assert kept.row() == OCTOCAT
    assert kept.recorded() == []


@pytest.mark.parametrize("value", ["1", "yes"])
def test_no_colour_where_none_is_wanted(kept: Host, value: str) -> None:
    assert run(kept, *SET, "--dry-run", NO_COLOR=value).output == DIFFERENCE
    assert ESCAPE in run(kept, *SET, "--dry-run", NO_COLOR="").output


def test_now_is_the_current_second(kept: Host) -> None:
    earliest = int(time.time())
    assert pipe(kept, "set", "1", "finished=now", "title=now", "--yes").code == 0
    row = kept.row()
    assert earliest <= row["finished"] <= time.time()
    assert row["title"] == "now"


class Schema(BuildSchema):
    status = fields.Enum(Status, by_value=True, required=True)
    finished = UnixTime(attribute="finished_at")
    labels = fields.Raw(required=True, allow_none=True)
    author = Text(dump_only=True)


def test_the_types_are_the_schemas(make_host: MakeHost, sqlite_url: str) -> None:
    model = model_of(
        "finished",
        finished_at=sa.Column(sa.DateTime),
        status=sa.Column(sa.Enum(Status)),
        labels=sa.Column(sa.JSON),
    )
    rows = [row_of("finished", finished_at=None, status=Status.RUNNING, labels=None)]
    host = make_host(sqlite_url, model=model, schema=Schema, rows=rows)
    arguments = ["status=error", "finished=now", 'labels={"a": [1, true]}', "title=a=b", "error="]
    for label in ("NaN", "1e999", '{"a": 1, "a": 2}', "[" * 50_000, '1, "x": 2', "1}", "x"):
        assert pipe(host, "set", "1", f"labels={label}", "--yes").code == 0
        assert host.row()["labels"] == label
    for wrong, told in (
        ("status=bogus", "Must be one of"),
        ("number=now", "not an integer"),
        ("title=\udcff", "lone surrogate"),
    ):
        refused = pipe(host, "set", "1", wrong, "--yes")
        assert refused.code == 1
        assert told in refused.errors
    assert pipe(host, "set", "1", *arguments, "--yes").code == 0
    row = host.row()
    assert (row["status"], row["labels"]) == (Status.ERROR, {"a": [1, True]})
    assert (row["title"], row["error"]) == ("a=b", "")
    assert row["finished_at"] is not None
    refused = pipe(host, "set", "1", "author=x", "--yes")
    assert (refused.code, refused.errors) == (1, "Error: author: cannot be changed\n")


#: What is refused, the exit code, and what is said.
REFUSALS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no_build": (("show", "2"), 4, "There is no such build."),
    "no_id": (("show", "abc"), 4, "There is no such build."),
    "no_build_to_set": (("set", "2", "status=x"), 4, "There is no such build."),
    "no_build_to_edit": (("undo", "2"), 4, "There is no such build."),
    "no_revision": (("undo", "1", "7", "--yes"), 4, "The build has no such revision."),
    "nothing_to_undo": (("undo", "1"), 4, "Build 1 has no revision that can be undone."),
    "every_problem_of_the_form": (
        ("set", "1", "number=0", "repo_id=y", "parent=x", "--yes"),
        1,
        "repo_id: not an integer\nparent: not an integer",
    ),
    "every_problem_of_a_value": (
        ("set", "1", "number=0", "status=", "--yes"),
        1,
        "number: less than 1\nstatus: empty",
    ),
    "another_id": (("set", "1", "id=2", "--yes"), 2, "it says which build is meant"),
    "no_file": (("apply", "nowhere.json"), 2, "No such file"),
    "no_value": (("set", "1", "error=", "x"), 2, "'x' is not of the form MEMBER=VALUE."),
    "member_twice": (("set", "1", "title=a", "title=b"), 2, "'title' is given more than once."),
    "no_arguments": (("set",), 2, "Missing argument"),
    "no_members": (("set", "1", "2"), 2, "Missing argument: at least one MEMBER=VALUE."),
    "no_ids": (("set", "status=x"), 2, "Missing argument: the ID of a build"),
    "no_span": (("queue", "--older-than", "2 hours"), 2, "no time span such as 90s"),
    "blank_reason": ((*SET, "--yes", "--reason", " "), 1, "reason: blank"),
    "no_terminal": (("edit", "1"), 1, "There is no terminal to edit at"),
    "unknown_command": (("repair", "1"), 2, "No such command"),
}


@pytest.mark.parametrize(("arguments", "code", "told"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_a_sentence_and_an_exit_code(
    kept: Host, arguments: tuple[str, ...], code: int, told: str
) -> None:
    refused = pipe(kept, *arguments)
    assert (refused.code, refused.output) == (code, "")
    assert told in refused.errors
    assert "Traceback" not in refused.errors
    assert kept.row() == OCTOCAT


def test_apply_refuses_what_is_no_document(kept: Host, tmp_path: Path) -> None:
    file = tmp_path / "build.json"
    for body, told in ((b"[]", "not a JSON object"), (b"{", "not JSON"), (b"{}", "id: missing")):
        file.write_bytes(body)
        refused = pipe(kept, "apply", str(file), "--yes")
        assert refused.code == 1
        assert told in refused.errors
    file.write_text(json.dumps(CHANGED))
    applied = pipe(kept, "apply", str(file), "--yes")
    assert (applied.code, applied.output) == (0, f"{DIFFERENCE}{STORED}")
    assert kept.row() == CHANGED


@pytest.mark.parametrize("command", [SET, ("undo", "1")])
def test_a_build_that_changes_before_the_answer_is_not_overwritten(
    kept: Host, command: tuple[str, ...]
) -> None:
    kept.put(OCTOCAT | {"branch": "x"})
    row = kept.row()
    refused = run(
        kept, *command, asked=lambda: kept.execute("UPDATE builds SET title = 'of another'")
    )
    assert refused.code == 3
    assert refused.errors == "Error: The build was changed since it was fetched: fetch it again.\n"
    assert kept.row() == row | {"title": "of another"}


def test_a_database_that_is_gone_is_exit_code_5(kept: Host, tmp_path: Path) -> None:
    kept.session.configure(bind=sa.create_engine(f"sqlite:///{tmp_path / 'no' / 'where.db'}"))
    refused = pipe(kept, "show", "1")
    assert refused.code == 5
    assert "The database cannot answer now" in refused.errors
    kept.session.configure(bind=kept.engine)
    kept.execute("ALTER TABLE builds RENAME TO elsewhere")
    assert pipe(kept, "queue").code == 5
    kept.execute("ALTER TABLE elsewhere RENAME TO builds")


def test_a_receiver_hears_of_it_and_may_refuse(kept: Host) -> None:
    heard: list[Any] = []

    def note(sender: Any, **told: Any) -> None:
        heard.append((sender, told["actor"], told["reason"]))

    def refuse(sender: Any, **told: Any) -> None:
        abort(409, "Frozen \x1b[31m.")

    with build_updated.connected_to(note):
        assert pipe(kept, *SET, "--yes", "--actor", "mona", "--reason", "x").code == 0
        with build_updating.connected_to(refuse):
            refused = pipe(kept, "set", "1", "status=x", "--yes")
    assert heard == [(kept.app, "mona", "x")]
    assert (refused.code, refused.errors) == (1, "Error: Frozen \\x1b[31m.\n")


def test_a_configuration_that_cannot_work_is_told(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url)
    host.session.configure(bind=host.engine.execution_options(isolation_level="AUTOCOMMIT"))
    refused = pipe(host, *SET, "--yes")
    assert refused.code == 1
    assert "than AUTOCOMMIT" in refused.errors


def test_a_reason_that_is_demanded(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, require_reason=True)
    refused = pipe(host, *SET, "--yes")
    assert (refused.code, refused.errors) == (1, "Error: reason: missing: a change needs one\n")
    assert pipe(host, *SET, "--yes", "--reason", "x").code == 0


def test_nothing_of_a_build_reaches_the_terminal_raw(make_host: MakeHost, sqlite_url: str) -> None:
    hostile = "".join(map(chr, [*range(1, 32), *range(127, 160), 0x202E, 0x2066, 0xFEFF]))
    rows = [OCTOCAT | {"title": hostile, "status": "running"}]
    host = make_host(sqlite_url, rows=rows, history=BuildRevision)
    host.put(rows[0] | {"message": hostile}, query_string={"reason": f"x{hostile}"})
    for arguments in (
        ("show", "1", "--json"),
        ("queue", "--json"),
        ("show", "1"),
        ("queue",),
        ("history", "1"),
        ("set", "1", "title=x", "--dry-run"),
    ):
        shown = run(host, *arguments, columns=999, NO_COLOR="1").output
        assert set(shown) & set(hostile) == {"\n"}


#: What ends a line, somewhere, or controls a terminal.
ODD = [
    "\n",
    "\r",
    "\v",
    "\f",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\x1b[2J",
    "\u202e",
]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_no_name_forges_a_line(kept: Host, tmp_path: Path, odd: str) -> None:
    name = f"title{odd}Error: forged"
    line = f"{name.replace(odd, odd.encode('unicode_escape').decode())}: unknown"
    document = json.dumps(OCTOCAT | {name: 1})
    assert pipe(kept, "apply", "-", "--yes", sent=document).errors == f"Error: {line}\n"
    for option in ("--if", "--where"):
        command = ("set", "1", "title=x") if option == "--if" else ("queue",)
        refused = pipe(kept, *command, option, f"{name}=1").errors.splitlines()
        assert refused[3].startswith(f"Error: {name!r} is unknown: ")
        assert len(refused) == 4
    done, editor = edit(kept, tmp_path, {"text": document}, {})
    assert done.errors.splitlines()[1:3] == [
        "The edit is kept in " + str(editor.kept[0]),
        "Error: It is as wrong as before:",
    ]
    assert editor.seen[1] == f"# {line}\n{document}"


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_no_sentence_of_a_receiver_forges_a_line(kept: Host, odd: str) -> None:
    def refuse(sender: Any, **told: Any) -> None:
        abort(409, f"Frozen:{odd}Error: forged")

    with build_updating.connected_to(refuse, kept.app):
        errors = pipe(kept, *SET, "--yes").errors
    assert len(errors.splitlines()) == 1
    assert errors.startswith("Error: Frozen:")
    assert errors.endswith("Error: forged\n")


class OddlyNamed(BuildSchema):
    title = Text(data_key="title\nError: forged")


def test_no_member_of_a_schema_forges_a_line(
    make_host: MakeHost, sqlite_url: str, tmp_path: Path
) -> None:
    host = make_host(sqlite_url, schema=OddlyNamed, history=BuildRevision)
    named = r"title\nError: forged"
    assert pipe(host, "set", "1", "title\nError: forged=x", "--yes").code == 0
    host.execute("UPDATE builds SET title = 'y'")
    refused = pipe(host, "undo", "1", "1", "--yes").errors
    assert refused.startswith(f"Error: Changed since that revision: {named}. Undo")
    assert len(refused.splitlines()) == 1
    other = f"{sys.executable} -c \"import sqlite3; c = sqlite3.connect('{tmp_path}/ci.db');"
    other += " c.execute('UPDATE builds SET title = 3'); c.commit()\""
    step = {"meanwhile": other, "set": {"title\nError: forged": "z"}}
    done, _ = edit(host, tmp_path, step)
    assert done.errors.splitlines()[2:] == [
        f"Error: Both have changed {named}: edit the build again."
    ]


class Unreadable(BuildSchema):
    id = Text()
    event = fields.Function(lambda build: {}[build.event])


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_no_id_forges_a_line(make_host: MakeHost, sqlite_url: str, odd: str) -> None:
    model = model_of(id=sa.Column(sa.String(50), primary_key=True))
    rows = [row_of(id=f"1{odd}forged", status="running")]
    host = make_host(sqlite_url, model=model, schema=Unreadable, rows=rows)
    named = f"1{odd.encode('unicode_escape').decode()}forged"
    line = pipe(host, "queue").output.splitlines()[1]
    assert line.startswith(f"{named}  ")
    as_json = pipe(host, "queue", "--json")
    assert as_json.errors == f"Build {named} cannot be read: KeyError\n"
    missing = pipe(host, "show", f"2{odd}forged").errors
    assert missing == "Error: There is no such build.\n"


def test_the_group_has_the_name_of_the_blueprint(host: Host) -> None:
    auth = token_auth().login_required(role="admin")
    app = Flask("own")
    blueprint = BuildAdmin(Build, host.session, auth, name="repair_shop")
    app.register_blueprint(blueprint)
    app.register_blueprint(blueprint, name="again", url_prefix="/again")
    app.register_blueprint(
        BuildAdmin(Build, host.session, auth, name="x"), url_prefix="/x", cli_group="y"
    )
    parent = Blueprint("v1", __name__, url_prefix="/v1")
    parent.register_blueprint(BuildAdmin(Build, host.session, auth))
    app.register_blueprint(parent)
    for group in ("repair-shop", "again", "y", "build-admin"):
        assert in_pipe(app, group, "show", "1").code == 0
    assert in_pipe(app, "x", "show", "1").code == 2
    parent = Blueprint("v2", __name__, url_prefix="/v2")
    parent.register_blueprint(BuildAdmin(Build, host.session, auth))
    with pytest.raises(ConfigurationError, match=r"'build-admin': .* another cli_group"):
        app.register_blueprint(parent)
    plain = Flask("plain")
    plain.register_blueprint(BuildAdmin(Build, host.session, auth))
    assert "build_admin" not in plain.cli.commands
    assert in_pipe(plain, "build-admin", "history", "1").code == 2
    assert "queue" in in_pipe(plain, "build-admin", "--help").output
    assert "3 changed meanwhile" in in_pipe(plain, "build-admin", "--help").output


def edit(
    host: Host, folder: Path, *steps: dict[str, Any], answers: str = ""
) -> tuple[Outcome, Editor]:
    editor = Editor(folder, steps)
    outcome = run(host, "edit", "1", "--reason", "lost", answers=answers, **editor.environment)
    return outcome._replace(output=RED.sub("", outcome.output)), editor


MINE = {"status": "error", "finished": 1563474099}


def test_a_revision_that_cannot_be_read_is_in_nobodys_way(kept: Host, tmp_path: Path) -> None:
    for title in ("first", "second"):
        kept.put(OCTOCAT | {"title": title})
    kept.execute("UPDATE build_revisions SET before = '[]' WHERE id = 2")
    kept.put(OCTOCAT)
    kept.execute("UPDATE build_revisions SET after = '7' WHERE id = 3")
    shown = pipe(kept, "history", "1")
    assert shown.code == 0
    assert re.findall("^[0-9]+", shown.output, re.MULTILINE) == ["1"]
    refused = pipe(kept, "undo", "1", "3", "--yes")
    assert refused.code == 4
    assert "Error: This revision of the build cannot be read.\n" in refused.errors
    # By default, the newest one that can be read: what it changed was changed since.
    refused = run(kept, "undo", "1", answers="y\n")
    assert refused.code == 3
    assert "Error: Changed since that revision: title." in refused.errors
    done, _ = edit(kept, tmp_path, {"set": MINE}, answers="y\n")
    assert done.code == 0, done
    assert kept.row() == CHANGED


def test_edit_shows_the_difference_asks_and_stores(kept: Host, tmp_path: Path) -> None:
    done, editor = edit(kept, tmp_path, {"set": MINE}, answers="y\n")
    assert done.code == 0
    assert DIFFERENCE in done.output
    assert done.output.endswith(STORED)
    assert [json.loads(text) for text in editor.seen] == [OCTOCAT]
    assert list(json.loads(editor.seen[0])) == list(OCTOCAT)
    assert kept.row() == CHANGED
    assert kept.recorded()[0]["reason"] == "lost"
    assert editor.kept == []


def test_an_edit_is_stored_though_a_protected_member_changes_by_itself(
    make_host: MakeHost, sqlite_url: str, tmp_path: Path
) -> None:
    ticks = count()
    schema = type("Aged", (BuildSchema,), {"age": fields.Integer(dump_only=True)})
    model = model_of(age=property(lambda self: next(ticks)))
    host = make_host(
        sqlite_url, model=model, schema=schema, rows=[row_of()], history=history_of(model)
    )
    done, editor = edit(host, tmp_path, {"set": MINE}, answers="y\n")
    assert (done.code, "changed meanwhile" in done.output) == (0, False), done
    assert host.row()["status"] == "error"
    # It hinders no edit that is carried over, either; others cannot remove or change it.
    other = f"{sys.executable} -c \"import sqlite3; c = sqlite3.connect('{tmp_path}/ci.db');"
    other += " c.execute('UPDATE builds SET title = 3'); c.commit()\""
    step = {"meanwhile": other, "set": {"error": "lost"}}
    done, _ = edit(host, tmp_path, step, answers="y\ny\n")
    assert (done.code, host.row()["error"], host.row()["title"]) == (0, "lost", "3"), done
    document = host.get().json
    texts = [document | {"age": "x"}, {key: document[key] for key in document if key != "age"}]
    steps = [{"text": json.dumps(text)} for text in texts]
    done, editor = edit(host, tmp_path, *steps, {"text": json.dumps(texts[1])})
    assert done.code == 1
    assert [one.splitlines()[0] for one in editor.seen[-2:]] == [
        "# age: cannot be changed",
        "# age: missing",
    ]


@pytest.mark.parametrize(
    "step",
    [{}, {"text": ""}, {"text": " \n"}, {"text": "# nothing\n"}, {"text": json.dumps(OCTOCAT)}],
    ids=["unchanged", "emptied", "blank", "only_comments", "written_otherwise"],
)
def test_an_edit_that_changes_nothing_does_nothing(
    kept: Host, tmp_path: Path, step: dict[str, Any]
) -> None:
    done, editor = edit(kept, tmp_path, step)
    assert done.code == 0
    assert done.output.startswith("Nothing")
    assert kept.row() == OCTOCAT
    assert editor.kept == []


def test_a_mistake_opens_the_editor_again_with_what_is_wrong(kept: Host, tmp_path: Path) -> None:
    wrong = OCTOCAT | MINE | {"number": 0, "extra\x1b": 1}
    steps = [
        {"text": "{"},
        {"text": "\udcff"},
        {"text": json.dumps(wrong)},
        {"text": json.dumps(OCTOCAT | {"id": 2})},
        {"text": "# my own comment\n" + json.dumps(OCTOCAT | MINE)},
    ]
    done, editor = edit(kept, tmp_path, *steps, answers="y\n")
    assert done.code == 0
    heads = [[line for line in text.splitlines() if line.startswith("#")] for text in editor.seen]
    assert heads == [
        [],
        ["# The body is not JSON: line 1, column 2.", "# Lines are counted from below these."],
        ["# The body is not UTF-8: byte 0 is invalid.", "# Lines are counted from below these."],
        ["# extra\\x1b: unknown"],
        ["# id: is that of another build"],
    ]
    assert editor.seen[3].endswith(json.dumps(wrong))
    assert kept.row() == CHANGED
    assert editor.kept == []


def test_what_the_database_refuses_is_a_mistake_too(
    make_host: MakeHost, sqlite_url: str, tmp_path: Path
) -> None:
    rows = [OCTOCAT, OCTOCAT | {"id": 2, "number": 2}]
    host = make_host(sqlite_url, rows=rows)
    done, editor = edit(
        host, tmp_path, {"set": {"number": 2}}, {"set": {"number": 3}}, answers="y\n"
    )
    assert done.code == 0
    assert "# The database refuses this build" in editor.seen[1]
    assert host.row()["number"] == 3


def assert_kept(done: Outcome, editor: Editor, typed: str) -> None:
    [file] = editor.kept
    assert f"The edit is kept in {file}" in done.errors
    assert typed in file.read_text()


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_a_mistake_that_is_emptied_is_kept(kept: Host, tmp_path: Path, text: str) -> None:
    wrong = json.dumps(OCTOCAT | {"number": 0})
    done, editor = edit(kept, tmp_path, {"text": wrong}, {"text": text})
    assert done.code == 1
    assert_kept(done, editor, wrong)
    assert editor.kept[0].read_text() == wrong


#: What is put in the place of the draft, and why it is not read.
PLANTED = {
    "nothing": ("true", "No such file or directory"),
    "a link": ("ln -s {folder}/victim", "Too many levels of symbolic links"),
    "a link to nothing": ("ln -s {folder}/new", "Too many levels of symbolic links"),
    "a pipe": ("mkfifo", "it is no file of yours"),
    "a folder": ("mkdir", "Is a directory"),
    "a file of somebody else": ("install -o 1 -m 666 {folder}/victim", "it is no file of yours"),
}


@pytest.mark.parametrize("typed", [False, True], ids=["at once", "after a mistake"])
@pytest.mark.parametrize("planted", PLANTED)
def test_what_somebody_puts_in_the_place_of_the_draft_is_neither_read_nor_written(
    kept: Host, tmp_path: Path, planted: str, typed: bool
) -> None:
    command, problem = PLANTED[planted]
    if "install" in command and os.getuid():
        pytest.skip("only root can give a file away")
    victim = tmp_path / "victim"
    victim.write_text(json.dumps(CHANGED))
    plant = (
        f"draft=$(echo {tmp_path}/build-*.json); rm $draft;"
        f" {command.format(folder=tmp_path)} $draft; stat -c %i $draft > {tmp_path}/inode"
    )
    wrong = OCTOCAT | {"number": 0}
    steps = [{"text": json.dumps(wrong)}] if typed else []
    done, editor = edit(kept, tmp_path, *steps, {"meanwhile": plant}, answers="y\n")
    assert done.code == 1
    [draft] = re.findall("The draft is (.*)\n", done.errors)
    assert f"Error: The draft {draft} cannot be read: {problem}.\n" in done.errors
    assert kept.row() == OCTOCAT
    assert victim.read_text() == json.dumps(CHANGED)
    assert not (tmp_path / "new").exists()
    left = [one for one in editor.kept if str(one) == draft]
    assert "".join(f"{one.lstat().st_ino}\n" for one in left) == (tmp_path / "inode").read_text()
    others = [one for one in editor.kept if one not in left]
    if typed:
        [file] = others
        assert f"\nThe last edit that could be read is kept in {file}\n" in done.errors
        assert json.loads(file.read_text()) == wrong
        assert_private(file)
    else:
        assert others == []
        assert "\nNo edit is kept.\n" in done.errors


def assert_private(file: Path) -> None:
    """See that a file is one, and that nobody else can read it."""
    status = file.lstat()
    assert (stat.filemode(status.st_mode), status.st_uid) == ("-rw-------", os.getuid())


def test_nobody_else_can_read_the_draft_whatever_the_editor_makes_of_it(
    kept: Host, tmp_path: Path
) -> None:
    draft = f"{tmp_path}/build-*.json"
    look = f"stat -c %A {draft} >> {tmp_path}/modes"
    replace = (
        f"cp {draft} {tmp_path}/other; chmod 666 {tmp_path}/other; mv {tmp_path}/other {draft}"
    )
    steps = [
        {"meanwhile": f"{look}; chmod 666 {draft}", "set": {"number": 0}},
        {"meanwhile": f"{look}; {replace}", "set": MINE | {"number": 1}},
    ]
    editor = Editor(tmp_path, steps)
    modes: list[str] = []  # when the question is asked
    before = os.umask(0)
    try:
        done = run(
            kept,
            *("edit", "1"),
            asked=lambda: modes.extend(stat.filemode(one.stat().st_mode) for one in editor.kept),
            **editor.environment,
        )
    finally:
        os.umask(before)
    assert done.code == 0, done
    assert modes == ["-rw-------"]
    assert (tmp_path / "modes").read_text() == "-rw-------\n" * 2
    assert kept.row() == CHANGED
    assert editor.kept == []


def test_a_draft_that_is_removed_at_the_last_moment_is_stored(kept: Host, tmp_path: Path) -> None:
    editor = Editor(tmp_path, [{"set": MINE}])
    done = run(kept, "edit", "1", asked=lambda: editor.kept[0].unlink(), **editor.environment)
    assert done.code == 0, done
    assert kept.row() == CHANGED


@pytest.mark.parametrize("step", [{"remove": True}, {"text": ""}], ids=["removed", "emptied"])
def test_an_edit_is_kept_though_an_editor_that_fails_has_removed_it(
    kept: Host, tmp_path: Path, step: dict[str, Any]
) -> None:
    wrong = json.dumps(OCTOCAT | {"number": 0})
    done, editor = edit(kept, tmp_path, {"text": wrong}, step | {"exit": 3})
    assert done.code == 1
    assert "Editing failed" in done.errors
    [file] = editor.kept
    assert f" is kept in {file}\n" in done.errors
    assert file.read_text() == wrong
    assert_private(file)


def test_nothing_is_kept_where_nothing_was_edited(kept: Host, tmp_path: Path) -> None:
    done, editor = edit(kept, tmp_path, {"exit": 3})
    assert done.code == 1
    assert "\nNo edit is kept.\n" in done.errors
    assert editor.kept == []


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], str]]:
    """Make a command after which this process writes no file longer than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def command(size: int) -> str:
        code = f"import resource as r; r.prlimit({os.getpid()}, r.RLIMIT_FSIZE, ({size}, {hard}))"
        return f"{sys.executable} -c '{code}'"

    yield command
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100], ids=["no folder", "full"])
def test_nothing_is_edited_where_no_draft_can_be_written(
    kept: Host, tmp_path: Path, full_disk: Callable[[int], str], size: int
) -> None:
    editor = Editor(tmp_path, [{"set": MINE}])
    os.system(full_disk(size))
    done = run(kept, "edit", "1", answers="y\n", **editor.environment)
    assert done.code == 1
    problem = "File too large" if size else "No usable temporary directory found"
    assert done.errors.startswith(f"Error: No draft can be written: {problem}")
    assert len(done.errors.splitlines()) == 1
    assert (editor.seen, editor.kept, kept.row()) == ([], [], OCTOCAT)


@pytest.mark.parametrize("text", [json.dumps(OCTOCAT | MINE), "", None], ids=repr)
def test_a_disk_that_is_full_once_the_draft_is_edited(
    kept: Host, tmp_path: Path, full_disk: Callable[[int], str], text: str | None
) -> None:
    wrong = json.dumps(OCTOCAT | {"number": 0})
    last = {"meanwhile": full_disk(100)} | ({"remove": True} if text is None else {"text": text})
    done, editor = edit(kept, tmp_path, {"text": wrong}, last, answers="y\n")
    assert done.code == 1
    assert kept.row() == OCTOCAT
    if text:
        assert_kept(done, editor, text)
    else:
        full = "No draft can be written: File too large."
        assert f"\nNo edit is kept. {full}\nError: " in done.errors
    assert [file.read_text() for file in editor.kept] == ([] if text is None else [text])


@pytest.mark.parametrize("typed", [False, True], ids=["at once", "after a mistake"])
def test_a_folder_of_the_draft_that_is_removed(kept: Host, tmp_path: Path, typed: bool) -> None:
    folder = tmp_path / "drafts"
    folder.mkdir()
    steps = [{"text": json.dumps(OCTOCAT | {"number": 0})}] if typed else []
    editor = Editor(tmp_path, [*steps, {"meanwhile": f"rm -r {folder}"}])
    done = run(kept, "edit", "1", answers="y\n", **editor.environment | {"TMPDIR": str(folder)})
    assert done.code == 1
    announced, told, problem = done.errors.splitlines()
    draft = announced.removeprefix("The draft is ")
    missing = "No such file or directory."
    assert problem == f"Error: The draft {draft} cannot be read: {missing}"
    assert told == "No edit is kept." + f" No draft can be written: {missing}" * typed
    assert kept.row() == OCTOCAT


def plant_folder(editor: Editor) -> None:
    """Put a folder in the place of the draft."""
    [draft] = editor.kept
    draft.unlink()
    draft.mkdir()


def test_an_edit_goes_on_in_another_file_where_the_draft_cannot_be_replaced(
    kept: Host, sqlite_url: str, tmp_path: Path
) -> None:
    wrong = {"meanwhile": meanwhile(sqlite_url, {"title": "of hubot"}), "set": {"number": 0}}
    editor = Editor(tmp_path, [wrong, {}])
    done = run(kept, "edit", "1", asked=lambda: plant_folder(editor), **editor.environment)
    assert done.code == 1
    assert "# number: less than 1" in editor.seen[1]
    [file] = [one for one in editor.kept if one.is_file()]
    assert f"\nThe edit is kept in {file}\n" in done.errors
    assert json.loads(file.read_text()) == OCTOCAT | {"title": "of hubot", "number": 0}


def test_a_draft_that_cannot_be_removed_is_named(kept: Host, tmp_path: Path) -> None:
    editor = Editor(tmp_path, [{"set": MINE}])
    done = run(kept, "edit", "1", asked=lambda: plant_folder(editor), **editor.environment)
    assert done.code == 0, done
    assert done.errors.endswith(f"The draft {editor.kept[0]} is still there: Is a directory.\n")
    assert kept.row() == CHANGED


def test_a_kept_draft_is_what_apply_takes(kept: Host, tmp_path: Path) -> None:
    steps = [{"text": "{"}, {"text": "\ufeff# mine\n\n" + json.dumps(CHANGED)}]
    done, editor = edit(kept, tmp_path, *steps, answers="n\n")
    assert done.code == 1
    [file] = editor.kept
    assert f"The draft is {file}\n" in done.errors
    assert pipe(kept, "apply", str(file), "--yes").code == 0
    assert kept.row() == CHANGED


def test_the_interrupt_is_the_editors(kept: Host, tmp_path: Path) -> None:
    interrupt = f"kill -INT {os.getpid()}"
    done, _ = edit(kept, tmp_path, {"meanwhile": interrupt, "set": MINE}, answers="y\n")
    assert done.code == 0, done
    assert kept.row() == CHANGED


def test_a_locale_that_cannot_say_it_gets_it_escaped(served_by_sqlite: Any) -> None:
    environment = served_by_sqlite["env"] | {"PYTHONIOENCODING": "latin-1"}
    command = [*FLASK, "set", "1", "title=漢字", "--yes"]
    done = as_process(command, terminal=False, **served_by_sqlite | {"env": environment})
    assert (done.code, done.errors) == (0, "")
    assert "\\u6f22\\u5b57" in done.output


def test_a_mistake_that_is_left_is_kept(kept: Host, tmp_path: Path) -> None:
    wrong = json.dumps(OCTOCAT | {"number": 0})
    done, editor = edit(kept, tmp_path, {"text": wrong}, {})
    assert done.code == 1
    assert "It is as wrong as before:\nnumber: less than 1" in done.errors
    assert_kept(done, editor, wrong)
    assert kept.row() == OCTOCAT


@pytest.mark.parametrize("answers", ["n\n", "\x04"])
def test_an_edit_that_is_declined_is_kept(kept: Host, tmp_path: Path, answers: str) -> None:
    done, editor = edit(kept, tmp_path, {"set": MINE}, answers=answers)
    assert done.code == 1
    assert_kept(done, editor, '"error"')
    assert kept.row() == OCTOCAT


def test_an_edit_whose_editor_fails_is_kept(kept: Host, tmp_path: Path) -> None:
    done, editor = edit(kept, tmp_path, {"set": MINE, "exit": 3})
    assert done.code == 1
    assert "Editing failed" in done.errors
    assert_kept(done, editor, '"error"')


def test_an_edit_that_a_receiver_or_the_database_refuses_is_kept(
    kept: Host, tmp_path: Path
) -> None:
    refuse: Any = lambda sender, **told: abort(409, "Frozen.")  # noqa: E731
    with build_updating.connected_to(refuse):
        done, editor = edit(kept, tmp_path, {"set": MINE})
    assert done.code == 1
    assert "Frozen." in done.errors
    assert_kept(done, editor, '"error"')


def test_an_edit_is_carried_over_to_what_another_has_made_of_the_build(
    kept: Host, sqlite_url: str, tmp_path: Path
) -> None:
    kept.put(OCTOCAT | {"branch": "x"})
    kept.put(OCTOCAT)
    other = meanwhile(sqlite_url, {"title": "of hubot"})
    step = {"meanwhile": other, "set": MINE}
    done, editor = edit(kept, tmp_path, step, answers="y\ny\n")
    assert done.code == 0, done
    assert re.search(
        r"changed meanwhile:\n3  20.* hubot: faster\n- title: .*\n\+ title: \"of hubot\"",
        done.output,
    )
    assert "Carry the edit over" in done.output
    assert DIFFERENCE in done.output
    assert kept.row() == CHANGED | {"title": "of hubot"}
    assert editor.kept == []


def test_a_carried_edit_that_is_wrong_now_is_edited_again(
    kept: Host, sqlite_url: str, tmp_path: Path
) -> None:
    other = meanwhile(sqlite_url, {"title": "of hubot"})
    long = {"meanwhile": other, "set": {"branch": "x"}}
    refused: list[bool] = []

    def refuse(sender: Any, after: Any, **told: Any) -> None:
        if after["title"] == "of hubot" and not refused:
            refused.append(True)
            kept.session.execute(sa.text("INSERT INTO builds (id) VALUES (1)"))

    with build_updating.connected_to(refuse, kept.app):
        done, editor = edit(kept, tmp_path, long, {"set": MINE}, answers="y\ny\n")
    assert done.code == 0, done
    assert "# The database refuses this build" in editor.seen[1]
    assert json.loads(editor.seen[1].partition("\n")[2])["title"] == "of hubot"
    assert kept.row() == CHANGED | {"title": "of hubot", "branch": "x"}


@pytest.mark.parametrize(("members", "answers"), [({"title": "x"}, "n\n"), ({"status": "x"}, "")])
def test_an_edit_that_is_not_carried_over_is_kept(
    kept: Host, sqlite_url: str, tmp_path: Path, members: dict[str, Any], answers: str
) -> None:
    step = {"meanwhile": meanwhile(sqlite_url, members), "set": MINE}
    done, editor = edit(kept, tmp_path, step, answers=answers)
    assert done.code == (3 if "status" in members else 1)
    assert ("Both have changed status" in done.errors) == ("status" in members)
    assert_kept(done, editor, '"error"')
    assert kept.row() == OCTOCAT | members


def test_without_history_a_conflict_shows_what_was_changed(
    make_host: MakeHost, sqlite_url: str, tmp_path: Path
) -> None:
    host = make_host(sqlite_url)
    code = (
        f"import sqlite3; c = sqlite3.connect('{tmp_path}/ci.db');"
        " c.execute('UPDATE builds SET parent = 7'); c.commit()"
    )
    other = f'{sys.executable} -c "{code}"'
    done, _ = edit(host, tmp_path, {"meanwhile": other, "set": MINE}, answers="y\ny\n")
    assert done.code == 0
    assert "changed meanwhile:\n- parent: 1\n+ parent: 7\n" in done.output
    assert host.row() == CHANGED | {"parent": 7}


def test_no_transaction_is_open_while_somebody_thinks(
    make_host: MakeHost, server_url: str, tmp_path: Path
) -> None:
    host = make_host(server_url, history=BuildRevision)
    other = meanwhile(host.engine.url.render_as_string(hide_password=False), {"title": "of hubot"})
    with host.statements() as sent:
        done, _ = edit(host, tmp_path, {"meanwhile": other, "set": MINE}, answers="y\ny\n")
    assert done.code == 0, done
    assert host.row() == CHANGED | {"title": "of hubot"}
    ends = {"COMMIT", "ROLLBACK"}
    depth = 0
    for statement in sent:
        depth += (statement == "BEGIN") - (statement in ends)
        assert depth in {0, 1}
    assert depth == 0


FLASK = [sys.executable, "-m", "flask", "--app", "example_app", "build-admin"]


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Any]:
    """The environment of the example server, on each database in turn."""
    yield from serving(database_url, tmp_path)


@pytest.fixture
def served_by_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[Any]:
    yield from serving(sqlite_url, tmp_path)


def serving(database_url: str, tmp_path: Path) -> Iterator[Any]:
    for name in ("example_app.py", "octocat.json"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {"DATABASE_URL": database_url, "NO_COLOR": "1", "LOGNAME": "somebody else"}
    yield {"cwd": tmp_path, "env": os.environ | environment}
    engine = sa.create_engine(database_url)
    example_app.Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("database", "terminal"),
    [("sqlite", True), *[(name, False) for name in DATABASES if name == "postgresql"]],
    indirect=["database"],
    ids=lambda value: {True: "terminal", False: "pipe"}.get(value, value),
    scope="module",
)
def test_every_command_of_the_example(
    served: Any, database_url: str, tmp_path: Path, terminal: bool
) -> None:
    app = example_app.create_app({"SQLALCHEMY_DATABASE_URI": database_url})

    def process(*arguments: str, answers: str = "", code: int = 0, **environment: Any) -> str:
        if terminal:  # a process of its own; docs/test_terminal.py has those in a pipe
            options = served | {"env": served["env"] | environment}
            done = as_process([*FLASK, *arguments], terminal=True, answers=answers, **options)
        else:
            done = in_pipe(app, "build-admin", *arguments)
        assert done.code == code, done
        return done.output

    yes = [] if terminal else ["--yes"]
    process("set", "1", "status=running", *yes, answers="y\n")
    assert '"running"' in process("show", "1")
    assert "running" in process("queue")
    process("set", "1", "status=error", "finished=now", "--reason", "lost", *yes, answers="y\n")
    assert f"{USER}: lost" in process("history", "1")
    # A preview may take a number, so the newest is not the second.
    newest = str(json.loads(process("history", "1", "--json"))[0]["id"])
    process("undo", "1", *([] if terminal else [newest, "--yes"]), answers="y\n")
    build = json.loads(process("show", "1", "--json"))
    assert build == OCTOCAT | {"status": "running"}
    file = tmp_path / "build.json"
    file.write_text(json.dumps(OCTOCAT))
    process("apply", str(file), *yes, answers="y\n")
    if terminal:
        other = shlex.join([*FLASK, "set", "1", "branch=theirs", "--yes", "--actor", "hubot"])
        conflict = {"set": {"title": "edited", "number": 1}, "meanwhile": other}
        editor = Editor(tmp_path, [{"set": {"number": 0}}, conflict])
        edited = process("edit", "1", answers="y\ny\n", **editor.environment)
        assert "# number: less than 1" in editor.seen[1]
        assert re.search(r"changed meanwhile:\n.* hubot\n", edited)
        shown = process("show", "1")
        assert '"edited"' in shown
        assert '"theirs"' in shown
        editor = Editor(tmp_path, [{"set": {"title": "abandoned"}}])
        declined = process("edit", "1", answers="n\n", code=1, **editor.environment)
        assert f"The edit is kept in {editor.kept[0]}" in declined
        assert '"abandoned"' in editor.kept[0].read_text()
    with app.app_context():
        example_app.db.engine.dispose()
