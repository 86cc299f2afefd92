"""One Chromium for all tests, and hosts with the pages that it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_build_admin import BuildPages
from tests.browser.states import PAYLOAD, ROWS, hostile
from tests.support.chromium import PATIENCE, Site, Visit, Watch, launched, served
from tests.support.hosts import BuildRevision, Host, anybody

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, launched(playwright.chromium) as browser:
        yield browser


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], int]]:
    """Serve apps until all that looks at them is closed, and return their ports."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(served(app))


@pytest.fixture
def make_site(
    make_host: Callable[..., Host], serve: Callable[[Flask], int], sqlite_url: str
) -> Callable[..., Site]:
    """Serve a host that keeps history, with the pages on it.

    :param pages: options of ``BuildPages``.
    """

    def make(pages: dict[str, Any] | None = None, url: str = sqlite_url, **options: Any) -> Site:
        host = make_host(url, **{"history": BuildRevision, "actor": lambda: "mona"} | options)
        host.app.register_blueprint(BuildPages(host.blueprint, **{"auth": anybody} | (pages or {})))
        return Site(host, serve(host.app))

    return make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A host with the octocat build."""
    return make_site()


@pytest.fixture
def visit(chromium: Browser, serve: Callable[[Flask], int]) -> Iterator[Visit]:
    """Open pages, each in a context of its own.

    A dialog, a line in the console or a request to another origin fails the test. The contexts are
    closed before the servers: a page may still be loading.
    """
    watch = Watch()
    contexts: list[Any] = []

    def visit(site: Site, path: str = "", *, name: str = "localhost", **options: Any) -> Any:
        context = chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        watch.origins.add(f"http://{name}:{site.port}")
        watch.over(context)
        page = context.new_page()
        if path:
            page.goto(site.url(path, name))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert watch.found == []


@pytest.fixture
def hostile_site(make_site: Callable[..., Site], request: pytest.FixtureRequest) -> Site:
    """A host on which every text wants to run."""
    site = make_site(
        {"repairs": {PAYLOAD: {"error": PAYLOAD, "finished": "now"}}},
        rows=[hostile(row) for row in ROWS],
        actor=lambda: PAYLOAD,
        refuse_warnings="refused" in request.node.name,
    )
    # SQLite stores a text in a column of numbers, too.
    for name in ("repo_id", "parent", "enqueued"):
        site.host.execute(f"UPDATE builds SET {name} = :text WHERE id = 4", text=PAYLOAD)
    return site
