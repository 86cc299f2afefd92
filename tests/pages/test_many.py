"""The pages that change many builds at once store what they have shown, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any

import pytest
from flask_wtf.csrf import CSRFProtect

from flask_build_admin import build_updating
from tests.pages.conftest import browse
from tests.support.browsers import Browser, Page
from tests.support.hosts import BuildRevision, Host, stuck

Paged = Callable[..., tuple[Host, Browser]]


def clean_all(browser: Browser) -> Page:
    return browser.submit(browser.get("/").form("/clean"), {}, "Clean all")


def test_a_build_that_is_no_longer_as_it_was_shown_is_left_alone(
    make_host: Callable[..., Host], database_url: str
) -> None:
    host = make_host(database_url, rows=[stuck(1), stuck(2)], history=BuildRevision)
    browser = browse(host)
    preview = clean_all(browser)
    host.execute("UPDATE builds SET started = 2000000000, host = 'worker-9' WHERE id = 1")
    done = browser.submit(preview.form("/clean"), {}, "Clean")
    assert "1 build changed" in done.text
    assert "build 1: Changed since it was shown: look at it again." in done.text
    assert [host.row(number)["status"] for number in (1, 2)] == ["running", "error"]


def test_a_clean_shows_what_it_changes(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1, error="OOM in step 3: keep me")])

    def receive(sender: Any, build: Any, **_: Any) -> None:
        build.host = "wiped"

    with build_updating.connected_to(receive, host.app):
        preview = clean_all(browser)
        assert "error OOM in step 3: keep me →becomes build cleaned" in preview.text
        assert "host company.localhost →becomes wiped" in preview.text
        form = preview.form("/clean")
        assert abs(int(form["finished"].value) - time()) < 60
        # The end is that of the preview, however long one looks at it.
        assert browser.submit(form, {"finished": "1700009999"}, "Clean").status == 303
    assert (host.row()["host"], host.row()["finished"]) == ("wiped", 1_700_009_999)


@pytest.mark.parametrize("seen", ["", "[", "[]", "1", '"x"', "[" * 100_000])
def test_a_broken_list_of_builds_is_refused(paged: Paged, seen: str) -> None:
    host, browser = paged(rows=[stuck(1)])
    page = browser.post("/clean", [("seen", seen)])
    assert page.status == 400
    assert "The form is not whole: select the builds again." in page.text
    assert host.recorded() == []


@pytest.mark.parametrize("seen", ['{"1": 5}', '{"1": "x"}', '{"1": null}', '{"77": "x"}', "{}"])
def test_a_forged_list_of_builds_changes_nothing(paged: Paged, seen: str) -> None:
    host, browser = paged(rows=[stuck(1)])
    assert browser.post("/clean", [("seen", seen), ("finished", "x")]).status == 200
    assert host.recorded() == []


def test_a_thousand_builds_are_few_fields(paged: Paged) -> None:
    """An extension that reads the form first has Flask's own limits."""

    def protect(app: Any) -> None:
        app.secret_key = "s"
        CSRFProtect(app)

    rows = [stuck(number) for number in range(1, 1001)]
    host, browser = paged(rows=rows, configure=protect)
    preview = clean_all(browser)
    assert "Clean 1000 builds" in preview.text
    assert browser.submit(preview.form("/clean"), {}, "Clean").status == 303
    assert host.row(1000)["status"] == "error"


def test_a_database_that_is_locked_is_no_empty_selection(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1)])
    host.execute("CREATE TRIGGER no BEFORE UPDATE ON builds BEGIN SELECT RAISE(ABORT, 'no'); END")
    page = clean_all(browser)
    assert "build 1: refused by the database" in page.text
    assert "Select at least one" not in page.text
