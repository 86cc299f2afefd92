"""The wire contract: a build is fetched, put back and stored exactly."""

from __future__ import annotations

from typing import Any

from tests.support.hosts import OCTOCAT, URL, Host


def test_put_answers_the_build_as_stored(hosted: Host, octocat: dict[str, Any]) -> None:
    octocat |= {"status": "error", "error": "worker lost", "finished": 1563474099}
    answer = hosted.put(octocat)
    assert answer.status_code == 200
    assert answer.json == octocat
    assert list(answer.json) == list(OCTOCAT)
    assert hosted.row() == octocat
    assert answer.headers["Content-Location"] == f"{URL}/1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.mimetype == "application/json"


def test_get_answers_what_put_accepts(hosted: Host) -> None:
    fetched = hosted.get()
    assert fetched.status_code == 200
    assert fetched.json == OCTOCAT
    put = hosted.put(data=fetched.data)
    assert put.status_code == 200
    assert put.data == fetched.data
    assert put.headers["ETag"] == fetched.headers["ETag"]
