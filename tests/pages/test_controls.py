"""The controls of a form, as the host's schema has the members."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from time import time
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import fields, validate

from flask_build_admin import BuildSchema, Choice, Flag, Text, UnixTime, WholeNumber
from tests.support.browsers import Browser, Control, Page
from tests.support.hosts import OCTOCAT, Host, history_of, model_of, row_of

Paged = Callable[..., tuple[Host, Browser]]


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


def host_of(paged: Paged, schema: dict[str, Any], **row: Any) -> tuple[Host, Browser]:
    """Make a host whose members are other than the contract's, or more."""
    types: dict[Any, Any] = {
        str: sa.String(250),
        int: sa.BigInteger,
        bool: sa.Boolean,
        dict: sa.JSON,
        list: sa.JSON,
    }
    columns = {
        key: sa.Column(value[0] if isinstance(value, tuple) else types[type(value)])
        for key, value in row.items()
    }
    values = {key: value[1] if isinstance(value, tuple) else value for key, value in row.items()}
    model = model_of(*row, **columns)
    made = BuildSchema.from_dict(schema)
    return paged(
        model=model,
        schema=made,
        rows=[row_of(*row, **values)],
        history=history_of(model),
        queue_statuses=(),
    )


def control(browser: Browser, name: str) -> Control:
    return browser.get("/1/edit").form("/preview")[f"member.{name}"]


def changes(host: Host) -> dict[str, Any]:
    """Return what the newest revision has changed."""
    [newest, *_] = host.blueprint.store.revisions("1")
    return {key: one["after"] for key, one in newest.changes.items()}


def save(browser: Browser, **edits: str | None) -> Page:
    preview = browser.edit(1, {key.replace("__", "."): text for key, text in edits.items()})
    if preview.status != 200 or not any(one.action.endswith("/change") for one in preview.forms):
        return preview
    return browser.store(preview)


@pytest.mark.parametrize(
    ("field", "stored", "options", "chosen", "after"),
    [
        (Flag(), False, ("true", "false"), "true", True),
        (
            fields.Boolean(required=True, allow_none=True),
            (sa.Boolean, None),
            ("true", "false", "null"),
            "false",
            False,
        ),
        (
            Choice({"low": 1, "high": 2}),
            1,
            ('"low"', '"high"'),
            '"high"',
            "high",
        ),
        (
            Choice({"low": 1, "high": 2}, allow_none=True),
            (sa.Integer, 7),
            ('"7"', '"low"', '"high"', "null"),
            "null",
            None,
        ),
        (
            fields.Enum(Color, by_value=False, required=True),
            (sa.Enum(Color), Color.RED),
            ('"RED"', '"BLUE"'),
            '"BLUE"',
            "BLUE",
        ),
        (
            fields.String(required=True, validate=validate.OneOf(["a", 'b"&']), allow_none=False),
            "zz",
            ('"zz"', '"a"', '"b\\"&"'),
            '"b\\"&"',
            'b"&',
        ),
        (
            WholeNumber(validate=[validate.Range(min=0), validate.OneOf([1, 2])]),
            1,
            ("1", "2"),
            "2",
            2,
        ),
        (
            fields.Date(
                required=True, validate=validate.OneOf([date(2026, 1, 1), date(2026, 1, 2)])
            ),
            (sa.Date, date(2026, 1, 1)),
            ('"2026-01-01"', '"2026-01-02"'),
            '"2026-01-02"',
            "2026-01-02",
        ),
    ],
)
def test_one_of_several_is_a_select(
    paged: Paged, field: Any, stored: Any, options: tuple[str, ...], chosen: str, after: Any
) -> None:
    host, browser = host_of(paged, {"level": field}, level=stored)
    found = control(browser, "level")
    assert (found.kind, found.options) == ("select", options)
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    # What is to be stored is still chosen after a look at the preview.
    preview = browser.edit(1, {"level": chosen})
    again = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
    assert again["member.level"].value == chosen
    assert browser.store(browser.submit(again)).status == 303
    assert changes(host) == {"level": after}
    # The value that was outside of the choices is no longer one.
    assert control(browser, "level").value == chosen


