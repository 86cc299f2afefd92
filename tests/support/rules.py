"""Hosts whose tables have rules, and the changes that break them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tests.support.hosts import OCTOCAT, Host, model_of

#: A change that breaks each rule of the tables below.
RULES = {
    "unique": {"number": 2},
    "check": {"finished": 1},
    "foreign_key": {"parent": 7},
}

#: The rules that a database can be told to check no sooner than at the commit.
DEFERRED = {"sqlite": ["foreign_key"], "postgresql": ["unique", "check", "foreign_key"]}


def ruled_host(url: str, table: str, *rules: sa.schema.SchemaItem, **deferral: Any) -> Host:
    """Make a host whose builds keep a rule of each kind; two of them are there."""
    model = model_of(
        __tablename__=table,
        __table_args__=rules,
        parent=sa.Column(sa.Integer, sa.ForeignKey(f"{table}.id", **deferral)),
    )
    host = Host(url, model=model, rows=[OCTOCAT, OCTOCAT | {"id": 2, "number": 2}])
    if host.engine.dialect.name == "sqlite":
        sa.event.listen(host.engine, "connect", enforce_foreign_keys)
        host.engine.dispose()
    return host


def enforce_foreign_keys(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
