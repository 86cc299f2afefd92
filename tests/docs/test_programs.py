"""The store of docs/programs.md, as a script of the host's uses it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from example_app import BuildRevision
from flask_build_admin import BuildStore, store
from tests.support.ci_servers import CiServer
from tests.support.hosts import OCTOCAT
from tests.support.pages import PAGES, from_page

PAGE = "docs/programs.md"
STUCK = OCTOCAT | {"status": "running"}


@from_page(PAGE, make="BuildStore(Build", job="def clean_up")
def test_a_job_cleans_up(
    server: CiServer, make: str, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.own(BuildRevision=BuildRevision)
    server.db.init_app(server.app)
    made: Any = server.run(make)["store"]
    server.own(store=made)
    server.fill(**STUCK)
    batch = server.run(job)["batch"]
    with server.app.app_context():
        assert made.find("1").document["status"] == "error"
        [revision] = made.revisions(batch=batch)
        assert (revision.actor, revision.reason) == ("cron", "idle for 6 hours")
        assert made.undo_batch(batch).failed == []
        assert made.find("1").document == STUCK
    assert capsys.readouterr().out == ""


def test_every_method_and_class_of_the_page_is_there() -> None:
    methods = re.findall(r"^\| `(\w+)\(", PAGES[PAGE], re.MULTILINE)
    reads, changes = ["find", "queue", "warnings_of"], ["overwrite", "update", "set", "clean"]
    of_history = ["undo", "undo_batch", "revisions", "prune"]
    assert sorted(methods) == sorted([*reads, *changes, *of_history])
    assert all(callable(getattr(BuildStore, name)) for name in methods)
    for name in ("BuildFilter", "ChangeOptions", "BatchResult", "ChangeResult", "Representation"):
        assert f"`{name}`" in PAGES[PAGE]
        assert name in store.__all__
