"""What docs/speed.md tells to run is there to be run; the figures themselves are made by it."""

from __future__ import annotations

import re
import tomllib

from tests.support.pages import ROOT, from_page, prose

PAGE = "docs/speed.md"


@from_page(PAGE, code="python -m benchmarks")
def test_the_command_and_its_options_are_there(code: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert {*re.findall(r"--group (\w+)", code)} <= {*groups}
    command = (ROOT / "benchmarks" / "__main__.py").read_text()
    _, _, run = code.partition("python -m")
    named = {*re.findall(r"--[a-z]+", run), *re.findall(r"`(--[a-z]+)", prose(PAGE))}
    assert len(named) == 6
    assert {*re.findall(r'add_argument\(\s*"(--[a-z-]+)"', command)} >= named
