"""The code of the pages and the example, to the strictest of two type checkers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.pages import BLOCKS, ROOT

#: Extensions without types, or with some that are not known: here all of theirs are Any, and so
#: are their decorators. A checker needs to know the classes that are subclassed.
UNTYPED = {
    "authlib.integrations.flask_oauth2": "",
    "authlib.oauth2.rfc6750": "class BearerTokenValidator: ...",
    "flask_admin": "",
    "flask_admin.menu": "",
    "flask_httpauth": "",
    "flask_jwt_extended": "",
    "flask_login": "class UserMixin: ...",
    "flask_migrate": "",
    "flask_security": "",
    "flask_wtf": "",
}

#: Pages whose blocks are parts of one file.
WHOLE = ("docs/quickstart.md", "docs/testing.md")

#: What returns the current session, as a host may have it.
SESSIONS = """
from flask_build_admin import BuildStore
from ci_server import Build, db

BuildStore(Build, db.session)
BuildStore(Build, lambda: db.session)
BuildStore(Build, lambda: db.session())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for each block, the example, and what they import."""
    folder = tmp_path_factory.mktemp("blocks")
    for number, block in enumerate(BLOCKS):
        if block.language != "python":
            continue
        name = Path(block.page).stem.lower()
        file = folder / (f"{name}.py" if block.page in WHOLE else f"{name}_{number}.py")
        with file.open("a") as part:
            part.write(f"{block.text}\n\n")
    (folder / "sessions.py").write_text(SESSIONS)
    for name in ("example_app.py", "tests/docs/ci_server.pyi"):
        shutil.copy(ROOT / name, folder)
    for module, code in UNTYPED.items():
        stub = folder / "typings" / f"{module.replace('.', '/')}/__init__.pyi"
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(f"from typing import Any\n{code}\ndef __getattr__(name: str) -> Any: ...\n")
    options: dict[str, object] = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(ROOT)],
        "exclude": ["typings"],
    }
    options["reportMissingModuleSource"] = False  # of ci_server
    (folder / "pyrightconfig.json").write_text(json.dumps(options))
    return folder


CHECKERS = {
    "mypy": [
        "mypy",
        "--strict",
        "--allow-untyped-decorators",
        "--config-file=",
        "--exclude=typings",
        ".",
    ],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_finds_nothing(folder: Path, checker: str) -> None:
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: it is of the group check")
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker]],
        cwd=folder,
        env=os.environ | {"MYPYPATH": f"{folder / 'typings'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