def test_none_of_the_choices_is_refused(paged: Paged) -> None:
    _, browser = host_of(paged, {"level": Flag()}, level=True)
    form = browser.get("/1/edit").form("/preview")
    entries = [
        (name, "maybe" if name.startswith("member.level.") else text)
        for name, text in form.entries({}, None)
    ]
    page = browser.post(form.action, entries)
    assert page.status == 400
    assert "level : none of the choices" in page.text.replace("level:", "level :")
    assert page.find("select", id="field-level")[0].attributes["aria-invalid"] == "true"


@pytest.mark.parametrize(
    ("typed", "after"), [("7", 7), (" 8 ", 8), ("0", 0), ("1.5", None), ("x", None), ("", None)]
)
def test_a_whole_number(paged: Paged, typed: str, after: int | None) -> None:
    host, browser = paged()
    field = browser.get("/1/edit").find("input", name="member.parent")[0]
    assert field.attributes["inputmode"] == "numeric"
    page = save(browser, parent=typed)
    if after is None:
        assert page.status == 400
        assert page.form("/preview")["member.parent"].value == typed
        assert "This cannot be stored." in page.text
        assert host.recorded() == []
    else:
        assert changes(host) == {"parent": after}


def test_a_number_says_that_it_is_none(paged: Paged) -> None:
    _, browser = paged()
    assert "parent: not a whole number" in save(browser, parent="seven").text


def test_a_number_may_be_null(paged: Paged) -> None:
    schema = {"extra": WholeNumber(allow_none=True)}
    host, browser = host_of(paged, schema, extra=5)
    assert save(browser, extra="null").status == 303
    assert changes(host) == {"extra": None}
    assert control(browser, "extra").kind == "textarea"
    assert save(browser, extra="6").status == 303
    assert changes(host) == {"extra": 6}


TIME = 1_795_834_800  # 2026-11-28T03:00:00Z


@pytest.mark.parametrize(
    "typed",
    [
        *(str(TIME), "2026-11-28T03:00:00Z", "2026-11-28 03:00:00+00:00", "2026-11-28T08:45+05:45"),
        *("20261128T030000Z", f" {TIME} ", "2026-11-27T22:00:00-05:00", "2026-11-28T03:00:00.9Z"),
    ],
)
@pytest.mark.parametrize("chosen", ["at", "keep"])
def test_a_time_of_its_own(paged: Paged, typed: str, chosen: str) -> None:
    host, browser = paged()
    assert save(browser, finished=chosen, finished__at=typed).status == 303
    assert changes(host) == {"finished": TIME}


@pytest.mark.parametrize("kind", ["number", "datetime", "nullable"])
def test_keep_not_yet_and_now(paged: Paged, kind: str) -> None:
    if kind == "number":
        host, browser = paged(rows=[OCTOCAT | {"finished": 0}])
    else:
        field = UnixTime(allow_none=kind == "nullable")
        host, browser = host_of(paged, {"finished": field}, finished=(sa.DateTime, None))
    form = browser.get("/1/edit").form("/preview")
    found = form["member.finished"]
    assert (found.kind, found.value, found.options) == (
        "select",
        "keep",
        ("keep", "zero", "now", "at"),
    )
    assert form["member.finished.at"].value == ""
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    before = int(time())
    preview = browser.edit(1, {"finished": "now"})
    # It is fixed at the preview.
    again = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
    assert again["member.finished"].value == "at"
    moment = int(again["member.finished.at"].value)
    assert before <= moment <= time()
    assert browser.store(browser.submit(again)).status == 303
    assert changes(host) == {"finished": moment}
    preview = browser.edit(1, {"finished": "zero"})
    again = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
    assert (again["member.finished"].value, again["member.finished.at"].value) == ("zero", "")
    assert browser.store(browser.submit(again)).status == 303
    assert changes(host) == {"finished": None if kind == "nullable" else 0}
    if kind != "number":
        assert host.row()["finished"] is None


