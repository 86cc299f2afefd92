"""What is said of a build, and the words for times and what is invisible."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from markupsafe import Markup
from marshmallow import fields

from flask_build_admin import BuildSchema, Text, UnixTime
from flask_build_admin.pages.controls import Controls
from flask_build_admin.pages.sentences import Sentences, excerpts, visible
from flask_build_admin.wording import escape, format_age, format_count, format_date
from tests.support.browsers import Browser
from tests.support.hosts import OCTOCAT, Host, stuck

NOW = 1_795_838_400
HOUR = 3600

SAY = Sentences(Controls(BuildSchema()), ["pending", "running"])

FIELDS = BuildSchema().fields | dict.fromkeys(("raw", "extra", "flag"), fields.Raw())


def build(**members: Any) -> dict[str, Any]:
    return {"id": 1, "status": "running"} | members


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (
            {"started": NOW - 7500, "created": NOW - 9000, "host": "worker-7"},
            "Running for 2h 5m on worker-7, no sign of life since 2026-11-28 01:55:00Z.",
        ),
        (
            {"status": "pending", "created": NOW - 90, "enqueued": NOW - 60, "host": "worker-7"},
            "Pending for 1m 0s, no sign of life since 2026-11-28 03:59:00Z.",
        ),
        (
            {"created": NOW - 60, "host": ""},
            "Running for 1m 0s, no sign of life since 2026-11-28 03:59:00Z.",
        ),
        # An earlier start than creation is no sign of life.
        (
            {"created": NOW - 60, "started": NOW - 120},
            "Running for 2m 0s, no sign of life since 2026-11-28 03:59:00Z.",
        ),
        ({"started": NOW + 60}, "Running for 0s, no sign of life since 2026-11-28 04:01:00Z."),
        ({"host": "worker-7"}, "Running on worker-7."),
        ({"created": 0, "started": None}, "Running."),
        ({"created": -5}, "Running."),
        ({"created": UnixTime.latest + 1}, "Running."),
        ({"created": True}, "Running."),
        ({"created": "soon", "host": 7}, "Running."),
        (
            {"created": UnixTime.latest},
            "Running for 0s, no sign of life since 9999-12-31 23:59:59Z.",
        ),
        (
            {"status": "success", "started": NOW - HOUR, "finished": NOW - 60, "host": "w"},
            "Success after 59m 0s on w, finished 1m 0s ago.",
        ),
        ({"status": "success", "finished": NOW}, "Success, finished 0s ago."),
        (
            {"status": "success", "started": NOW, "finished": NOW},
            "Success after 0s, finished 0s ago.",
        ),
        (
            {"status": "success", "started": NOW, "finished": NOW - 1},
            "Success, finished 1s ago.",
        ),
        (
            {"status": "error", "finished": NOW + 1},
            "Error, finished 2026-11-28 04:00:01Z.",
        ),
        ({"status": "error", "started": NOW}, "Error."),
        ({"status": ""}, "Build."),
        ({"status": None}, "Build."),
    ],
)
def test_one_sentence_of_a_build(members: dict[str, Any], sentence: str) -> None:
    assert SAY.of_build(build(**members), NOW) == sentence


def test_a_build_without_a_status() -> None:
    assert SAY.of_build({"id": 1}, NOW) == "Build."
    assert not SAY.is_unfinished({"id": 1})
    assert SAY.is_unfinished(build())


def test_a_host_whose_times_are_text() -> None:
    class Schema(BuildSchema):
        created = Text()

    say = Sentences(Controls(Schema()), ["running"])
    assert say.of_build(build(created=NOW), NOW) == "Running."
    assert say.timeline(build(created=NOW), (), NOW) == []
    assert say.value("created", NOW) == str(NOW)


@pytest.mark.parametrize(
    ("members", "events"),
    [
        ({}, []),
        ({"created": NOW - 100}, [("created", 0, False), ("now", 100, False)]),
        (
            {"created": NOW - 100, "enqueued": NOW - 75, "started": NOW - 50},
            [
                ("created", 0, False),
                ("enqueued", 25, False),
                ("started", 50, True),
                ("now", 100, False),
            ],
        ),
        (
            {"status": "error", "created": 3, "finished": 6, "started": 4},
            [("created", 0, False), ("started", 33.33, True), ("finished", 100, True)],
        ),
        ({"status": "error", "created": 3}, [("created", 0, False)]),
        ({"created": 3, "finished": 3}, [("created", 0, False), ("finished", 0, True)]),
        (
            {"status": "error", "created": 9, "finished": 5},
            [("created", 100, False), ("finished", 0, True)],
        ),
    ],
)
def test_the_timeline_is_drawn_to_scale(members: dict[str, Any], events: list[Any]) -> None:
    found = SAY.timeline(build(**members), {"started", "finished"}, NOW)
    assert [(one.name, one.at, one.impossible) for one in found] == events


def test_a_timeline_marks_what_cannot_be(paged: Callable[..., tuple[Host, Browser]]) -> None:
    _, browser = paged(rows=[stuck(1, status="error", enqueued=0, finished=1_600_000_000)])
    page = browser.get("/1")
    [drawing] = page.find("svg")
    assert drawing.attributes["aria-label"] == (
        "Timeline: created 2023-11-14 22:13:20Z, started 2023-11-14 22:13:20Z (cannot be),"
        " finished 2020-09-13 12:26:40Z (cannot be)"
    )
    assert [one.attributes["cx"] for one in page.find("circle")] == ["430.0", "430.0", "100.0"]
    assert len(page.with_class("impossible")) == 2
    assert "finished is before started" in page.find("ul", class_="warnings")[0].text


@pytest.mark.parametrize(
    ("member", "value", "html"),
    [
        (
            "created",
            NOW,
            '<time datetime="2026-11-28T04:00:00Z">2026-11-28 04:00:00Z</time>'
            ' <span class="raw">1795838400</span>',
        ),
        ("created", 0, '<span class="none">not yet</span> <span class="raw">0</span>'),
        ("created", UnixTime.latest + 1, "253402300800"),
        ("created", -1, "-1"),
        ("created", None, '<span class="none">null</span>'),
        ("parent", 0, "0"),
        ("error", "", '<span class="none">empty</span>'),
        ("error", "<b>", '<span class="text">&lt;b&gt;</span>'),
        (
            "extra",
            {"a": "<\u202e"},
            '{&#34;a&#34;: &#34;&lt;<span class="escaped">\\u202e</span>&#34;}',
        ),
        ("extra", True, "true"),
    ],
)
def test_a_value_of_a_member(member: str, value: Any, html: str) -> None:
    assert SAY.value(member, value) == Markup(html)


def test_the_members_by_their_subject() -> None:
    members = {"id": 1, "host": "w", "status": "s", "number": 3, "extra": None, "sender": "m"}
    assert [*SAY.groups(members)] == [
        ("State", {"status": "s"}),
        ("Place", {"host": "w"}),
        ("People", {"sender": "m"}),
        ("Other", {"number": 3, "extra": None}),
    ]
    assert [subject for subject, _ in SAY.groups(OCTOCAT)] == [
        "State",
        "Place",
        "Source",
        "People",
        "Other",
    ]
    assert sum(len(found) for _, found in SAY.groups(OCTOCAT)) == 24


@pytest.mark.parametrize(
    ("value", "is_long"),
    [("x" * 200, False), ("x" * 201, True), ("a\nb", True), ("", False), ([1] * 300, False)],
)
def test_a_long_text_is_folded(value: Any, is_long: bool) -> None:
    assert SAY.is_long(value) is is_long


def test_a_folded_text_is_whole(paged: Callable[..., tuple[Host, Browser]]) -> None:
    _, browser = paged(rows=[OCTOCAT | {"message": "first <line>\n\nlast" + "x" * 300}])
    [folded] = browser.get("/1").find("details")
    assert folded.raw.endswith("first <line>\n\nlast" + "x" * 300)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"status": "error"}, "", ["status=error"]),
        ({"finished": 5, "error": "it's lost"}, None, ["finished=5", "error=it's lost"]),
        ({"extra": {"a": None}}, "a b", ['extra={"a": null}', "--reason", "a b"]),
        ({"flag": True}, "$HOME", ["flag=true", "--reason", "$HOME"]),
        ({"message": "a\nb"}, "", None),
        ({"message": "a\u202eb"}, "", None),
        ({"message": "a"}, "a\x07", None),
        ({"deploy": None}, "", None),
        ({"deploy": "null"}, "", ["deploy=null"]),
        ({"raw": "5", "parent": 3}, "", ['raw="5"', "parent=3"]),
        ({"raw": "five"}, "", ["raw=five"]),
        ({"raw": None}, "", ["raw=null"]),
    ],
)
def test_the_same_in_the_terminal(
    changes: dict[str, Any], reason: str | None, words: list[str] | None
) -> None:
    command = SAY.command("build-admin", 7, changes, FIELDS, reason)
    if words is None:
        assert command is None
    else:
        assert command is not None
        assert shlex.split(command) == ["flask", "build-admin", "set", "7", *words]
    assert SAY.command("", "a b", {"host": "w"}, FIELDS, None) == "flask set 'a b' host=w"


@pytest.mark.parametrize(
    ("members", "ages"),
    [
        ({"created": NOW - HOUR, "enqueued": NOW - 60, "started": NOW - 5}, ["1h 0m", "5s"]),
        ({"created": NOW - HOUR}, ["1h 0m", "1h 0m"]),
        ({"started": NOW - 60}, ["", "1m 0s"]),
        ({}, ["", ""]),
        ({"created": NOW + 5}, ["0s", "0s"]),
    ],
)
def test_how_old_a_build_is(members: dict[str, Any], ages: list[str]) -> None:
    assert SAY.ages(build(**members), NOW) == ages


def test_the_repository_of_a_build() -> None:
    assert SAY.repository({"repo_id": 3, "number": 9}) == "3 #9"
    assert SAY.repository({"number": 9}) == "9"
    assert SAY.repository({"id": 9}) == ""


def test_what_is_visible() -> None:
    assert visible("<b>&") == "&lt;b&gt;&amp;"
    assert visible("a\nb\t\r") == (
        'a\nb<span class="escaped">\\t</span><span class="escaped">\\r</span>'
    )
    assert visible("<\x07>") == '&lt;<span class="escaped">\\x07</span>&gt;'
    assert escape("a\n\u202e\U000e0001ü") == "a\\n\\u202e\\U000e0001ü"


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m 0s"), (3599, "59m 59s"), (3600, "1h 0m"),
        (86_399, "23h 59m"), (86_400, "1d 0h"), (90_061, "1d 1h"), (400 * 86_400, "400d 0h"),
    ],
)  # fmt: skip
def test_a_time_span_has_two_units(seconds: int, age: str) -> None:
    assert format_age(seconds) == age


def test_dates_and_numbers() -> None:
    assert format_date(0) == "1970-01-01 00:00:00Z"
    assert format_date(UnixTime.latest) == "9999-12-31 23:59:59Z"
    assert [format_count(number) for number in (0, 1, 2)] == ["0 builds", "1 build", "2 builds"]
    assert format_count(1, "revision") == "1 revision"


@pytest.mark.parametrize(
    ("member", "one", "other"),
    [
        ("extra", 5, "5"),
        ("extra", True, "true"),
        ("extra", {}, "{}"),
        ("extra", None, "null"),
        ("status", "error", "error "),
        ("status", "error", " error"),
        ("message", "x\n", "x"),
        ("message", "x\n", "x\r\n"),
        ("message", "x\n", "x\\n "),
        ("message", "a", "a\u3164"),
        ("message", "", " "),
        ("message", None, "null"),
        ("message", "", "empty"),
        ("message", " ", "\t"),
    ],
)
def test_two_values_are_not_shown_alike(member: str, one: Any, other: Any) -> None:
    shown = [re.sub("<[^>]*>", "", SAY.value(member, value)) for value in (one, other)]
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("short", "shorter", ("short", "shorter")),
        (
            "a" * 300 + "b" + "c" * 300,
            "a" * 300 + "d" + "c" * 300,
            (f"…{'a' * 40}b{'c' * 40}…", f"…{'a' * 40}d{'c' * 40}…"),
        ),
        ("a" * 300, "a" * 301, (f"…{'a' * 40}", f"…{'a' * 41}")),
        ("a" * 300, "", ("a" * 200 + "…", "")),
        ("one\ntwo", "one\nTWO", ("one\ntwo", "one\nTWO")),
        (
            "x" * 9 + "b" * 400,
            "y" * 9 + "b" * 400,
            (f"{'x' * 9}{'b' * 40}…", f"{'y' * 9}{'b' * 40}…"),
        ),
    ],
)
def test_what_differs_of_long_texts(before: str, after: str, expected: tuple[str, str]) -> None:
    assert excerpts(before, after) == expected


def test_no_command_is_longer_than_the_system_takes() -> None:
    fields_ = {"error": Text()}
    assert SAY.command("g", 1, {"error": "x" * 99_000}, fields_, None) is not None
    assert SAY.command("g", 1, {"error": "x" * 131_073}, fields_, None) is None
    assert SAY.command("g", "--help", {"error": "x"}, fields_, None) is None
