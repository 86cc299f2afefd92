"""Hosts with the pages on them, and browsers that look at these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_build_admin import BuildPages
from tests.support.browsers import Browser
from tests.support.hosts import BuildRevision, Host, anybody


def browse(host: Host, **options: Any) -> Browser:
    """Register the pages on a host, and open a browser."""
    pages = BuildPages(host.blueprint, **{"auth": anybody} | options)
    host.app.register_blueprint(pages)
    return Browser(host.app.test_client(), pages.url_prefix or "")


@pytest.fixture
def browser(kept: Host) -> Browser:
    """A browser on a host that keeps history, on each database in turn."""
    return browse(kept)


@pytest.fixture
def paged(make_host: Callable[..., Host], sqlite_url: str) -> Callable[..., tuple[Host, Browser]]:
    """Make hosts with the pages, and a history unless it is None, on SQLite."""

    def make(pages: dict[str, Any] | None = None, **options: Any) -> tuple[Host, Browser]:
        options = {"history": BuildRevision, "actor": lambda: "mona"} | options
        host = make_host(sqlite_url, **options)
        return host, browse(host, **pages or {})

    return make