@pytest.mark.parametrize(
    ("chosen", "typed", "problem"),
    [
        ("at", "", "no time is given"),
        ("at", "tomorrow", "no time: pass seconds since 1970, or 2026-11-28T03:00:00Z"),
        ("at", "2026-11-28T03:00:00", "has no zone: add Z, or one such as +05:45"),
        ("at", "-1", "no time: pass seconds since 1970, or 2026-11-28T03:00:00Z"),
        ("at", "1969-01-01T00:00:00Z", "less than 0"),
        ("at", "9999999999999999999", "no time: pass seconds since 1970"),
        ("now", "1", "now, or the time that is given: not both"),
        ("zero", "1", "not yet, or the time that is given: not both"),
    ],
)
def test_no_time(paged: Paged, chosen: str, typed: str, problem: str) -> None:
    host, browser = paged()
    page = save(browser, finished=chosen, finished__at=typed, error="typed as well")
    assert page.status == 400
    assert f"finished: {problem}" in page.text
    form = page.form("/preview")
    if problem != "less than 0":
        assert form["member.finished"].value == chosen
    assert form["member.error"].value == "typed as well"
    assert host.recorded() == []
    if "not both" in problem or "no time" in problem:
        assert form["member.finished.at"].value == typed


def test_a_time_that_nobody_offers_changes_nothing(paged: Paged) -> None:
    _, browser = paged()
    form = browser.get("/1/edit").form("/preview")
    entries = [
        (name, "then" if name == "member.finished" else text)
        for name, text in form.entries({}, None)
    ]
    assert "Nothing is changed yet." in browser.post(form.action, entries).text
    entries.append(("member.finished.at", "5"))
    index = entries.index(("member.finished.at", ""))
    del entries[index]
    assert (
        "finished: then, or the time that is given: not both"
        in browser.post(form.action, entries).text
    )


def test_what_cannot_be_changed_is_text(paged: Paged) -> None:
    schema = {
        "sender": Text(dump_only=True),
        "kind": fields.Constant("build", dump_only=True),
        "age": fields.Method("age_of", dump_only=True),
    }
    made = BuildSchema.from_dict(schema)
    made.age_of = lambda self, build: f"{build.id} <i>days</i>"  # type: ignore[attr-defined]
    host, browser = paged(schema=made)
    page = browser.get("/1/edit")
    names = {one.name for one in page.form("/preview").controls}
    assert "member.status" in names
    for name in ("id", "sender", "kind", "age"):
        assert f"member.{name}" not in names
    [age] = page.find("span", id="field-age")
    assert age.text == '"1 <i>days</i>"'
    # Not even by a form of one's own.
    entries = [*page.form("/preview").entries({}, None), ("member.sender", "x"), ("member.id", "2")]
    assert "Nothing is changed yet." in browser.post("/1/preview", entries).text
    assert save(browser, error="x").status == 303
    assert changes(host) == {"error": "x"}


@pytest.mark.parametrize(
    ("field", "stored", "typed", "after"),
    [
        (
            fields.Nested({"cpu": fields.Integer(), "os": fields.String()}, required=True),
            {"cpu": 2, "os": "a\nb\0"},
            '{"cpu": 4, "os": "x"}',
            {"cpu": 4, "os": "x"},
        ),
        (fields.Dict(required=True), {"ü": [1, {"<": None}]}, "{}", {}),
        (fields.List(fields.String(), required=True), ["a", "\r\n"], '["b"]', ["b"]),
        (fields.Raw(required=True, allow_none=True), (sa.JSON, {"a": 1}), "null", None),
        (fields.Raw(required=True), (sa.JSON, "text"), '"5"', "5"),
        (fields.Float(required=True), (sa.Float, 0.5), "0.25", 0.25),
    ],
)
def test_everything_else_is_json(
    paged: Paged, field: Any, stored: Any, typed: str, after: Any
) -> None:
    host, browser = host_of(paged, {"extra": field}, extra=stored)
    found = control(browser, "extra")
    assert found.kind == "textarea"
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    preview = browser.edit(1, {"extra": typed})
    again = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
    assert browser.store(browser.submit(again)).status == 303
    assert changes(host) == {"extra": after}


@pytest.mark.parametrize(
    "typed", ["text", "", "{", '1, "x": 2', '1, "value": 2', "NaN", '"\\ud800"', "[" * 200]
)
def test_what_is_no_json(paged: Paged, typed: str) -> None:
    host, browser = host_of(paged, {"extra": fields.Raw(required=True)}, extra=(sa.JSON, {}))
    page = save(browser, extra=typed)
    assert page.status == 400
    assert "extra: not JSON: text stands in quotation marks" in page.text
    assert page.form("/preview")["member.extra"].value == typed
    # It is not one of the everyday members, so the others are open.
    assert any("open" in one.attributes for one in page.find("details"))
    assert host.recorded() == []


