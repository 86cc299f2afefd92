"""A whole repair: by keyboard, without JavaScript, and by people in a hurry."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from flask_build_admin import build_updating
from tests.browser.states import BUILD, ROWS, press, preview, stored
from tests.support.chromium import Site, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

#: What has the focus, and whether a reader sees it: all within the window, on top, and outlined.
FOCUSED = """() => {
    const one = document.activeElement;
    const style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    const inside = box.top >= 0 && box.left >= 0
        && box.bottom <= innerHeight && box.right <= innerWidth;
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return {
        text: (one.labels?.[0]?.innerText || one.innerText || one.name || one.localName).trim(),
        visible: inside && one.checkVisibility() && (one == top || one.contains(top))
            && style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 2,
    };
}"""


def tab_to(page: Page, text: str, key: str = "Tab") -> None:
    """Press Tab until what is called so has the focus, which is visible all the way."""
    for _ in range(60):
        page.keyboard.press(key)
        focused = page.evaluate(FOCUSED)
        assert focused["visible"], focused
        if focused["text"].startswith(text):
            return
    raise AssertionError(f"{text} cannot be reached")


def enter(page: Page, title: str) -> None:
    """Press Enter, and wait for the page that it leads to."""
    page.keyboard.press("Enter")
    page.wait_for_function("title => document.title.startsWith(title)", arg=title)


@pytest.mark.parametrize("forced_colors", ["none", "active"])
def test_by_keyboard_alone(
    make_site: Callable[..., Site], visit: Visit, forced_colors: str
) -> None:
    site = make_site(rows=ROWS)
    page = visit(site, "/", forced_colors=forced_colors)
    tab_to(page, "Skip to the content")
    page.keyboard.press("Enter")
    tab_to(page, f"{BUILD}")
    enter(page, f"Build {BUILD}")
    tab_to(page, "Edit")
    enter(page, "Edit")
    tab_to(page, "status")
    page.keyboard.type("error")
    tab_to(page, "started")
    page.keyboard.press("End")  # at …
    tab_to(page, "Preview")
    enter(page, "Error: Edit")
    # The summary has the focus; its first link leads to the field.
    tab_to(page, "started")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED)["text"] == "started"
    page.keyboard.press("Home")  # keep
    tab_to(page, "finished")
    page.keyboard.press("n")
    page.keyboard.press("o")
    page.keyboard.press("w")
    tab_to(page, "Preview")
    enter(page, "Preview")
    tab_to(page, "Reason")
    page.keyboard.type("it hung")
    tab_to(page, "Store")
    enter(page, f"Build {BUILD}")
    tab_to(page, "Undo")
    enter(page, "Undo")
    tab_to(page, "Undo")
    enter(page, f"Build {BUILD}")
    done, undone = site.changed()
    assert done.keys() == {"status", "finished"}
    assert undone == {"status": "running", "finished": 0}


def test_without_javascript(make_site: Callable[..., Site], visit: Visit) -> None:
    site = make_site(rows=ROWS)
    page = visit(site, "/", java_script_enabled=False)
    page.click(f"td >> text='{BUILD}'")
    page.click("text=Edit")
    page.fill("[name='member.status']", "error")
    page.fill("[name='member.started.at']", "yesterday")
    press(page, "Preview")
    page.click("#errors a")
    assert page.url.endswith("#field-started")
    page.fill("[name='member.started.at']", "")
    page.select_option("[name='member.finished']", "now")
    press(page, "Preview")
    page.fill("#reason", "it hung")
    press(page, "Store")
    press(page, "Undo")
    press(page, "Undo")
    page.get_by_text("Stored as revision 2").wait_for()
    done, undone = site.changed()
    assert done.keys() == {"status", "finished"}
    assert undone == {"status": "running", "finished": 0}


def test_the_errors_of_members_below_can_be_reached_without_javascript(
    site: Site, visit: Visit
) -> None:
    page = visit(site, "/1/edit", java_script_enabled=False)
    page.click("summary")
    page.fill("[name='member.number']", "many")
    press(page, "Preview")
    page.click("#errors a")
    assert page.locator("#field-number").is_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_double_click_stores_once(
    make_site: Callable[..., Site], visit: Visit, scripts: bool
) -> None:
    site = make_site(rows=ROWS)
    page = visit(site, java_script_enabled=scripts)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.method == "POST" else None)
    preview(page, site)
    with build_updating.connected_to(lambda sender, **values: time.sleep(0.3)):
        page.locator("main button", has_text="Store").dblclick()
        page.wait_for_url(f"**/{BUILD}?*")
    assert len(site.changed()) == 1
    if scripts:
        assert len([url for url in asked if url.endswith("/change")]) == 1


def test_back_and_resend_change_nothing_more(make_site: Callable[..., Site], visit: Visit) -> None:
    site = make_site(rows=ROWS)
    page = visit(site)
    stored(page, site)
    page.get_by_text("Stored as revision").wait_for()
    with pytest.raises(Exception, match="ERR_CACHE_MISS"):  # "Confirm form resubmission"
        page.go_back()
    page.wait_for_url("chrome-error://**")
    page.reload()  # resends the form of the edit
    page.get_by_text("already as you wanted").wait_for()
    assert len(site.changed()) == 1
    page.goto(site.url(f"/{BUILD}?stored=1"))
    page.reload()
    assert len(site.changed()) == 1


def test_a_preview_that_stays_open_stores_once(
    make_site: Callable[..., Site], visit: Visit
) -> None:
    """As after Back, where the browser keeps the page as it was."""
    site = make_site(rows=ROWS)
    page = visit(site)
    preview(page, site)
    resend = "form => { form.target = '_blank'; form.requestSubmit() }"
    for _ in range(2):
        with page.expect_popup() as popup:
            page.locator("form[data-once]").evaluate(resend)
        popup.value.wait_for_url(f"**/{BUILD}?*")
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    popup.value.get_by_text("already as you wanted").wait_for()
    assert len(site.changed()) == 1


def test_a_form_whose_sending_was_stopped_can_be_sent(
    make_site: Callable[..., Site], visit: Visit
) -> None:
    site = make_site(rows=ROWS)
    page = visit(site)
    preview(page, site)
    page.route("**/change", lambda route: route.abort("aborted"), times=1)
    with page.expect_event("requestfailed"):
        press(page, "Store")
    page.wait_for_timeout(2100)
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()


def test_a_form_that_was_open_for_two_hours_works(
    make_site: Callable[..., Site], visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(rows=ROWS)
    page = visit(site)
    page.clock.install()
    page.goto(site.url(f"/{BUILD}/edit"))
    page.fill("[name='member.status']", "error")
    later = time.time() + 7200
    for module in ("editing", "controls"):
        monkeypatch.setattr(f"flask_build_admin.pages.{module}.time", lambda: later)
    page.clock.fast_forward("02:00:00")
    page.select_option("[name='member.finished']", "now")
    press(page, "Preview")
    page.clock.fast_forward("02:00:00")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    assert site.changed() == [{"status": "error", "finished": int(later)}]
