"""UTC, the local time and the raw value agree, in zones where the clock changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.browser.states import press
from tests.support.chromium import Site, Visit
from tests.support.hosts import OCTOCAT

pytestmark = pytest.mark.browser


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


#: Around the changes of the clock in New York in 2026: in spring at 07:00Z, in autumn at 06:00Z,
#: and the hour that is there twice.
MOMENTS = [
    second(text)
    for text in (
        "2026-03-08T06:59:59Z",
        "2026-03-08T07:00:00Z",
        "2026-11-01T04:30:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:30:00Z",
    )
]

READ = """() => [...document.querySelectorAll('main dd')].filter(one => one.querySelector('time'))
    .map(one => [one.querySelector('time').dateTime, one.innerText])"""


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York", "UTC"])
def test_all_three_agree(make_site: Callable[..., Site], visit: Visit, zone: str) -> None:
    site = make_site(
        rows=[
            OCTOCAT | {"id": number, "number": number, "created": moment, "enqueued": 0}
            for number, moment in enumerate(MOMENTS, start=1)
        ]
    )
    page = visit(site, timezone_id=zone, locale="en-GB")
    for number, moment in enumerate(MOMENTS, start=1):
        page.goto(site.url(f"/{number}"))
        found, text = page.evaluate(READ)[0]
        utc = datetime.fromtimestamp(moment, UTC)
        assert datetime.fromisoformat(found) == utc
        assert text.startswith(f"{utc:%Y-%m-%d %H:%M:%SZ}")
        assert text.split()[-1] == str(moment)
        local = utc.astimezone(ZoneInfo(zone))
        there = f"{local.day} {local:%b %Y, %H:%M:%S}"
        if zone == "UTC":
            assert text.count(":") == 2
        else:
            offset = {20_700: "GMT+5:45", -14_400: "GMT-4", -18_000: "GMT-5"}
            seconds = int(local.utcoffset().total_seconds())  # type: ignore[union-attr]
            assert f"{there} {offset[seconds]}" in text


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_a_time_is_typed_with_its_zone(site: Site, visit: Visit, zone: str) -> None:
    """Nobody guesses which 01:30 is meant."""
    page = visit(site, "/1/edit", timezone_id=zone)
    page.fill("[name='member.finished.at']", "2026-11-01T01:30:00")
    press(page, "Preview")
    page.get_by_text("has no zone").first.wait_for()
    page.fill("[name='member.finished.at']", "2026-11-01T01:30:00-05:00")
    press(page, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    assert site.changed() == [{"finished": second("2026-11-01T06:30:00Z")}]
