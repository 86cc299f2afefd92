"""What a browser does to text changes nothing, and everything typed survives a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError, fields, post_dump, validates_schema

from flask_build_admin import BuildSchema, WholeNumber, build_updating
from flask_build_admin.exceptions import DatabaseUnavailable
from tests.pages.conftest import browse
from tests.support.browsers import Browser, Page
from tests.support.hosts import OCTOCAT, BuildRevision, Host, history_of, model_of, row_of, stuck

Paged = Callable[..., tuple[Host, Browser]]

TEXTS = [
    *("a\nb", "a\rb", "a\r\nb", "a\r\nb\nc\rd", "\na", "\n\na", "\r\na", "\ra", "a\n", "a\r\n\r\n"),
    *(
        "\n",
        "\r",
        "\r\n",
        " a ",
        "a  \n  ",
        "\ta\t",
        "\U0001f600\U0001f469\u200d\U0001f680",
        "\0",
        "a\0b",
    ),
    *(
        "\ufffd",
        "\u202ea\u202c",
        "\u2066b\u2069",
        "\x85",
        "\u2028",
        "\u2029",
        "\x0b\x0c",
        "\x1f\x7f",
    ),
    *("&amp;&#10;<b>\"'`", "</textarea>", "\ufeffa", "\ufffe\uffff", "x" * 200, "null", "0", "-->"),
]


def is_unchanged(page: Page) -> bool:
    return page.status == 200 and "Nothing is changed yet." in page.text


def test_a_browser_changes_nothing(make_host: Callable[..., Host], database_url: str) -> None:
    # PostgreSQL has no U+0000.
    texts = [one for one in TEXTS if "\0" not in one or not database_url.startswith("postgresql")]
    model = model_of("title", title=sa.Column(sa.Text))
    rows = [
        row_of(id=at, number=at, title=text, branch=text, error=text)
        for at, text in enumerate(texts, 1)
    ]
    host = make_host(database_url, model=model, rows=rows, history=history_of(model))
    browser = browse(host)
    for at, text in enumerate(texts, 1):
        before = host.row(at)
        assert is_unchanged(browser.edit(at, {}))
        # Neither does it, if another member is changed.
        preview = browser.edit(at, {"sender": "mona"})
        assert browser.store(preview).status == 303
        assert host.row(at) == before | {"sender": "mona"}
        [revision] = host.blueprint.store.revisions(str(at))
        assert [*revision.changes] == ["sender"]
        # Nor by a look at the preview of a change to just this text.
        host.execute(f"UPDATE builds SET error = 'x' WHERE id = {at}")
        several = "\n" in text or "\r" in text
        if not several and "\0" not in text:
            preview = browser.edit(at, {"error": text})
            form = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
            assert browser.store(browser.submit(form)).status == 303
            assert host.row(at)["error"] == text


@pytest.mark.parametrize(
    ("before", "typed", "after"),
    [
        ("a\nb", "a\nc", "a\nc"),
        ("a\r\nb", "a\nc\n", "a\r\nc\r\n"),
        ("a\rb", "a\nc", "a\rc"),
        ("a\r\nb\nc", "a\nb\nd", "a\nb\nd"),
        ("\na", "\nb", "\nb"),
        ("\na", "a", "a"),
        ("a\n", "\n\na\n\n", "\n\na\n\n"),
        ("x" * 200, "", ""),
        ("a\0b\n", "a\ufffdb", "a\ufffdb"),
    ],
)
def test_a_text_becomes_just_what_is_typed(
    paged: Paged, before: str, typed: str, after: str
) -> None:
    host, browser = paged(rows=[OCTOCAT | {"message": before}])
    preview = browser.edit(1, {"message": typed})
    form = browser.submit(preview.form("/change"), {}, "Change something").form("/preview")
    assert browser.store(browser.submit(form)).status == 303
    assert host.row() == OCTOCAT | {"message": after}


#: Any text but halves of characters, which no database has.
ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from("\n\r\0 \t\"'&<>\ufffd\u202e\U0001f600"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Browser]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('forms') / 'ci.db'}"
    host = Host(url, history=BuildRevision)
    yield host, browse(host)
    host.close()


MEMBERS = [key for key, value in OCTOCAT.items() if isinstance(value, str)]


def fill(host: Host, texts: dict[str, str]) -> dict[str, Any]:
    with host.engine.begin() as connection:
        connection.execute(sa.update(host.model).values(OCTOCAT | texts))
    return host.row()


@given(st.dictionaries(st.sampled_from(MEMBERS), ANY_TEXT))
@settings(max_examples=20)
def test_an_untouched_form_stores_nothing(
    shared: tuple[Host, Browser], texts: dict[str, str]
) -> None:
    host, browser = shared
    before = fill(host, texts)
    assert is_unchanged(browser.edit(1, {}))
    assert host.row() == before


@given(
    st.dictionaries(st.sampled_from(MEMBERS), ANY_TEXT),
    st.sampled_from(sorted({*MEMBERS} - {"event", "status", "commit"})),
    ANY_TEXT,
)
@settings(max_examples=20)
def test_one_edit_changes_one_member(
    shared: tuple[Host, Browser], texts: dict[str, str], name: str, typed: str
) -> None:
    host, browser = shared
    before = fill(host, texts)
    form = browser.get("/1/edit").form("/preview")
    typed = typed.replace("\0", "")
    lines = form[f"member.{name}"].kind == "textarea"
    expected = re.sub("\r\n|\r|\n", "\n", typed) if lines else re.sub("[\r\n]", "", typed)
    old = texts.get(name, OCTOCAT[name])
    if {*re.findall("\r\n|\r|\n", old)} == {"\r\n"}:
        expected = expected.replace("\n", "\r\n")
    preview = browser.submit(form, {f"member.{name}": typed})
    if is_unchanged(preview):
        # The browser itself sends the same for both.
        assert form.entries({f"member.{name}": typed}, None) == form.entries({}, None)
        return
    assert browser.store(preview).status == 303, preview
    assert host.row() == before | {name: expected}


@pytest.mark.parametrize("letter", ["x", "я", '"', "\n"])
def test_a_long_message_is_changed_exactly(paged: Paged, letter: str) -> None:
    size = 256 * 1024 - 1500
    long = (letter * (size // len(json.dumps(letter, ensure_ascii=False).encode()[1:-1])))[:-9]
    host, browser = paged(rows=[OCTOCAT | {"message": f"a{long}"}])
    assert is_unchanged(browser.edit(1, {}))
    preview = browser.edit(1, {"message": f"b{long}"})
    assert preview.status == 200, preview.status
    assert browser.store(preview).status == 303
    assert host.row()["message"] == f"b{long}"


# ---- drafts


def test_nothing_is_stored_before_it_is_seen(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"status": "error", "error": "lost"})
    assert "Nothing is stored yet. 2 members would change:" in preview.text
    assert "status becomes error, error becomes lost." in preview.text
    assert kept.row()["status"] == "created"
    assert kept.recorded() == []
    page = browser.follow(browser.store(preview, reason="worker-7 is gone"))
    assert "Stored as revision " in page.text
    assert kept.row()["status"] == "error"
    [revision] = kept.recorded()
    assert (revision["actor"], revision["reason"]) == ("mona", "worker-7 is gone")


def test_sending_twice_stores_once(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"status": "error"})
    assert "/1?stored=" in browser.store(preview).location
    again = browser.store(preview)
    assert again.location.endswith("/1?note=already")
    assert "The build is already as you wanted." in browser.follow(again).text
    assert len(kept.recorded()) == 1


def test_edits_of_other_members_are_carried_over(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"status": "error"})
    assert kept.put(kept.get().json | {"error": "else"}).status_code == 200
    carried = browser.store(preview, reason="because")
    assert carried.status == 200
    assert "Your edit is carried over." in carried.text
    assert kept.row()["status"] == "created"
    assert carried.form("/change")["reason"].value == "because"
    assert browser.store(carried).status == 303
    assert (kept.row()["status"], kept.row()["error"]) == ("error", "else")
    assert kept.recorded()[-1]["reason"] == "because"


def test_a_stale_form_is_carried_over_into_its_preview(browser: Browser, kept: Host) -> None:
    form = browser.get("/1/edit").form("/preview")
    assert kept.put(kept.get().json | {"error": "else"}).status_code == 200
    carried = browser.submit(form, {"member.status": "error"})
    assert "Your edit is carried over." in carried.text
    assert "1 member would change" in carried.text


def test_who_has_changed_the_same_leaves_a_choice(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"status": "error", "error": "mine", "host": "worker-1"})
    theirs = kept.get().json | {"status": "killed", "error": "theirs", "title": "t"}
    assert kept.put(theirs, query_string={"reason": "I was first"}).status_code == 200
    conflict = browser.store(preview, reason="typed")
    assert conflict.status == 409
    assert "Somebody else has changed the same members" in conflict.text
    assert "I was first" in conflict.text
    rows = {row.text for row in conflict.find("tr")}
    assert {
        "statuscreated status as it is now: killed status as you want it: error",
        "errorempty error as it is now: theirs error as you want it: mine",
    } <= rows
    assert "hostcompany.localhost company.localhostworker-1" in rows
    form = conflict.form("/preview")
    assert {one.name for one in form.controls if one.kind == "radio"} == {
        "choice.status",
        "choice.error",
    }
    # A third change, meanwhile: once more.
    assert kept.put(theirs | {"error": "third"}).status_code == 200
    entries = dict(form.entries({}, None)) | {"choice.status": "now", "choice.error": "yours"}
    second = browser.post(form.action, entries.items())
    assert second.status == 409
    assert {"errortheirs error as it is now: third error as you want it: mine"} <= {
        row.text for row in second.find("tr")
    }
    assert "statuscreated" not in second.text
    entries = dict(second.form("/preview").entries({}, None)) | {"choice.error": "yours"}
    chosen = browser.post(form.action, entries.items())
    assert chosen.status == 200
    assert chosen.form("/change")["reason"].value == "typed"
    assert browser.store(chosen).status == 303
    row = kept.row()
    assert (row["status"], row["error"], row["host"]) == ("killed", "mine", "worker-1")


def test_who_chooses_what_is_there_changes_nothing(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"status": "error"})
    assert kept.put(kept.get().json | {"status": "killed"}).status_code == 200
    form = browser.store(preview).form("/preview")
    entries = dict(form.entries({}, None)) | {"choice.status": "now"}
    page = browser.post(form.action, entries.items())
    assert "The build is already as you want it: nothing would change." in page.text
    assert not any(one.action.endswith("/change") for one in page.forms)


def test_what_is_already_as_wanted_is_a_success(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"status": "killed"})
    assert kept.put(kept.get().json | {"status": "killed", "error": "x"}).status_code == 200
    assert browser.store(preview).location.endswith("/1?note=already")
    assert len(kept.recorded()) == 1


def test_a_conflict_without_a_history(paged: Paged) -> None:
    host, browser = paged(history=None)
    preview = browser.edit(1, {"status": "error"})
    host.execute("UPDATE builds SET status = 'killed'")
    conflict = browser.store(preview)
    assert conflict.status == 409
    assert "Who has changed it" not in conflict.text
    stored = browser.store(browser.submit(conflict.form("/preview"), {}))
    assert stored.location.endswith("/1?note=stored")
    assert "The change is stored." in browser.follow(stored).text


HALF = '{"id": 1, "status": "\\ud800"}'


@pytest.mark.parametrize(
    ("original", "changes", "sentence"),
    [
        (None, None, "The form is not whole"),
        ("", None, "The form is not whole"),
        ("{", None, "The form is not whole"),
        ("[]", None, "The form is not whole"),
        ("{}", None, "The form is that of another build"),
        ('{"id": 2}', None, "The form is that of another build"),
        (HALF, None, "The form is not whole"),
        (HALF, '{"status": "error"}', "The form is not whole"),
        (json.dumps(OCTOCAT), "", "The form is not whole"),
        (json.dumps(OCTOCAT), HALF, "The form is not whole"),
        (json.dumps(OCTOCAT), '{"nothing": 1}', "The form is not whole"),
        ("[" * 300, None, "The form is not whole"),
    ],
)
@pytest.mark.parametrize("path", ["/1/edit", "/1/preview", "/1/change"])
def test_hidden_fields_that_are_broken(
    paged: Paged, path: str, original: str | None, changes: str | None, sentence: str
) -> None:
    host, browser = paged()
    given = {"original": original, "changes": changes}
    page = browser.post(path, [(key, text) for key, text in given.items() if text is not None])
    assert page.status == 400, page
    assert f"{sentence}: open the build again." in page.text
    assert host.recorded() == []


@pytest.mark.parametrize(
    "original",
    [
        {"id": 1},
        {key: OCTOCAT[key] for key in OCTOCAT if key != "host"} | {"other": 1},
        OCTOCAT | {"status": 5, "created": "x", "message": None, "parent": [1]},
    ],
)
def test_a_document_that_is_no_build(paged: Paged, original: dict[str, Any]) -> None:
    host, browser = paged()
    fields = [("original", json.dumps(original)), ("changes", "{}")]
    for path in ("/1/edit", "/1/preview", "/1/change"):
        page = browser.post(path, fields)
        assert page.status in (200, 303, 400), page
    assert host.recorded() == []


def test_a_form_of_another_build(paged: Paged) -> None:
    host, browser = paged(rows=[OCTOCAT, stuck(2)])
    entries = browser.get("/2/edit").form("/preview").entries({"member.status": "error"}, None)
    page = browser.post("/1/preview", entries)
    assert page.status == 400
    assert "The form is that of another build: open the build again." in page.text
    assert host.recorded() == []


# ---- refusals


def test_a_problem_of_a_member_is_at_its_field(paged: Paged) -> None:
    _, browser = paged()
    page = browser.edit(1, {"status": "", "commit": "x" * 41, "error": "typed"})
    assert page.status == 400
    assert page.links["status"] == "#field-status"
    assert "status: empty" in page.text
    assert "commit: longer than 40 characters" in page.text, page.text[:600]
    assert page.find("title")[0].text == "Error: Edit build 1"
    [field] = page.find("input", id="field-commit")
    assert field.attributes["aria-describedby"] == "problem-commit"
    assert page.find("p", id="problem-commit")
    form = page.form("/preview")
    assert form["member.commit"].value == "x" * 41
    assert form["member.error"].value == "typed"
    assert browser.submit(form, {"member.status": "error", "member.commit": "x"}).status == 200


def test_a_reason_is_required(paged: Paged) -> None:
    host, browser = paged(require_reason=True)
    preview = browser.edit(1, {"error": "typed"})
    assert preview.status == 200
    refused = browser.store(preview, reason="  ")
    assert refused.status == 400
    assert "reason: missing" in refused.text
    assert refused.find("input", id="reason")[0].attributes["aria-invalid"] == "true"
    assert "error becomes typed." in refused.text
    assert host.recorded() == []
    assert browser.store(refused, reason="because").status == 303
    assert host.recorded()[0]["reason"] == "because"


def test_a_reason_that_cannot_be_stored_can_be_mended(paged: Paged) -> None:
    host, browser = paged()
    refused = browser.store(browser.edit(1, {"error": "typed"}), reason="x" * 1001)
    assert refused.status == 400
    assert "reason: longer than 1000 characters" in refused.text
    assert refused.form("/change")["reason"].value == "x" * 1001
    # It travels with the form, too.
    form = browser.submit(refused.form("/change"), {}, "Change something").form("/preview")
    assert form["member.error"].value == "typed"
    again = browser.submit(form)
    assert again.form("/change")["reason"].value == "x" * 1001
    assert browser.store(again, reason="short").status == 303
    assert host.recorded()[0]["reason"] == "short"


def test_what_cannot_be_is_forced(paged: Paged) -> None:
    host, browser = paged(refuse_warnings=True, require_reason=True)
    preview = browser.edit(1, {"finished": "at", "finished.at": "1"})
    assert "finished is before started" in preview.text
    assert not preview.form("/change")["force"].sent
    refused = browser.store(preview, reason="I know")
    assert refused.status == 400
    assert "Refused, unless you force it: finished is before started." in refused.text
    form = refused.form("/change")
    assert form["reason"].value == "I know"
    assert not form["force"].sent
    # Without a reason it is refused once more, and is forced still.
    again = browser.store(refused, force="true", reason="")
    assert again.form("/change")["force"].sent
    assert browser.store(again, reason="I do").status == 303
    assert host.recorded()[0]["reason"] == "I do (forced: finished is before started)"


class Unavailable:
    """A receiver by which the database cannot answer, as long as it is asked to."""

    def __init__(self, error: Callable[[], Any]) -> None:
        self.error = error

    def __call__(self, sender: Any, **_: Any) -> None:
        self.error()


def unavailable() -> None:
    raise DatabaseUnavailable


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (unavailable, 503, "The database cannot answer now: try again."),
        (lambda: abort(403, "Not this one."), 403, "Not this one."),
        (lambda: abort(428), 428, "This request is required to be conditional"),
    ],
)
def test_everything_typed_survives(paged: Paged, error: Any, status: int, sentence: str) -> None:
    host, browser = paged()
    preview = browser.edit(1, {"error": "typed", "finished": "at", "finished.at": "2000000000"})
    with build_updating.connected_to(receiver := Unavailable(error)):
        refused = browser.store(preview, reason="because")
        again = browser.submit(refused.form("/preview"))
    assert receiver.error is error
    for page in (refused, again):
        assert page.status == status
        assert sentence in page.text
        form = page.form("/preview")
        assert form["member.error"].value == "typed"
        assert form["member.finished.at"].value == "2000000000"
        assert form["reason"].value == "because"
    stored = browser.store(browser.submit(again.form("/preview")))
    assert stored.status == 303
    assert host.recorded()[0]["reason"] == "because"


def test_a_rule_of_the_database_refuses(paged: Paged) -> None:
    _, browser = paged(rows=[OCTOCAT, OCTOCAT | {"id": 2, "number": 2}])
    page = browser.edit(1, {"number": "2", "error": "typed"})
    assert page.status == 409
    assert "it breaks one of the table&#39;s rules" in page.html
    assert page.form("/preview")["member.error"].value == "typed"


def test_a_build_that_is_gone(browser: Browser, kept: Host) -> None:
    preview = browser.edit(1, {"error": "typed"})
    kept.execute("DELETE FROM builds")
    page = browser.store(preview, reason="because")
    assert page.status == 404
    assert "There is no such build." in page.text
    assert "This is what you wanted to change: errortyped" in page.text
    assert "because" in page.text


@pytest.mark.parametrize("failing", ["edit", "undo", "clean", "undo_batch", "carry_over"])
def test_a_database_that_does_not_answer_is_asked_again(
    paged: Paged, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    host, browser = paged(rows=[stuck(1), stuck(2)])
    store = host.blueprint.store
    methods = {
        "undo": "undo",
        "clean": "clean",
        "undo_batch": "undo_batch",
        "carry_over": "revisions",
    }

    def fail(*args: Any, **options: Any) -> Any:
        raise DatabaseUnavailable

    if failing == "undo":
        browser.store(browser.edit(1, {"error": "x"}))
        page = browser.submit(browser.get("/1").form("/undo"))
        form, edits = page.form("/undo"), {"reason": "because"}
    elif failing == "clean":
        page = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
        form, edits = page.form("/clean"), {"reason": "because", "message": "m"}
    elif failing == "undo_batch":
        page = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
        listed = browser.follow(browser.submit(page.form("/clean")))
        page = browser.submit(listed.form("/history/undo"))
        form, edits = page.form("/history/undo"), {"reason": "because"}
    elif failing == "carry_over":
        form = browser.edit(1, {"error": "x"}).form("/change")
        edits = {"reason": "because"}
        host.execute("UPDATE builds SET title = 't'")
    else:
        assert browser.get("/1/edit").status == 200
        monkeypatch.setattr(store, "find", fail)
        page = browser.get("/1/edit")
        assert page.status == 503
        assert not page.find("button")[1:]
        return
    with monkeypatch.context() as patched:
        patched.setattr(store, methods[failing], fail)
        refused = browser.submit(form, edits)
        assert refused.status == 503
        assert "The database cannot answer now: try again." in refused.text
        assert "Your reason: because" in refused.text
    [again] = [one for one in refused.forms if one.method == "post"]
    done = browser.submit(again)
    if failing == "carry_over":
        assert "Your edit is carried over." in done.text
        assert done.form("/change")["reason"].value == "because"
        return
    assert done.status == 303
    assert host.recorded()[-1]["reason"] == "because"
    if failing == "clean":
        assert host.row()["error"] == "m"


class Restless(BuildSchema):
    """A member that nobody can change here, and that has another value each time."""

    idle = fields.Integer(dump_only=True)


@pytest.fixture
def restless(paged: Paged) -> tuple[Host, Browser]:
    ticks = count()
    model = model_of(idle=property(lambda self: next(ticks)))
    rows = [row_of(**stuck(1))]
    return paged(model=model, schema=Restless, rows=rows, history=history_of(model))


def test_what_changes_all_the_time_and_cannot_be_changed_here_hinders_no_repair(
    restless: tuple[Host, Browser],
) -> None:
    host, browser = restless
    preview = browser.edit(1, {"error": "worker lost"})
    assert "worker lost" in preview.text
    assert "Somebody" not in preview.text
    stored = browser.store(preview)
    assert stored.status == 303
    assert host.blueprint.store.find("1").document["error"] == "worker lost"
    undo = browser.submit(browser.follow(stored).form("/undo"))
    assert browser.submit(undo.form("/undo")).status == 303
    assert host.blueprint.store.find("1").document["error"] == ""
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    assert browser.submit(preview.form("/clean"), {}, "Clean").status == 303


def test_what_others_change_all_the_time_ends_in_a_sentence(paged: Paged) -> None:
    """As a hybrid that reads a clock: nobody can ever store what was seen."""
    ticks = count()
    model = model_of("branch", branch=property(lambda self: str(next(ticks)), lambda *_: None))
    rows = [row_of("branch", **stuck(1) | {"branch": ""})]
    host, browser = paged(model=model, rows=rows, history=history_of(model))
    with host.statements() as statements:
        page = browser.edit(1, {"error": "worker lost"})
    assert page.status == 412
    assert "The build was changed since it was fetched" in page.text
    assert page.form("/preview")["member.error"].value == "worker lost"
    assert len(statements) < 30


def test_the_build_that_was_found_under_the_lock_is_carried_over(
    paged: Paged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica may be late: what is read there is not what is stored."""
    host, browser = paged(rows=[stuck(1)])
    store = host.blueprint.store
    late = store.find("1")
    host.execute("UPDATE builds SET number = 9")
    monkeypatch.setattr(store, "find", lambda build_id: late)
    preview = browser.edit(1, {"error": "x"})
    assert "Your edit is carried over." in preview.text
    assert browser.store(preview).status == 303
    assert (host.row()["number"], host.row()["error"]) == (9, "x")


