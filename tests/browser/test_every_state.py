"""What holds on every page, in every state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.states import ELEMENTS, STATES, enter
from tests.support.chromium import Site, Visit, inline

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

#: Text that a reader sees: what is displayed of the content, in its order.
SEEN = "() => document.querySelector('main').innerText.replace(/\\s+/g, ' ')"

#: What is cut off, and cannot be scrolled to on paper.
CUT = """() => [...document.querySelectorAll('main *')].filter(one =>
    one.checkVisibility() && getComputedStyle(one).overflow != 'visible'
    && !one.matches('.hidden, svg, select, option, input, textarea')
    && (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1)
).map(one => one.outerHTML.slice(0, 200))"""

#: What can be pressed, and is too small. A label is pressed for its control.
SMALL = """() => [
    ...document.querySelectorAll('a, button, input, select, textarea, summary')
].filter(one => {
        if (one.type == 'hidden' || !one.checkVisibility() || one.matches('.skip')) return false;
        const label = ['checkbox', 'radio'].includes(one.type) && one.closest('label');
        const box = (label || one).getBoundingClientRect();
        return box.width < 24 || box.height < 24;
}).map(one => `${Math.round(one.getBoundingClientRect().width)} x `
    + `${Math.round(one.getBoundingClientRect().height)} ${one.outerHTML.slice(0, 200)}`)"""

#: Lines and points that have the colour of the paper, and what keeps its colours by force.
LOST = """() => [...document.querySelectorAll('main *')].filter(one => {
    const style = getComputedStyle(one);
    if (!one.matches('line, circle, text')) return style.forcedColorAdjust == 'none';
    const paper = getComputedStyle(document.querySelector('main')).backgroundColor;
    return (one.localName == 'line' ? style.stroke : style.fill) == paper;
}).map(one => one.outerHTML)"""

WIDTH = "() => document.documentElement.scrollWidth"


@pytest.fixture(scope="session")
def axe() -> str:
    import axe_playwright_python

    return Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()


def violations(page: Page, *rules: str) -> list[str]:
    """Run axe-core, all of it or these rules."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": [*rules]}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("state", STATES)
def test_everybody_can_read_it_and_nothing_runs(
    hostile_site: Site, visit: Visit, axe: str, state: str
) -> None:
    page = visit(hostile_site)
    enter(state, page, hostile_site)
    assert inline(page) == []
    assert page.locator(ELEMENTS).count() == 0
    seen = page.evaluate(SEEN)
    page.emulate_media(forced_colors="active")
    assert page.evaluate(LOST) == []
    assert page.evaluate(SEEN) == seen
    page.emulate_media(forced_colors="none", media="print")
    assert page.evaluate(CUT) == []
    page.emulate_media(media="screen")
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(WIDTH) == width
        assert page.evaluate(SMALL) == []
    page.set_viewport_size({"width": 1280, "height": 800})
    page.evaluate(axe)
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
