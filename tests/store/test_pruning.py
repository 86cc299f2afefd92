"""Old revisions are removed, but for the newest of each build."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_build_admin import BuildStore
from flask_build_admin.exceptions import ConfigurationError
from tests.support.hosts import OCTOCAT, Build, BuildRevision, Host

MakeHost = Callable[..., Host]

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)

DAY = timedelta(days=1)


def record(host: Host, *revisions: tuple[int, int]) -> None:
    """Record revisions: of which build each is, and how many days old."""
    rows = [
        {"build_id": build_id, "at": NOW - age * DAY, "before": OCTOCAT, "after": OCTOCAT}
        for build_id, age in revisions
    ]
    with host.engine.begin() as connection:
        for row in rows:  # one by one, so that their ids ascend
            connection.execute(sa.insert(BuildRevision), row)


def days_ago(days: int) -> int:
    return int((NOW - days * DAY).timestamp())


def left(host: Host) -> list[int]:
    return [one["id"] for one in host.recorded()]


def test_what_is_older_goes_but_for_the_newest_of_each_build(kept: Host) -> None:
    record(kept, (1, 9), (2, 9), (1, 8), (1, 7), (3, 6), (1, 5), (3, 1), (4, 0))
    store = kept.blueprint.store
    assert store.prune(days_ago(7), dry_run=True) == 2
    assert left(kept) == [*range(1, 9)]
    assert store.prune(days_ago(7)) == 2
    assert left(kept) == [2, 4, 5, 6, 7, 8]  # 4 was made then, and not earlier
    assert store.prune(days_ago(-1)) == 2
    assert left(kept) == [2, 6, 7, 8]
    assert store.prune(days_ago(-1)) == 0
    # What is left can still be undone, and no id is used again.
    assert kept.put(OCTOCAT | {"status": "error"}).status_code == 200
    assert left(kept)[-1] == 9
    assert kept.undo(9).status_code == 200


def test_every_second_has_its_place(kept: Host) -> None:
    record(kept, (1, 9), (1, 8))
    store = kept.blueprint.store
    for second in (10**12, 10**30):
        assert store.prune(second, dry_run=True) == 1
        assert len(store.revisions(before=second)) == 2
        assert store.revisions(after=second) == []
    for second in (-1, -(10**30)):
        assert store.prune(second) == 0
        assert store.revisions(before=second) == []
        assert len(store.revisions(after=second)) == 2


def test_in_transactions_of_a_thousand(kept: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_build_admin.store.store._PRUNED", 4)
    record(kept, *[(1 + number % 2, 9) for number in range(11)])
    steps: list[int] = []
    with kept.statements() as sent:
        assert kept.blueprint.store.prune(days_ago(0), on_progress=steps.append) == 9
    assert steps == [4, 4, 1]
    deletes = [one for one in sent if one.startswith("DELETE")]
    assert len(deletes) == 3
    for at, statement in enumerate(sent):
        if statement in deletes:  # nothing else is in the transaction, so it is short
            assert (sent[at - 1], sent[at + 1]) == ("BEGIN", "COMMIT")
    assert left(kept) == [10, 11]


def test_what_somebody_else_has_pruned_is_not_counted(kept: Host) -> None:
    record(kept, (1, 9), (1, 8), (1, 7))
    others: list[int] = []

    def prune_first(connection: sa.Connection) -> None:
        if not others:  # the ids are read, and nothing is deleted yet
            sessions = scoped_session(sessionmaker(kept.engine))
            others.append(-1)
            others[0] = BuildStore(Build, sessions, history=BuildRevision).prune(days_ago(0))
            sessions.remove()

    sa.event.listen(kept.engine, "commit", prune_first)
    assert kept.blueprint.store.prune(days_ago(0)) == 0
    assert others == [2]
    assert left(kept) == [3]


@pytest.mark.parametrize("before", [-5, 0])
def test_nothing_is_older_than_the_epoch(kept: Host, before: int) -> None:
    record(kept, (1, 9), (1, 8))
    assert kept.blueprint.store.prune(before) == 0


def test_a_host_without_a_history_has_nothing_to_prune(host: Host) -> None:
    with pytest.raises(ConfigurationError, match="No history is kept"):
        host.blueprint.store.prune(1)


def test_a_reason_is_not_needed(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, history=BuildRevision, require_reason=True)
    record(host, (1, 9), (1, 8))
    assert host.blueprint.store.prune(days_ago(0)) == 1
