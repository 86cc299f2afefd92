"""The suite on all that the package promises to run on: ``nox``, or ``nox --list`` to choose."""

from __future__ import annotations

import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.error_on_missing_interpreters = False  # on those that are found

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

GROUPS = nox.project.load_toml("pyproject.toml")

#: What is asked of pip beside the package: the newest of all, an elder line of one, or both.
LIBRARIES: dict[str, list[str]] = {
    "newest": [],
    "sqlalchemy-2.0": ["SQLAlchemy<2.1"],
    "marshmallow-3": ["marshmallow<4"],
    "elder": ["SQLAlchemy<2.1", "marshmallow<4"],
}


@nox.session(python=PYTHONS)
@nox.parametrize("libraries", [*LIBRARIES])
def tests(session: nox.Session, libraries: str) -> None:
    """Run the suite."""
    session.install("-e", ".[test]", *LIBRARIES[libraries])
    session.run("pytest", "-p", "no:cacheprovider", *session.posargs)


@nox.session(python=PYTHONS)
def minimum(session: nox.Session) -> None:
    """Run the suite on the least version of everything that setup.cfg allows."""
    if session.python == "3.14":
        session.skip("Python 3.14 is newer than the least versions.")
    constraints = Path(session.virtualenv.location, "constraints.txt")
    constraints.write_text("\n".join(least_versions()))
    session.install("-e", ".[test]", "-c", str(constraints))
    session.run("pytest", "-p", "no:cacheprovider", *session.posargs)


@nox.session(python=PYTHONS, default=False)
def drivers(session: nox.Session) -> None:
    """Test every driver; the last two need the headers of MariaDB's client, libmariadb-dev."""
    wheels = nox.project.dependency_groups(GROUPS, "drivers")
    session.install("-e", ".[test]", *wheels, "mysqlclient>=2.2.5", "mariadb>=1.1.11,<2")
    session.run(
        "pytest", "-p", "no:cacheprovider", "tests/faults/test_drivers.py", *session.posargs
    )


def least_versions() -> list[str]:
    """Read from setup.cfg the least version of each distribution, as constraints."""
    asked = re.findall(r"^ +([\w-]+)(?:\[\w+\])?>=(\S+)$", Path("setup.cfg").read_text(), re.M)
    return [f"{name}=={version}" for name, version in asked]
