"""What docs/speed.md tells to run is there to be run; the figures themselves are made by it."""

from __future__ import annotations

import re
from configparser import ConfigParser

from tests.support.pages import ROOT, from_page, prose

PAGE = "docs/speed.md"


@from_page(PAGE, code="python -m benchmarks")
def test_the_command_and_its_options_are_there(code: str) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    [extra] = re.findall(r"'\.\[(\w+)\]'", code)
    assert extra in setup["options.extras_require"]
    command = (ROOT / "benchmarks" / "__main__.py").read_text()
    named = {*re.findall(r"--[a-z]+", code), *re.findall(r"`(--[a-z]+)", prose(PAGE))}
    assert len(named) == 6
    assert {*re.findall(r'add_argument\(\s*"(--[a-z-]+)"', command)} >= named
