"""All pages, and the states that they can be in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.chromium import Site
from tests.support.hosts import OCTOCAT, stuck

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: The build that is looked at. The others are there to be listed.
BUILD = 2

ROWS = [OCTOCAT, *(stuck(number, host="worker-7" if number % 2 else "") for number in (2, 3, 4))]


PAYLOAD = (
    "</textarea></title></script>\"><img class=xss src=x onerror=alert(1)>'><svg class=xss onload="
    "alert(2)><script class=xss>alert(3)</script><a class=xss href=javascript:alert(4)>{{ 7*7 }}"
    "<form class=xss><base class=xss href=//example.com/>" + "long" * 60
)

#: What a payload must not become.
ELEMENTS = ".xss, script:not([src$='/pages.js']), form:not([action]), base, img"


def hostile(row: dict[str, Any]) -> dict[str, Any]:
    """Put the payload into every text, but for what brings the build into the queue."""
    left = {
        name: PAYLOAD
        for name, value in OCTOCAT.items()
        if isinstance(value, str) and name not in ("status", "error")
    }
    return row | left | {"clone": "javascript:alert(5)", "source": f"https://x/{PAYLOAD}"}


def press(page: Page, name: str) -> None:
    """Press the first button whose name begins so."""
    page.locator("main button", has_text=name).first.click()


def at(path: str) -> Callable[[Page, Site], None]:
    def go(page: Page, site: Site) -> None:
        page.goto(site.url(path))

    return go


def edit(page: Page, site: Site, **members: str) -> None:
    """Open the form, and type into it."""
    page.goto(site.url(f"/{BUILD}/edit"))
    for name, text in members.items():
        page.fill(f"[name='member.{name}']", text)


def errors(page: Page, site: Site) -> None:
    edit(page, site, **{"finished.at": "yesterday", "started.at": "1"})
    page.click("summary")
    page.fill("[name='member.number']", "many")
    press(page, "Preview")


def preview(page: Page, site: Site) -> None:
    edit(page, site, **{"status": "error", "error": "worker lost", "finished.at": "1700007200"})
    press(page, "Preview")


def warned(page: Page, site: Site) -> None:
    edit(
        page, site, **{"status": "success", "started.at": "1700000000", "finished.at": "1600000000"}
    )
    press(page, "Preview")


def refused(page: Page, site: Site) -> None:
    """Store what is refused unless it is forced: the preview once more, with the checkbox."""
    warned(page, site)
    press(page, "Store")


def conflict(page: Page, site: Site) -> None:
    edit(page, site, status="error", error="worker lost")
    site.host.execute(f"UPDATE builds SET status = 'killed', number = 9 WHERE id = {BUILD}")
    press(page, "Preview")


def carried(page: Page, site: Site) -> None:
    edit(page, site, error="worker lost")
    site.host.execute(f"UPDATE builds SET number = 9 WHERE id = {BUILD}")
    press(page, "Preview")


def stored(page: Page, site: Site) -> None:
    preview(page, site)
    page.fill("#reason", "it hung")
    press(page, "Store")


def undo(page: Page, site: Site) -> None:
    stored(page, site)
    press(page, "Undo")


def clean(page: Page, site: Site) -> None:
    page.goto(site.url())
    for box in page.locator("[name=build]").all():
        box.check()
    press(page, "Clean the selected")


def batch(page: Page, site: Site) -> None:
    clean(page, site)
    press(page, "Clean")


def undo_batch(page: Page, site: Site) -> None:
    batch(page, site)
    press(page, "Undo the batch")


def history(page: Page, site: Site) -> None:
    stored(page, site)
    site.host.execute(f"UPDATE builds SET status = 'killed' WHERE id = {BUILD}")
    page.goto(site.url(f"/{BUILD}/history"))


def overwritten(page: Page, site: Site) -> None:
    history(page, site)
    page.goto(site.url("/history?overwritten=1"))


def gone(page: Page, site: Site) -> None:
    """Store a change of a build that was deleted meanwhile."""
    preview(page, site)
    site.host.execute(f"DELETE FROM builds WHERE id = {BUILD}")
    press(page, "Store")


class State(NamedTuple):
    """A page in a state."""

    enter: Callable[[Any, Site], None]
    #: A text that only this state has.
    text: str


STATES = {
    "queue": State(at("/"), "Clean all that match"),
    "no such build in the queue": State(at("/?host=nowhere"), "No such builds"),
    "build": State(at(f"/{BUILD}"), "Nobody has changed this build here"),
    "edit": State(edit, "All other members"),
    "errors": State(errors, "This cannot be stored"),
    "preview": State(preview, "Nothing is stored yet. 3 members would change"),
    "warned": State(warned, "before"),
    "refused": State(refused, "Store it all the same"),
    "conflict": State(conflict, "Changed meanwhile"),
    "carried over": State(carried, "Your edit is carried over"),
    "stored": State(stored, "Stored as revision"),
    "undo": State(undo, "This would be restored"),
    "clean": State(clean, "Their error"),
    "batch": State(batch, "Undo the batch"),
    "undo of a batch": State(undo_batch, "Undo 3 changes of a batch"),
    "history": State(history, "Then, outside these pages"),
    "overwritten": State(overwritten, "Overwritten:"),
    "gone": State(gone, "This is what you wanted to change"),
    "error": State(at("/4711"), "This cannot be done"),
}


def enter(state: str, page: Page, site: Site) -> None:
    """Bring a page into a state."""
    STATES[state].enter(page, site)
    page.get_by_text(STATES[state].text).first.wait_for()