def test_a_text_may_be_null(paged: Paged) -> None:
    schema = {"deploy": Text(allow_none=True)}
    host, browser = host_of(paged, schema, deploy=(sa.String(250), None))
    form = browser.get("/1/edit").form("/preview")
    assert form["member.deploy.null"].sent
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    both = browser.edit(1, {"deploy": "prod"})
    assert both.status == 400
    assert "deploy: null, or the text that is given: not both" in both.text
    again = both.form("/preview")
    assert (again["member.deploy"].value, again["member.deploy.null"].sent) == ("prod", True)
    preview = browser.submit(again, {"member.deploy.null": None})
    assert browser.store(preview).status == 303
    assert changes(host) == {"deploy": "prod"}
    preview = browser.edit(1, {"deploy.null": "1"})
    form = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
    assert form["member.deploy.null"].sent
    assert browser.store(browser.submit(form)).status == 303
    assert changes(host) == {"deploy": None}
    assert save(browser, deploy__null=None).status == 303
    assert changes(host) == {"deploy": ""}


def test_a_null_that_may_not_be_stays(paged: Paged) -> None:
    schema = {"deploy": fields.String(required=True)}
    host, browser = host_of(paged, schema, deploy=(sa.String(250), None))
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    assert save(browser, error="x").status == 303
    assert host.row()["deploy"] is None
    assert save(browser, deploy="prod", deploy__null=None).status == 303
    assert host.row()["deploy"] == "prod"


def test_the_everyday_members_come_first(paged: Paged) -> None:
    _, browser = paged()
    names = [
        one.name
        for one in browser.get("/1/edit").form("/preview").controls
        if one.name.startswith("member.")
    ]
    plain = [name.removeprefix("member.") for name in names if not name.endswith(".at")]
    assert plain[:8] == [
        *("status", "error", "enqueued", "created", "started", "finished", "host", "title"),
    ]
    left = [key for key in OCTOCAT if key not in plain[:8] and key != "id"]
    assert plain[8:] == left


def test_a_long_text_has_several_lines(paged: Paged) -> None:
    _, browser = paged(rows=[OCTOCAT | {"title": "x" * 120, "branch": "x" * 121, "ref": "a\rb"}])
    form = browser.get("/1/edit").form("/preview")
    kinds = {name: form[f"member.{name}"].kind for name in ("title", "branch", "ref")}
    assert kinds == {"title": "text", "branch": "textarea", "ref": "textarea"}


def test_ids_that_are_text(paged: Paged) -> None:
    build_id = uuid.UUID("0a0b0c0d-0000-4000-8000-00000000000f")

    class Schema(BuildSchema):
        id = fields.UUID(required=True)

    model = model_of("id", id=sa.Column(sa.Uuid, primary_key=True))
    history = history_of(model, build_id=sa.Column(sa.Uuid, nullable=False))
    row = row_of("id", id=build_id, status="running")
    host, browser = paged(model=model, schema=Schema, rows=[row], history=history)
    for text in (str(build_id), str(build_id).upper(), build_id.hex):
        form = browser.get(f"/{text}/edit").form("/preview")
        assert form.action == f"/admin/builds/{build_id}/preview"
        assert browser.submit(form, {"member.error": text}).status == 200
    stored = browser.store(browser.edit(build_id, {"error": "x"}))
    assert stored.status == 303
    page = browser.follow(stored)
    assert "Stored as revision 1." in page.text
    undone = browser.submit(browser.submit(page.form("/undo")).form("/undo"))
    assert undone.status == 303
    assert host.blueprint.store.find(str(build_id)).document["error"] == ""
    queue = browser.get("/")
    clean = browser.submit(queue.form("/clean"), {"build": str(build_id)}, "Clean the selected")
    done = browser.submit(clean.form("/clean"))
    assert done.status == 303
    assert host.blueprint.store.find(str(build_id)).document["status"] == "error"


