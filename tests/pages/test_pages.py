"""What is on each page, and where its links and buttons lead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from time import perf_counter, time
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from jinja2 import DictLoader
from marshmallow import fields

from flask_build_admin import BuildPages, BuildSchema, Text, build_updating
from flask_build_admin.exceptions import DatabaseUnavailable
from tests.pages.conftest import browse
from tests.support.browsers import Browser, Page
from tests.support.hosts import (
    ADMIN,
    LONG_AGO,
    OCTOCAT,
    URL,
    BuildRevision,
    Host,
    anybody,
    history_of,
    model_of,
    row_of,
    stuck,
)

Paged = Callable[..., tuple[Host, Browser]]


def ids(page: Page) -> list[str]:
    """Return the builds that a queue lists, in its order."""
    cells = [one for one in page.find("td", class_="number") if one.text.isdecimal()]
    return [one.text for one in cells]


@pytest.fixture
def stuck_host(make_host: Callable[..., Host], database_url: str) -> tuple[Host, Browser]:
    rows = [
        stuck(1, host="worker-7", created=LONG_AGO + 9),
        stuck(2, host="worker-8", created=LONG_AGO, status="pending", title="two" * 30),
        stuck(3, host="worker-7", created=int(time()), started=int(time())),
        stuck(4, host="", created=LONG_AGO + 5, repo_id=77),
        stuck(5, status="success", finished=LONG_AGO),
    ]
    host = make_host(database_url, rows=rows, history=BuildRevision, actor=lambda: "mona")
    return host, browse(host)


def test_the_queue(stuck_host: tuple[Host, Browser]) -> None:
    _, browser = stuck_host
    page = browser.get("/")
    assert page.find("title")[0].text == "Unfinished builds"
    assert ids(page) == ["2", "4", "1", "3"]
    assert [one.text for one in page.find("p", class_="counts")] == [
        "By status running 3 pending 1",
        "By host worker-7 2 worker-8 1 none 1",
    ]
    rows = [one.text for one in page.find("tr")]
    assert re.match(r"Build 2 2 1 #2 pending (\d+d \d+h){2} worker-8 (two)+\.\.\.$", rows[1]), rows
    assert re.match(r"Build 4 4 77 #4 running (\d+d \d+h){2} push received", rows[2]), rows
    assert re.match(r"Build 3 3 1 #3 running (\d+s){2} worker-7 ", rows[4]), rows
    assert browser.get("").status == 200
    [here] = page.find("a", **{"aria-current": "page"})
    assert here.text == "Unfinished builds"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?host=worker-7", ["1", "3"]),
        ("?status=pending", ["2"]),
        ("?repo_id=77", ["4"]),
        ("?idle=1h", ["2", "4", "1"]),
        ("?idle=10m&host=worker-7", ["1"]),
        ("?idle=&status=", ["2", "4", "1", "3"]),
        ("?host=nobody", []),
        ("?below=4", ["1", "3"]),
        ("?below=3", []),
    ],
)
def test_the_queue_is_filtered(
    stuck_host: tuple[Host, Browser], query: str, found: list[str]
) -> None:
    _, browser = stuck_host
    page = browser.get(f"/{query}")
    assert page.status == 200
    assert ids(page) == found
    if not found:
        assert "No such builds wait or run." in page.text
    form = page.form("/admin/builds/")
    if "idle=1h" in query:
        [filters] = [one for one in page.forms if any(c.name == "idle" for c in one.controls)]
        assert filters["idle"].value == "1h"
    assert form.method == "get"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?hots=worker-7", "hots: no member that builds are found by"),
        ("?idle=sometimes", "idle: not one of 10m, 1h, 2h, 1d"),
        ("?repo_id=x&host=worker-7", "repo_id: not an integer"),
    ],
)
def test_a_filter_that_cannot_be(
    stuck_host: tuple[Host, Browser], query: str, sentence: str
) -> None:
    _, browser = stuck_host
    page = browser.get(f"/{query}")
    assert page.status == 400
    assert sentence in page.text
    assert not page.find("button", name="all")
    if "host=" in query:
        [form] = [one for one in page.forms if any(c.name == "repo_id" for c in one.controls)]
        assert (form["repo_id"].value, form["host"].value) == ("x", "worker-7")


def test_the_counts_lead_to_their_builds(stuck_host: tuple[Host, Browser]) -> None:
    _, browser = stuck_host
    page = browser.get("/")
    for text, found in (("worker-7 2", ["1", "3"]), ("pending 1", ["2"])):
        filtered = browser.get(page.links[text])
        assert ids(filtered) == found
        assert filtered.links["All"] == "/admin/builds/"


def test_counts_of_other_values(paged: Paged) -> None:
    class Schema(BuildSchema):
        host = fields.Integer(required=True, allow_none=True)

    model = model_of("host", host=sa.Column(sa.Integer))
    rows = [
        row_of(host=one, id=at, status="running") for at, one in enumerate([None, 7, 7, 5, 7, 5], 1)
    ]
    _, browser = paged(model=model, schema=Schema, rows=rows, history=history_of(model))
    counts = browser.get("/").find("p", class_="counts")[1].text
    assert counts == "By host 7 3 5 2 none 1"


def test_a_member_that_no_query_compares_is_not_counted(
    make_host: Callable[..., Host], database_url: str
) -> None:
    class Schema(BuildSchema):
        host = fields.Raw(required=True)

    model = model_of("host", host=sa.Column(sa.JSON))
    host = make_host(
        database_url, model=model, schema=Schema, rows=[row_of(status="running", host={})]
    )
    page = browse(host).get("/")
    assert [one.text for one in page.find("p", class_="counts")] == ["By status running 1"]
    assert not page.find("input", name="host")


def test_every_build_may_have_a_host_of_its_own(paged: Paged) -> None:
    rows = [stuck(number, host=f"pod-{number // 2}") for number in range(1, 60)]
    _, browser = paged(rows=rows)
    by_status, by_host = (one.text for one in browser.get("/").find("p", class_="counts"))
    assert by_status == "By status running 59"
    assert re.fullmatch(r"By host( pod-\d+ 2){12}", by_host), by_host


def test_a_value_that_cannot_be_read_hides_no_counts(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1), stuck(2)])
    host.execute("UPDATE builds SET host = CAST(X'ff41' AS TEXT) WHERE id = 1")
    page = browser.get("/")
    assert [one.text for one in page.find("p", class_="counts")] == ["By status running 2"]
    assert ids(page) == ["2"] or ids(page) == ["1", "2"]
    assert host.blueprint.store.count_unfinished([], 9) == {}


def test_counts_that_cannot_be_made_are_no_page(
    paged: Paged, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, browser = paged(rows=[stuck(1)])

    def fail(*args: Any) -> Any:
        raise DatabaseUnavailable

    monkeypatch.setattr(host.blueprint.store, "count_unfinished", fail)
    page = browser.get("/")
    assert page.status == 503
    assert not [one for one in page.forms if one.method == "post"]


def test_the_pages_of_the_queue(paged: Paged) -> None:
    rows = [stuck(n, created=LONG_AGO + n) for n in range(1, 103)]
    host, browser = paged(rows=rows)
    seen = []
    page = browser.get("/?host=company.localhost")
    while True:
        seen += ids(page)
        if "Next page" not in page.links:
            break
        page = browser.get(page.links["Next page"])
        assert "host=company.localhost" in page.url
    assert seen == [str(n) for n in range(1, 103)]
    assert host.blueprint.store.count_unfinished(["status"], 9) == {"status": [("running", 102)]}


def test_a_build_that_is_finished_while_the_page_is_read_is_not_on_it(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    host = make_host(sqlite_url, rows=[stuck(1), stuck(2), stuck(3)])
    finished: list[int] = []

    def finish(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "builds.id IN" in statement and not finished:
            finished.append(2)
            host.execute("UPDATE builds SET status = 'success' WHERE id = 2")

    sa.event.listen(host.engine, "before_cursor_execute", finish)
    page = browse(host).get("/")
    assert finished
    assert ids(page) == ["1", "3"]


def test_what_is_left_out_of_a_page_hides_no_others(
    make_host: Callable[..., Host], database_url: str
) -> None:
    """A collation may find other hosts, and a build may be unreadable."""

    def title(self: Any) -> str:
        if self.id == 7:
            raise RuntimeError("no")
        return "t"

    model = model_of("title", title=property(title, lambda *_: None))
    rows = [
        row_of(
            "title",
            id=at,
            number=at,
            created=at,
            status="running",
            host=["worker-7", "Worker-7"][at % 2],
        )
        for at in range(1, 201)
    ]
    host = make_host(database_url, model=model, rows=rows, history=history_of(model))
    browser = browse(host)
    for query, expected in (("", range(1, 201)), ("?host=worker-7", range(2, 201, 2))):
        page, seen = browser.get(f"/{query}"), []
        while True:
            seen += ids(page)
            if "Next page" not in page.links:
                break
            page = browser.get(page.links["Next page"])
        assert seen == [str(at) for at in expected]
    assert "7 cannot be read: RuntimeError" in browser.get("/").text


def test_a_page_whose_beginning_is_gone_is_the_first(paged: Paged) -> None:
    _, browser = paged(rows=[stuck(1), stuck(2, host="w")])
    page = browser.get("/?below=77&host=w")
    assert page.status == 302
    assert ids(browser.follow(page)) == ["2"]


def test_a_full_page_of_fifty_has_no_next(paged: Paged) -> None:
    _, browser = paged(rows=[stuck(n) for n in range(1, 51)])
    page = browser.get("/")
    assert len(ids(page)) == 50
    assert "Next page" not in page.links


@pytest.fixture
def many(make_host: Callable[..., Host], database_url: str) -> tuple[Host, Browser]:
    """A host of ten thousand stuck builds."""
    host = make_host(database_url, rows=[])
    rows = [
        stuck(n, created=LONG_AGO + n, host=f"worker-{n % 500}", title="t" * 250, message="m" * 99)
        for n in range(1, 10_001)
    ]
    with host.engine.begin() as connection:
        connection.execute(sa.insert(host.model), rows)
        if host.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE builds")  # as the server itself does in time
    return host, browse(host)


@pytest.mark.slow
def test_the_queue_takes_at_most_three_times_as_long_as_its_json(
    many: tuple[Host, Browser], database: str, record_property: Callable[[str, object], None]
) -> None:
    host, _ = many
    paths = ("/admin/builds/", f"{URL}s/queue?limit=51&order=oldest")
    times: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(40):
        for path in paths:
            begun = perf_counter()
            assert host.client.get(path, headers=ADMIN).status_code == 200
            times[path].append(perf_counter() - begun)
    page, listed = (min(times[path]) for path in paths)  # others may have the machine as well
    record_property(f"page of the queue on {database}", f"{page / listed:.2f} of its JSON")
    assert page < 3 * listed
    assert page < 0.05


def test_ten_thousand_stuck_builds(many: tuple[Host, Browser]) -> None:
    host, browser = many
    with host.statements() as statements:
        page = browser.get("/")
    assert len([one for one in statements if one.startswith("SELECT")]) == 3
    assert {one for one in statements if not one.startswith("SELECT")} == {
        "BEGIN",
        "COMMIT",
    }
    assert len(page.response.data) <= 60_000
    assert len(ids(page)) == 50
    assert "running 10000" in page.links
    assert len(page.find("p", class_="counts")[1].text.split("worker-")) == 13


@pytest.mark.parametrize(("typed", "path"), [("2", "/2"), (" 2 ", "/2"), ("a b", "/a%20b")])
def test_go_to_a_build(stuck_host: tuple[Host, Browser], typed: str, path: str) -> None:
    _, browser = stuck_host
    page = browser.get("/")
    [form] = [one for one in page.forms if any(c.name == "id" for c in one.controls)]
    assert browser.submit(form, {"id": typed}).location == f"/admin/builds{path}"


def test_nothing_is_stuck(paged: Paged) -> None:
    _, browser = paged(rows=[])
    assert "No builds wait or run." in browser.get("/").text


def test_a_host_without_a_queue(paged: Paged) -> None:
    host, browser = paged(queue_statuses=())
    page = browser.get("/")
    assert page.status == 200
    assert "This server has no queue of builds. Go to a build by its id." in page.text
    assert browser.get("/?id=1").location == "/admin/builds/1"
    assert browser.post("/clean", [("all", "1")]).status == 405
    page = browser.get("/1")
    assert "Created on company.localhost." in page.text
    assert browser.store(browser.edit(1, {"status": "error"})).status == 303
    assert host.row()["status"] == "error"


def test_a_host_without_a_history(paged: Paged) -> None:
    host, browser = paged(history=None, rows=[stuck(1), stuck(2)])
    for path in ("/history", "/1/history"):
        assert browser.get(path).status == 404
    assert browser.post("/1/undo").status == 404
    page = browser.get("/1")
    assert "Changes" not in page.links
    assert "Nobody has changed" not in page.text
    stored = browser.store(browser.edit(1, {"status": "error"}))
    assert stored.location == "/admin/builds/1?note=stored"
    assert "The change is stored." in browser.follow(stored).text
    assert not browser.get("/1?note=unknown").with_class("stored")
    clean = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    done = browser.submit(clean.form("/clean"))
    assert done.status == 200
    assert "1 build changed" in done.text
    assert "What was changed" not in done.links
    assert host.row(2)["status"] == "error"


# ---- one build


def test_a_build(stuck_host: tuple[Host, Browser]) -> None:
    _, browser = stuck_host
    page = browser.get("/1")
    assert page.find("title")[0].text == "Build 1"
    assert re.search(
        r"Running for \d+d \d+h on worker-7, no sign of life since 2023-11-14", page.text
    )
    assert [one.text for one in page.find("h2")] == [
        *("State", "Place", "Source", "People", "Other", "Changes"),
    ]
    members = {one.text for one in page.find("dt")}
    assert members == {*OCTOCAT} - {"id"}
    assert "Nobody has changed this build here." in page.text
    assert "Lost its worker…" in [one.text for one in page.find("button")]
    assert page.links["Edit"] == "/admin/builds/1/edit"


def test_a_finished_build_is_repaired_less_loudly(stuck_host: tuple[Host, Browser]) -> None:
    _, browser = stuck_host
    found = [browser.get(path).find("button", name="repair")[0].attributes for path in ("/1", "/5")]
    assert ["class" in one for one in found] == [False, True]


@pytest.mark.parametrize(
    "path", ["/7", "/7/edit", "/7/history", "/x", "/0", "/99999999999999999999"]
)
def test_no_such_build(browser: Browser, path: str) -> None:
    page = browser.get(path)
    assert page.status == 404
    assert "There is no such build." in page.text
    assert page.links["Back to the builds"] == "/admin/builds/"


def test_the_newest_changes_of_a_build(browser: Browser, kept: Host) -> None:
    for number in range(4):
        stored = browser.store(
            browser.edit(1, {"error": f"error {number}"}), reason=f"why {number}"
        )
    page = browser.follow(stored)
    newest = kept.recorded()[-1]["id"]  # a preview may use up an id
    assert f"Stored as revision {newest}. error error 2 →becomes error 3 Undo…" in page.text
    assert len(page.find("li", class_="revision")) == 3
    assert "why 3" in page.text
    assert "why 0" not in page.text
    everything = browser.get(page.links["All changes of this build"])
    assert len(everything.find("li", class_="revision")) == 4
    assert not browser.get("/1?stored=77").with_class("stored")
    assert not browser.get("/1?stored=x").with_class("stored")
    assert len(kept.recorded()) == 4


def test_the_preview_as_a_command(browser: Browser) -> None:
    preview = browser.edit(1, {"status": "error", "error": "it's lost"})
    [command] = preview.find("code")
    assert command.text == """flask build-admin set 1 status=error 'error=it'"'"'s lost'"""
    assert preview.find("th", scope="row")[0].text == "status"
    assert preview.find("td", class_="before")[0].text == "created"
    assert preview.find("td", class_="after")[0].text == "error"
    assert not browser.edit(1, {"title": "a\u202eb"}).find("code")


def test_no_change_by_get(browser: Browser) -> None:
    backs = {
        "/clean": "/",
        "/1/preview": "/1",
        "/1/change": "/1",
        "/1/undo": "/1",
        "/history/undo": "/history",
    }
    # By the address bar, or after a login.
    for path, back in backs.items():
        page = browser.get(path)
        assert page.status == 302
        assert page.response.headers["Location"] == f"/admin/builds{back}"


# ---- undo


def undo_of(browser: Browser, build_id: object = 1) -> Page:
    return browser.submit(browser.get(f"/{build_id}/history").form("/undo"))


def test_an_undo_is_seen_before_it_is_stored(browser: Browser, kept: Host) -> None:
    browser.store(browser.edit(1, {"status": "error"}))
    preview = undo_of(browser)
    assert "Nothing is stored yet. This would be restored:" in preview.text
    assert "statuserrorcreated" in preview.text
    assert "the status is final, but finished is 0" in preview.text
    assert kept.row()["status"] == "error"
    stored = browser.submit(preview.form("/undo"), {"reason": "a mistake"}, "Undo")
    newest = kept.recorded()[-1]["id"]  # a preview may use up an id
    assert f"Stored as revision {newest}." in browser.follow(stored).text
    assert kept.row()["status"] == "created"
    assert kept.recorded()[1]["reason"] == "a mistake"
    # Sent twice, it is stored once.
    again = browser.submit(preview.form("/undo"), {}, "Undo")
    assert again.status in (200, 409)
    assert len(kept.recorded()) == 2


def test_an_undo_of_what_was_changed_meanwhile(browser: Browser, kept: Host) -> None:
    browser.store(browser.edit(1, {"status": "error"}))
    preview = undo_of(browser)
    kept.execute("UPDATE builds SET title = 'other' WHERE id = 1")
    again = browser.submit(preview.form("/undo"), {"reason": "a mistake"})
    assert again.status == 200
    assert "The build was changed meanwhile. Look at the undo once more." in again.text
    assert again.form("/undo")["reason"].value == "a mistake"
    assert kept.row()["status"] == "error"
    assert browser.submit(again.form("/undo")).status == 303
    assert kept.row()["status"] == "created"
    assert kept.row()["title"] == "other"


def test_an_undo_that_others_forbid(browser: Browser, kept: Host) -> None:
    browser.store(browser.edit(1, {"status": "error"}))
    preview = undo_of(browser)
    kept.execute("UPDATE builds SET status = 'killed' WHERE id = 1")
    for page in (undo_of(browser), browser.submit(preview.form("/undo"), {"reason": "typed"})):
        assert page.status == 409
        assert "Changed since that revision: status." in page.text
    assert "Your reason: typed" in page.text


def test_an_undo_of_what_is_undone(browser: Browser, kept: Host) -> None:
    browser.store(browser.edit(1, {"status": "error"}))
    kept.execute("UPDATE builds SET status = 'created' WHERE id = 1")
    page = browser.post("/1/undo", [("revision", str(kept.recorded()[0]["id"]))])
    assert page.status in (200, 409)
    assert not page.find("input", name="seen")


@pytest.mark.parametrize("revision", ["", "7", "x", "-1", "٣", "9" * 30])
def test_no_such_revision(browser: Browser, revision: str) -> None:
    page = browser.post("/1/undo", [("revision", revision)])
    assert page.status == 404
    assert "The build has no such revision." in page.text
    assert browser.post("/1/undo").status == 404


def test_an_undo_needs_a_reason_and_may_be_forced(paged: Paged) -> None:
    host, browser = paged(require_reason=True, refuse_warnings=True, rows=[stuck(1, finished=1)])
    stored = browser.store(browser.edit(1, {"finished": "zero"}), reason="r")
    assert stored.status == 303
    preview = undo_of(browser)
    refused = browser.submit(preview.form("/undo"), {})
    assert refused.status == 400
    assert "reason: missing" in refused.text
    refused = browser.submit(refused.form("/undo"), {"reason": "typed"})
    assert refused.status == 400
    assert "Refused, unless you force it" in refused.text
    assert refused.form("/undo")["reason"].value == "typed"
    assert browser.submit(refused.form("/undo"), {"force": "true"}).status == 303
    assert host.row()["finished"] == 1


def test_a_preview_has_the_reason_that_is_typed(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1)])
    seen = []

    def receive(sender: Any, reason: str | None, **_: Any) -> None:
        seen.append(reason)

    with build_updating.connected_to(receive, host.app):
        preview = browser.edit(1, {"status": "error"})
        again = browser.submit(preview.form("/change"), {"reason": "it hung"}, "Change something")
        preview = browser.submit(again.form("/preview"))
        assert browser.submit(preview.form("/change")).status == 303
    assert seen == ["preview", "it hung", "it hung"]


# ---- many builds


def test_a_clean_of_the_selected(stuck_host: tuple[Host, Browser]) -> None:
    host, browser = stuck_host
    form = browser.get("/?status=running").form("/clean")
    entries = [*form.entries({}, None), ("build", "1"), ("build", "4")]
    entries = [one for one in entries if one != ("build", "3")]
    preview = browser.post("/clean", entries)
    assert "Clean 2 builds" in preview.text
    assert "This would change: build 1 status running →becomes error" in preview.text
    assert "error empty →becomes build cleaned by platform admin" in preview.text
    assert host.row()["status"] == "running"
    form = preview.form("/clean")
    assert form["filter.status"].value == "running"
    assert form["message"].value == "build cleaned by platform admin"
    done = browser.submit(form, {"message": "gone", "reason": "worker-7"}, "Clean")
    assert [host.row(n)["status"] for n in (1, 2, 3, 4)] == ["error", "pending", "running", "error"]
    assert host.row()["error"] == "gone"
    listed = browser.follow(done)
    assert len(listed.find("li", class_="revision")) == 2
    assert {one["reason"] for one in host.recorded()} == {"worker-7"}
    # Sent twice, it is stored once.
    assert "0 builds changed" in browser.submit(form, {}, "Clean").text
    assert len(host.recorded()) == 2


def test_a_clean_of_all_that_match(stuck_host: tuple[Host, Browser]) -> None:
    host, browser = stuck_host
    page = browser.get("/?host=worker-7&idle=1h&below=2")
    preview = browser.submit(page.form("/clean"), {}, "Clean all that match")
    assert "Clean 1 build" in preview.text
    names = {one.name: one.value for one in preview.form("/clean").controls}
    assert names["filter.host"] == "worker-7"
    assert names["filter.idle"] == "1h"
    assert "filter.below" not in names
    # Another worker takes it, meanwhile.
    host.execute("UPDATE builds SET host = 'worker-9' WHERE id = 1")
    done = browser.submit(preview.form("/clean"), {}, "Clean")
    assert "0 builds changed" in done.text
    assert host.row()["status"] == "running"


def test_nothing_is_selected(stuck_host: tuple[Host, Browser]) -> None:
    _, browser = stuck_host
    page = browser.submit(browser.get("/").form("/clean"), {}, "Clean the selected")
    assert page.status == 200
    assert "Select at least one unfinished build." in page.text
    assert not page.find("button", name="store")


def test_a_thousand_builds_are_cleaned_at_once(paged: Paged) -> None:
    host, browser = paged(rows=[])
    with host.engine.begin() as connection:
        connection.execute(sa.insert(host.model), [stuck(n) for n in range(1, 1006)])
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    assert "Clean 1000 builds" in preview.text
    assert "These are the oldest. Clean the others afterwards." in preview.text
    done = browser.submit(preview.form("/clean"), {"reason": "because"}, "Clean")
    assert done.status == 303, done
    assert host.blueprint.store.count_unfinished(["status"], 9) == {"status": [("running", 5)]}


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ({"message": "\0", "reason": "typed"}, "error: holds U+0000"),
        ({"reason": "x" * 1001, "message": "typed"}, "reason: longer than 1000 characters"),
        ({"reason": " ", "message": "typed"}, "reason: missing"),
    ],
)
def test_a_clean_that_is_refused_keeps_everything(
    paged: Paged, edits: dict[str, str], problem: str
) -> None:
    class Schema(BuildSchema):
        error = Text(validate=[])

    host, browser = paged(rows=[stuck(1), stuck(2)], require_reason=True, schema=Schema)
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    refused = browser.submit(preview.form("/clean"), edits, "Clean")
    assert refused.status == 400
    assert problem in refused.text
    form = refused.form("/clean")
    assert [*json.loads(form["seen"].value)] == ["1", "2"]
    for name, text in edits.items():
        assert form[name].value == text.replace("\0", "\ufffd")
    assert browser.submit(form, {"reason": "ok", "message": "ok"}, "Clean").status == 303
    assert host.row(2)["error"] == "ok"


def test_a_clean_of_some_that_fails_for_others(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1), stuck(2)])
    host.execute(
        "CREATE TRIGGER no BEFORE UPDATE ON builds WHEN old.id = 2"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    assert "Clean 1 build" in preview.text
    assert "1 cannot be changed build 2: refused by the database" in preview.text
    host.execute("DROP TRIGGER no")
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    host.execute(
        "CREATE TRIGGER no BEFORE UPDATE ON builds WHEN old.id = 2"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    done = browser.submit(preview.form("/clean"), {}, "Clean")
    assert done.status == 200
    assert "1 build changed 1 cannot be changed build 2: refused by the database" in done.text
    batch = browser.get(done.links["What was changed"])
    assert len(batch.find("li", class_="revision")) == 1
    assert host.row()["status"] == "error"


def test_what_the_host_refuses_is_forced_for_many_builds(paged: Paged) -> None:
    rows = [stuck(1), stuck(2, started=4_000_000_000)]
    host, browser = paged(rows=rows, refuse_warnings=True)
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    assert "finished is before started" in preview.text
    refused = browser.submit(preview.form("/clean"), {}, "Clean")
    assert (
        "1 build changed 1 cannot be changed build 2: Refused, unless you force it" in refused.text
    )
    assert (host.row(1)["status"], host.row(2)["status"]) == ("error", "running")
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    done = browser.submit(preview.form("/clean"), {"force": "true"}, "Clean")
    assert (done.status, host.row(2)["status"]) == (303, "error")
    host.execute("UPDATE builds SET created = 4000000000 WHERE id = 2")
    undo = browser.submit(browser.follow(done).form("/history/undo"))
    assert "started is before created" in undo.text or "in the future" in undo.text
    undone = browser.submit(undo.form("/history/undo"), {"force": "true"}, "Undo them")
    assert (undone.status, host.row(2)["status"]) == (303, "running")


def test_nothing_is_to_be_forced_where_nothing_is_refused(paged: Paged) -> None:
    _, browser = paged(rows=[stuck(1, started=4_000_000_000)])
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    assert "finished is before started" in preview.text
    assert not preview.find("input", name="force")


def test_a_clean_of_builds_without_an_error(paged: Paged) -> None:
    class Schema(BuildSchema):
        class Meta(BuildSchema.Meta):
            exclude = ("error",)

    model = model_of("error")
    host, browser = paged(
        model=model,
        schema=Schema,
        history=history_of(model),
        rows=[row_of("error", status="running")],
    )
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    assert not preview.find("input", name="message")
    assert browser.submit(preview.form("/clean"), {}, "Clean").status == 303
    assert host.blueprint.store.find("1").document["status"] == "error"


def test_no_such_filter_and_no_such_build(paged: Paged) -> None:
    _, browser = paged(rows=[stuck(1)])
    refused = browser.post("/clean", [("all", "1"), ("filter.repo_id", "x")])
    assert refused.status == 400
    assert "repo_id: not an integer" in refused.text
    assert browser.post("/clean", [("build", "x")]).status == 404
    assert "Select at least one" in browser.post("/clean", [("build", "77")]).text


def cleaned(browser: Browser) -> Page:
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    return browser.follow(browser.submit(preview.form("/clean"), {}, "Clean"))


def test_a_batch_is_undone(stuck_host: tuple[Host, Browser]) -> None:
    host, browser = stuck_host
    listed = cleaned(browser)
    preview = browser.submit(listed.form("/history/undo"), {}, "Undo the batch")
    assert "Undo 4 changes of a batch" in preview.text
    assert host.row()["status"] == "error"
    done = browser.submit(preview.form("/history/undo"), {"reason": "a mistake"}, "Undo them")
    assert done.status == 303
    assert [host.row(n)["status"] for n in (1, 2, 3, 4)] == [
        "running",
        "pending",
        "running",
        "running",
    ]
    assert len(browser.follow(done).find("li", class_="revision")) == 4
    assert host.recorded()[-1]["reason"] == "a mistake"


def test_a_batch_that_does_not_stand(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1), stuck(2)])
    listed = cleaned(browser)
    host.execute("UPDATE builds SET status = 'killed' WHERE id = 2")
    preview = browser.submit(listed.form("/history/undo"))
    assert "Undo 1 change of a batch" in preview.text
    assert "build 2: Changed since that revision: status." in preview.text
    done = browser.submit(preview.form("/history/undo"))
    assert done.status == 200
    assert "1 build changed" in done.text
    host.execute("DELETE FROM builds")
    nothing = browser.submit(listed.form("/history/undo"))
    assert "Undo 0 changes" in nothing.text
    assert not nothing.find("button", name="store")


def test_an_undo_of_a_batch_needs_a_reason(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1)], require_reason=True)
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")
    listed = browser.follow(browser.submit(preview.form("/clean"), {"reason": "r"}, "Clean"))
    undo = browser.submit(listed.form("/history/undo"))
    refused = browser.submit(undo.form("/history/undo"), {}, "Undo them")
    assert refused.status == 400
    assert "reason: missing" in refused.text
    assert browser.submit(refused.form("/history/undo"), {"reason": "r"}, "Undo").status == 303
    assert host.row()["status"] == "running"


@pytest.mark.parametrize("entries", [[], [("batch", "unknown")], [("batch", "x"), ("store", "1")]])
def test_no_such_batch(browser: Browser, entries: list[tuple[str, str]]) -> None:
    page = browser.post("/history/undo", entries)
    assert page.status == 404
    assert "There is no such batch." in page.text


def test_a_batch_that_the_database_ends(paged: Paged, monkeypatch: pytest.MonkeyPatch) -> None:
    host, browser = paged(rows=[stuck(n) for n in range(1, 7)])
    preview = browser.submit(browser.get("/").form("/clean"), {}, "Clean all")

    def fail(*args: Any) -> Any:
        raise DatabaseUnavailable

    monkeypatch.setattr(host.blueprint.store, "_change_all", fail)
    done = browser.submit(preview.form("/clean"), {}, "Clean")
    assert "0 builds changed 3 cannot be changed" in done.text
    assert "The others were not tried: the database cannot answer now." in done.text


# ---- history


def test_the_history_of_a_build(browser: Browser, kept: Host) -> None:
    assert "There are no such changes." in browser.get("/1/history").text
    browser.store(browser.edit(1, {"status": "error"}), reason="first")
    kept.execute("UPDATE builds SET status = 'killed' WHERE id = 1")
    browser.store(browser.edit(1, {"error": "second"}))
    page = browser.get("/1/history")
    assert page.find("h1")[0].text == "Changes of build 1"
    newest, oldest = page.find("li", class_="revision")
    first, second = (one["id"] for one in kept.recorded())
    assert f"mona revision {second} error empty →becomes second" in newest.text
    assert "Then, outside these pages: status error →becomes killed" in oldest.text
    assert f"mona first revision {first} status created →becomes error" in oldest.text
    assert [one.action for one in page.forms if one.method == "post"] == [
        "/admin/builds/1/undo"
    ] * 2


def test_the_history_has_pages(paged: Paged) -> None:
    _, browser = paged()
    for number in range(21):
        assert browser.store(browser.edit(1, {"error": f"e{number}"})).status == 303
    for path, query in (("/1/history", ""), ("/history", "?actor=mona")):
        page = browser.get(f"{path}{query}")
        assert len(page.find("li", class_="revision")) == 20
        following = browser.get(path + page.links["Older changes"])
        assert len(following.find("li", class_="revision")) == 1
        assert "Older changes" not in following.links
        assert query.strip("?") in following.url
    assert len(browser.get("/1/history?below=x").find("li", class_="revision")) == 20


def test_the_changes_of_all_builds(make_host: Callable[..., Host], database_url: str) -> None:
    names: Iterator[str | None] = iter([])
    host = make_host(database_url, rows=[stuck(1), stuck(2)], history=BuildRevision)
    browser = browse(host, actor=lambda: next(names))
    for build_id in (1, 2, 1):
        # A preview asks who it is, too.
        names = iter([None, ["mona", "hubot", None][len(host.recorded())]])
        assert (
            browser.store(browser.edit(build_id, {"error": f"x{len(host.recorded())}"})).status
            == 303
        )
    page = browser.get("/history")
    assert page.find("title")[0].text == "Changes"
    assert len(page.find("li", class_="revision")) == 3
    assert "somebody" in page.text
    found = {
        "?build_id=2": 1,
        "?build_id=x": 0,
        "?build_id=7": 0,
        "?actor=hubot": 1,
        "?batch=x": 0,
        "?after=2020-01-01T00:00:00Z": 3,
        "?after=2999-01-01T00:00:00Z": 0,
        "?before=1000": 0,
        f"?below={host.recorded()[-1]['id']}": 2,
        "?after=1&before=99999999999": 3,
        "?after=999999999999999999": 0,
        "?before=999999999999999999": 3,
        "?after=0001-01-01T00:00:00Z": 3,
        "?before=0001-01-01T00:00:00Z": 0,
    }
    for query, count in found.items():
        listed = browser.get(f"/history{query}")
        assert listed.status == 200, query
        assert len(listed.find("li", class_="revision")) == count, query
    [form] = [
        one
        for one in browser.get("/history?actor=hubot").forms
        if any(control.name == "actor" for control in one.controls)
    ]
    assert form["actor"].value == "hubot"
    host.execute("DELETE FROM builds WHERE id = 2")
    assert len(browser.get("/history?build_id=2").find("li", class_="revision")) == 1


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("after=yesterday", "after: no time: pass seconds since 1970"),
        ("before=2026-11-28T03:00:00", "before: has no zone: add Z"),
    ],
)
def test_a_time_that_is_none_is_kept(browser: Browser, query: str, sentence: str) -> None:
    page = browser.get(f"/history?{query}")
    assert page.status == 400
    assert sentence in page.text
    assert "There are no such changes." not in page.text
    name, text = query.split("=")
    [form] = [one for one in page.forms if any(c.name == name for c in one.controls)]
    assert form[name].value == text


def test_repairs_that_did_not_hold(browser: Browser, kept: Host) -> None:
    assert "All of them still stand." in browser.get("/history?overwritten=1").text
    browser.store(browser.edit(1, {"status": "error"}))
    kept.execute("UPDATE builds SET status = 'running' WHERE id = 1")
    page = browser.get(browser.get("/").links["Repairs that did not hold"])
    assert page.find("h1")[0].text == "Repairs that did not hold"
    assert "Overwritten: status error →becomes running" in page.text
    [here] = page.find("a", **{"aria-current": "page"})
    assert here.text == "Repairs that did not hold"
    kept.execute("UPDATE build_revisions SET at = '2020-01-01 00:00:00'")
    assert "All of them still stand." in browser.get("/history?overwritten=1").text
    assert "Overwritten" in browser.get("/history?overwritten=1&after=1").text


# ---- hosts


def test_another_prefix_and_two_registrations(paged: Paged) -> None:
    host, browser = paged({"url_prefix": "/ops"}, rows=[stuck(1)])
    assert browser.prefix == "/ops"
    second = BuildPages(host.blueprint, anybody, name="second", url_prefix="/other")
    host.app.register_blueprint(second)
    host.app.register_blueprint(second, name="third", url_prefix="/third")
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(BuildPages(host.blueprint, anybody))
    host.app.register_blueprint(outer)
    for prefix in ("/ops", "/other", "/third", "/outer/admin/builds"):
        one = Browser(host.app.test_client(), prefix)
        page = one.get("/1")
        assert page.status == 200
        assert page.links["Unfinished builds"] == f"{prefix}/"
        assert page.links["Edit"] == f"{prefix}/1/edit"
        preview = one.edit(1, {"error": prefix})
        assert preview.form("/change").action == f"{prefix}/1/change"
        assert one.store(preview).location.startswith(f"{prefix}/1?stored=")
        assert one.get("/static/pages.css").status == 200
    assert len(host.recorded()) == 4


def test_a_blueprint_that_is_not_registered(host: Host) -> None:
    app = Flask("other")
    app.register_blueprint(BuildPages(host.blueprint, anybody))
    browser = Browser(app.test_client())
    assert browser.store(browser.edit(1, {"status": "error"})).status == 303
    assert host.row()["status"] == "error"


def test_who_it_is(paged: Paged) -> None:
    for actor, name in ((None, "mona"), (lambda: "hubot", "hubot")):
        host, browser = paged({"actor": actor})
        browser.store(browser.edit(1, {"status": "error"}))
        assert host.recorded()[0]["actor"] == name


def test_the_base_template_of_the_host_wins(paged: Paged) -> None:
    base = (
        "<html><head><title>CI: {% block title %}{% endblock %}</title>"
        "{% block head %}{% endblock %}</head><body>"
        "<b class=ours>{% block nav %}{% endblock %}</b>{% block content %}{% endblock %}"
    )

    def theme(app: Flask) -> None:
        app.jinja_loader = DictLoader({"build_pages/base.html": base})

    _, browser = paged(configure=theme)
    page = browser.get("/1")
    assert page.find("title")[0].text == "CI: Build 1"
    assert "Unfinished builds" in page.find("b", class_="ours")[0].text
    assert page.find("link", rel="stylesheet")


def test_static_files(browser: Browser) -> None:
    for name, kind in (("pages.css", "text/css"), ("icon.svg", "image/svg+xml")):
        answer = browser.get(f"/static/{name}").response
        assert answer.status_code == 200
        assert answer.mimetype == kind
    assert browser.get("/static/../views.py").status == 404
    assert browser.get("/static/nothing").status == 404
