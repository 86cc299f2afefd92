"""``flask build-admin history``, ``log`` and ``undo``: what was changed, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.hosts import OCTOCAT, BuildRevision, Host
from tests.support.terminals import pipe, run

MakeHost = Callable[..., Host]

SET = ("set", "1", "status=error", "finished=1563474099", "--yes", "--actor", "mona")
DIFFERENCE = """\
- status: "created"
+ status: "error"
- finished: 0
+ finished: 1563474099 (2019-07-18 18:21:39Z)
"""
CHANGED = OCTOCAT | {"status": "error", "finished": 1563474099}


def test_a_change_to_what_nobody_sees_can_be_seen(host: Host) -> None:
    done = pipe(host, "set", "1", "error=\u3164\u2800\u202e\U0001f389 é", "--dry-run")
    first, second, *_ = done.output.splitlines()
    assert first == '- error: ""'
    assert second == '+ error: "\\u3164\\u2800\\u202e\U0001f389 é"'


def test_history_and_undo(kept: Host) -> None:
    assert pipe(kept, *SET, "--reason", "lost\x1b").code == 0
    assert pipe(kept, "set", "1", "title=x", "--yes", "--actor", "hubot").code == 0
    kept.execute("UPDATE build_revisions SET actor = NULL WHERE id = 2")
    kept.execute("UPDATE build_revisions SET at = '2018-07-18 18:21:39.000000'")
    shown = pipe(kept, "history", "1")
    change = "".join(f"  {line}\n" for line in DIFFERENCE.splitlines())
    title = f'  - title: "{OCTOCAT["title"]}"\n  + title: "x"\n'
    assert shown.output == (
        f"2  2018-07-18 18:21:39Z  nobody known\n{title}"
        f"1  2018-07-18 18:21:39Z  mona: lost\\x1b\n{change}"
    )
    assert pipe(kept, "history", "1", "--limit", "1").output.startswith("2  2018")
    undone = pipe(kept, "undo", "1", "--dry-run")
    line, _, difference = undone.output.partition("\n")
    assert line == "2  2018-07-18 18:21:39Z  nobody known"
    assert difference == f'- title: "x"\n+ title: "{OCTOCAT["title"]}"\n'
    assert pipe(kept, "undo", "1", "1", "--yes").code == 0
    assert kept.row() == OCTOCAT | {"title": "x"}
    refused = pipe(kept, "undo", "1", "1", "--yes")
    assert refused.code == 3
    assert refused.errors.startswith("Error: Changed since that revision: status, finished.")
    assert pipe(kept, "undo", "1", "3", "--yes", "--reason", "it was right").code == 0
    assert kept.row() == CHANGED | {"title": "x"}


def test_yes_alone_undoes_nothing(kept: Host) -> None:
    assert pipe(kept, *SET).code == 0
    refused = pipe(kept, "undo", "1", "--yes")
    assert (refused.code, refused.output) == (2, "")
    assert "With --yes, pass REVISION, too: a second run would undo the undo" in refused.errors
    assert kept.row() == CHANGED
    assert pipe(kept, "undo", "1", "1", "--yes").output.endswith("is stored as revision 2.\n")
    again = pipe(kept, "undo", "1", "1", "--yes")
    assert (again.code, kept.row()) == (3, OCTOCAT)


def test_the_newest_is_undone_once_it_was_seen_whose_it_is(kept: Host) -> None:
    pipe(kept, *SET, "--reason", "lost")
    kept.execute("UPDATE build_revisions SET at = '2018-07-18 18:21:39.000000'")
    undone = run(kept, "undo", "1", answers="y\n", NO_COLOR="1")
    assert undone.code == 0
    assert undone.output.startswith("y\n1  2018-07-18 18:21:39Z  mona: lost\n- status: ")
    assert undone.output.endswith(
        "Store this change of build 1? [y/N]: Build 1 is stored as revision 2.\n"
    )
    assert kept.row() == OCTOCAT
    assert run(kept, "undo", "1", answers="n\n").code == 1
    assert kept.row() == OCTOCAT


@pytest.mark.parametrize("arguments", [[], ["1", "--batch", "x"]])
def test_an_undo_is_of_a_build_or_of_a_batch(kept: Host, arguments: list[str]) -> None:
    refused = pipe(kept, "undo", *arguments)
    assert refused.code == 2
    assert "Pass the ID of a build, or --batch." in refused.errors


@pytest.fixture
def changed(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host with three changes of two builds, a day apart, by two people."""
    rows = [OCTOCAT, OCTOCAT | {"id": 2, "number": 2}]
    host = make_host(sqlite_url, rows=rows, history=BuildRevision)
    for build, actor in (("1", "mona"), ("2", "hubot"), ("1", "hubot")):
        title = f"title=by {actor}"
        assert pipe(host, "set", build, title, "--yes", "--actor", actor).code == 0
    host.execute("UPDATE build_revisions SET at = '2018-07-18 18:21:39.000000' WHERE id = 1")
    host.execute("UPDATE build_revisions SET batch = 'x' WHERE id < 3")
    return host


def test_the_log_has_the_changes_of_all_builds(changed: Host) -> None:
    changed.execute("DELETE FROM builds WHERE id = 1")
    shown = pipe(changed, "log")
    assert (shown.code, shown.errors) == (0, "")
    lines = shown.output.splitlines()
    assert [line.split()[:3] for line in lines[::3]] == [
        ["3", "build", "1"],
        ["2", "build", "2"],
        ["1", "build", "1"],
    ]
    assert lines[-3:] == [
        "1  build 1  2018-07-18 18:21:39Z  mona",
        f'  - title: "{OCTOCAT["title"]}"',
        '  + title: "by mona"',
    ]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], [3, 2, 1]),
        (["--since", "1h"], [3, 2]),
        (["--since", "9999999d"], [3, 2, 1]),
        (["--actor", "hubot"], [3, 2]),
        (["--batch", "x"], [2, 1]),
        (["--batch", "x", "--actor", "mona"], [1]),
        (["--batch", "none"], []),
        (["--limit", "3"], [3, 2, 1]),
    ],
)
def test_the_filters_of_the_log(changed: Host, arguments: list[str], ids: list[int]) -> None:
    shown = pipe(changed, "log", "--json", *arguments)
    assert [revision["id"] for revision in json.loads(shown.output)] == ids
    assert shown.errors == ""
    lines = pipe(changed, "log", *arguments).output.splitlines()
    assert [int(line.split()[0]) for line in lines if not line.startswith(" ")] == ids


def test_json_is_that_of_the_routes(changed: Host) -> None:
    listed = json.loads(pipe(changed, "history", "1", "--json").output)
    assert listed == changed.revisions(1).json
    assert [revision["changes"]["title"]["after"] for revision in listed] == ["by hubot", "by mona"]


@pytest.mark.parametrize("command", [["history", "1"], ["log"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_list_that_is_cut_says_so(changed: Host, command: list[str], form: list[str]) -> None:
    shown = pipe(changed, *command, *form, "--limit", "1")
    assert shown.errors == "There are older changes: pass a greater --limit.\n"
    assert len(json.loads(shown.output) if form else shown.output.splitlines()[::3]) == 1


def test_a_host_without_a_history_has_no_log(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url)
    assert pipe(host, "set", "1", "title=x", "--yes").output.endswith("Build 1 is stored.\n")
    for command in ("log", "history", "undo"):
        assert "No such command" in pipe(host, command).errors
