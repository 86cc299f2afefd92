"""The pictures in docs/: made here, of a night on which a worker has died.

``SCREENSHOTS=docs/pages .venv/bin/pytest -m browser tests/browser/test_screenshots.py`` makes them
again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from example_app import samples
from tests.browser.states import press
from tests.support.chromium import Site, Visit
from tests.support.hosts import OCTOCAT
from tests.support.pages import ROOT

pytestmark = pytest.mark.browser

NOW = int(datetime.fromisoformat("2026-11-28T03:12:00Z").timestamp())

#: Where the second of now is read.
CLOCKS = (
    "flask_build_admin.pages.controls",
    "flask_build_admin.pages.editing",
    "flask_build_admin.pages.listing",
    "flask_build_admin.pages.many",
    "flask_build_admin.pages.repairs",
    "flask_build_admin.store.warnings",
)

BYTES = 150_000

PICTURES = ("queue", "build", "preview", "conflict")


#: The build whose worker has died.
BUILD = 5


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_pictures(
    make_site: Callable[..., Site],
    visit: Visit,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    colours: str,
) -> None:
    for module in CLOCKS:
        monkeypatch.setattr(f"{module}.time", lambda: NOW)
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path)) if colours == "light" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    site = make_site(rows=[OCTOCAT | one for one in samples(NOW)])
    size = {"width": 1000, "height": 400}
    page = visit(site, "/", viewport=size, color_scheme=colours, timezone_id="UTC")

    def picture(name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        assert (folder / f"{name}.png").stat().st_size < BYTES

    picture("queue")
    page.click(f"td a:text-is('{BUILD}')")
    page.wait_for_url(f"**/{BUILD}")
    picture("build")
    press(page, "Lost its worker")
    page.get_by_text("Nothing is stored yet").wait_for()
    page.fill("#reason", "metal-2 does not answer")
    page.evaluate("document.activeElement.blur()")
    picture("preview")
    site.host.execute(
        f"UPDATE builds SET status = 'killed', finished = :now WHERE id = {BUILD}", now=NOW - 60
    )
    press(page, "Store")
    page.get_by_text("When you opened it").wait_for()
    page.evaluate("document.activeElement.blur()")
    picture("conflict")


def test_the_pictures_are_in_the_docs() -> None:
    for name in PICTURES:
        assert (ROOT / "docs" / "pages" / f"{name}.png").stat().st_size < BYTES
