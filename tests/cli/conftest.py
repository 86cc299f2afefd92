"""A host for the commands, and an environment that does not depend on who runs the tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.hosts import BuildRevision, Host


@pytest.fixture(autouse=True)
def no_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)


@pytest.fixture
def kept(make_host: Callable[..., Host], sqlite_url: str) -> Host:
    """A host that keeps history."""
    return make_host(sqlite_url, history=BuildRevision)
