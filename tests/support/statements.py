"""What a host has sent to its database, in outline."""

from __future__ import annotations

from collections.abc import Sequence

#: How a build is locked before it is looked at; on SQLite, by BEGIN IMMEDIATE.
LOCK = {
    "sqlite": ["BEGIN", "SELECT"],
    "postgresql": ["SELECT … FOR UPDATE"],
    "mariadb": ["SELECT … FOR UPDATE"],
}


def outline(sent: Sequence[str]) -> list[str]:
    return [
        statement.split()[0] + (" … FOR UPDATE" if " FOR UPDATE" in statement else "")
        for statement in sent
    ]
