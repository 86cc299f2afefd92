"""What the README says runs."""

from __future__ import annotations

import json
from configparser import ConfigParser
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.ci_servers import CiServer, bearer
from tests.support.hosts import OCTOCAT
from tests.support.pages import README, ROOT, from_page


@from_page(README, install="pip install Flask-Build-Admin")
def test_what_is_installed_has_the_name_of_this_package(install: str) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert install == f"pip install {setup['metadata']['name']}\n"


@from_page(README, code="app = Flask(__name__)")
def test_the_registration(
    server: CiServer, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.run(code.replace("sqlite:///", f"sqlite:///{tmp_path}/"))
    server.fill()
    assert server.statuses(bearer("mona"), bearer("hubot"), {}) == [200, 401, 401]


@from_page(README, serve="example_app.py\n", test="/pytest\n")
def test_the_two_commands_are_one_line_each(serve: str, test: str) -> None:
    for command in (serve, test):
        assert command.startswith("python3 -m venv ")
        assert command.count("\n") == 1


def test_the_sample_is_the_contracts() -> None:
    digest = sha256(json.dumps(OCTOCAT).encode()).hexdigest()
    assert len(OCTOCAT) == 25
    assert digest == "afc187453d02c32519c8ea79b128556f8fc51f86e8d084adff7fb7461e33c36f"