@pytest.mark.parametrize(
    ("assignment", "name"),
    [
        ("finished = 'soon'", "finished"),
        ("host = CAST(X'ff41' AS TEXT)", "host"),
        ("repo_id = NULL", "repo_id"),
        ("number = -1", "number"),
        ("started = 1700000000000", "started"),
        ("created = 99999999999999999", "created"),
        ("started = -5", "started"),
        ("status = ''", "status"),
        ("event = X'00ff'", "event"),
    ],
)
def test_a_malformed_row_is_shown_and_repaired(paged: Paged, assignment: str, name: str) -> None:
    model = model_of()
    rows = [row_of(status="running"), row_of("id", id=2, status="running")]
    host, browser = paged(model=model, rows=rows, history=history_of(model))
    host.execute(f"UPDATE builds SET {assignment} WHERE id = 1")
    assert browser.get("/").status == 200
    assert "/admin/builds/2" in browser.get("/").links.values()
    page = browser.get("/1")
    assert page.status == 200, page
    before = host.row() if name != "host" else None
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    assert save(browser, error="repaired").status == 303
    assert changes(host) == {"error": "repaired"}
    if before is not None:
        assert host.row() == before | {"error": "repaired"}


def test_a_clean_shows_what_the_schema_has(paged: Paged) -> None:
    made = BuildSchema.from_dict({"finished": UnixTime()})
    model = model_of("finished", finished=sa.Column(sa.DateTime))
    moment = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    rows = [row_of(finished=moment, status="success")]
    _, browser = paged(model=model, schema=made, rows=rows, history=history_of(model))
    page = browser.get("/1")
    assert "finished2026-01-01 00:00:00Z 1767225600" in page.text
    assert page.find("time", datetime="2026-01-01T00:00:00Z")


def test_a_member_may_be_named_as_it_likes(paged: Paged) -> None:
    class Schema(BuildSchema):
        level = fields.Integer(data_key='the "level" é', required=True, strict=True)

    model = model_of(level=sa.Column(sa.Integer))
    rows = [row_of(level=1, status="running")]
    host, browser = paged(model=model, schema=Schema, rows=rows, history=history_of(model))
    page = save(browser, **{'the "level" é': "x"})
    address = page.links['the "level" é'].removeprefix("#")
    assert not set(address) & set(' "')
    [control] = page.find("input", id=address)
    assert control.attributes["value"] == "x"
    assert page.find("p", id=control.attributes["aria-describedby"])
    assert save(browser, **{'the "level" é': "2"}).status == 303
    assert changes(host) == {'the "level" é': 2}


def test_a_list_of_a_few_is_no_choice(paged: Paged) -> None:
    labels = fields.List(
        fields.String(), required=True, validate=validate.ContainsOnly(["linux", "arm64"])
    )
    host, browser = host_of(paged, {"labels": labels}, labels=(sa.JSON, ["linux"]))
    assert control(browser, "labels").kind == "textarea"
    assert save(browser, labels='["linux", "arm64"]').status == 303
    assert changes(host) == {"labels": ["linux", "arm64"]}


def test_a_date_in_iso_8601_is_no_number_of_seconds(paged: Paged) -> None:
    finished = fields.DateTime(required=True, allow_none=True)
    host, browser = host_of(paged, {"finished": finished}, finished=(sa.DateTime, None))
    assert control(browser, "finished").kind == "textarea"
    assert save(browser, finished='"2026-11-28T03:00:00"').status == 303
    assert changes(host) == {"finished": "2026-11-28T03:00:00"}


def test_no_member_is_the_time_of_another(paged: Paged) -> None:
    class Schema(BuildSchema):
        late = Text(data_key="started.at")
        none = Text(data_key="error.null")

    model = model_of(late=sa.Column(sa.String(20)), none=sa.Column(sa.String(20)))
    rows = [row_of(late="hello", none="b", status="running")]
    host, browser = paged(model=model, schema=Schema, rows=rows, history=history_of(model))
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    preview = browser.edit(1, {"started%2Eat": "x", "started": "at", "started.at": "5"})
    assert browser.store(preview).status == 303
    assert changes(host) == {"started": 5, "started.at": "x"}