def test_no_form_leads_to_another_build(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1), stuck(2)])
    original = ("original", json.dumps(host.get(1).json))
    for changes in ('{"id": 2}', '{"id": "1"}'):
        for path in ("/1/preview", "/1/change"):
            page = browser.post(path, [original, ("changes", changes)])
            assert page.status == 400
            assert "The form is not whole" in page.text
    assert host.recorded() == []


def test_what_a_hook_leaves_out_is_null_and_can_be_set(paged: Paged) -> None:
    class Schema(BuildSchema):
        finished = WholeNumber(required=False, allow_none=True)

        @post_dump
        def leave_out(self, document: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {key: value for key, value in document.items() if value is not None}

    host, browser = paged(schema=Schema, rows=[stuck(1, finished=None)])
    assert "Nothing is changed yet." in browser.edit(1, {}).text
    repair = browser.submit(browser.get("/1").form("/preview"), {}, "Lost")
    assert "3 members would change" in repair.text
    assert browser.store(repair).status == 303
    assert host.row()["finished"] > 1_700_000_000
    host.execute("UPDATE builds SET finished = NULL")
    preview = browser.edit(1, {"finished": "at", "finished.at": "1900000000"})
    assert browser.store(preview).status == 303
    assert host.row()["finished"] == 1_900_000_000


def test_a_problem_of_the_whole_is_shown_beside_those_of_members(paged: Paged) -> None:
    class Schema(BuildSchema):
        @validates_schema
        def judge(self, document: dict[str, Any], **_: Any) -> None:
            if document.get("error") == "x":
                raise ValidationError({"_schema": ["the whole is wrong"], "title": ["a bad title"]})

    _, browser = paged(schema=Schema, rows=[stuck(1)])
    page = browser.edit(1, {"error": "x", "title": "t"})
    assert page.status == 400
    assert "the whole is wrong" in page.text
    assert "title: a bad title" in page.text


def test_a_new_warning_is_forced_by_nobody(paged: Paged) -> None:
    host, browser = paged(refuse_warnings=True, rows=[stuck(1)])
    preview = browser.edit(1, {"finished": "at", "finished.at": "1"})
    host.execute("UPDATE builds SET started = 4000000000")
    carried = browser.store(preview, force="true")
    assert "Your edit is carried over." in carried.text
    assert "started is in the future" in carried.text
    assert not carried.form("/change")["force"].sent
