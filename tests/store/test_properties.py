"""What holds for every build: it is stored exactly as sent, and goes back as it was fetched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_build_admin.store.limits import not_blank
from tests.support.hosts import OCTOCAT, Build, Host, history_of, model_of

WIDE = 2**63 - 1
NARROW = {"sqlite": WIDE, "postgresql": 2**31 - 1, "mariadb": 2**31 - 1}

#: The least that a number may be, or a text be long.
LEAST = dict.fromkeys(OCTOCAT, 0) | dict.fromkeys(("id", "repo_id", "number", "event", "status"), 1)
#: The columns that are ``Integer``; those of the other numbers are ``BigInteger``.
INTEGERS = ("id", "repo_id", "number", "parent")
#: The lengths of the columns, as far as they are not 250.
LENGTHS = {"event": 20, "status": 20, "commit": 40, "error": 16_000, "message": 16_000}

STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

#: Any text that JSON can spell, with U+0000 and lone surrogates.
WILD_TEXT = st.text(st.characters(), max_size=10)

#: Values at the limits of the columns.
NEAR = st.one_of(
    st.sampled_from([-1, 0, 1, 2**31 - 1, 2**31, 2**32 + 1, 2**63 - 1, 2**63]),
    st.builds(str.__mul__, st.characters(), st.sampled_from([0, 1, 20, 21, 40, 41, 250, 251])),
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | WILD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WILD_TEXT, inner, max_size=3),
    max_leaves=5,
)

examples = settings(max_examples=50)


def largest(database: str, member: str) -> int:
    return NARROW[database] if member in INTEGERS else WIDE


def longest(member: str) -> int:
    return LENGTHS.get(member, 250)


def is_seen(text: str) -> bool:
    regex: Any = not_blank.regex
    return regex.match(text) is not None


def is_number(member: str) -> bool:
    return isinstance(OCTOCAT[member], int)


def fits(database: str, member: str, value: Any) -> bool:
    """Whether a member may have a value, by the contract and the column."""
    if is_number(member):
        return type(value) is int and LEAST[member] <= value <= largest(database, member)
    return (
        isinstance(value, str)
        and LEAST[member] <= len(value) <= longest(member)
        and not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
    )


def builds(database: str) -> st.SearchStrategy[dict[str, Any]]:
    """Make any build with the id 1."""
    return st.fixed_dictionaries(
        {
            name: st.integers(LEAST[name], largest(database, name))
            if is_number(name)
            else st.text(STORABLE, min_size=LEAST[name], max_size=min(longest(name), 250))
            for name in OCTOCAT
        }
        | {"id": st.just(1)}
    )


@pytest.fixture(scope="module")
def host(database_url: str) -> Iterator[Host]:
    """A plain host on each database in turn."""
    host = Host(database_url, model=Build)
    yield host
    host.close()


@pytest.fixture(scope="module")
def sparse(database_url: str) -> Iterator[Host]:
    """A host whose columns are all nullable, and that keeps history."""
    model = model_of(__tablename__="sparse")
    host = Host(database_url, model=model, history=history_of(model), actor=lambda: "mona")
    yield host
    host.close()


@examples
@given(data=st.data())
def test_what_is_accepted_is_stored_exactly(host: Host, database: str, data: st.DataObject) -> None:
    build = data.draw(builds(database))
    answer = host.put(build)
    assert answer.status_code == 200
    assert answer.json == build
    assert host.row() == build
    fetched = host.get()
    assert fetched.json == build
    assert fetched.headers["ETag"] == answer.headers["ETag"]


def store_any(sparse: Host, database: str, data: st.DataObject) -> dict[str, Any]:
    """Store any row, with some of its zeros as NULLs, and no history."""
    nulls = data.draw(st.sets(st.sampled_from([name for name in OCTOCAT if not LEAST[name]])))
    row = data.draw(builds(database)) | dict.fromkeys(nulls)
    with sparse.engine.begin() as connection:
        connection.execute(sa.update(sparse.model).values(row))
        connection.execute(sa.delete(sparse.history))  # type: ignore[arg-type]
    return row


@examples
@given(data=st.data())
def test_what_is_fetched_goes_back_and_writes_nothing(
    sparse: Host, database: str, data: st.DataObject
) -> None:
    row = store_any(sparse, database, data)
    fetched = sparse.get()
    assert fetched.status_code == 200
    with sparse.statements() as sent:
        answer = sparse.put(data=fetched.data)
    assert answer.status_code == 200
    assert answer.data == fetched.data
    assert answer.headers["ETag"] == fetched.headers["ETag"]
    assert sparse.row() == row
    writes = [sql for sql in sent if not sql.startswith(("BEGIN", "SELECT", "COMMIT"))]
    assert writes == []


@settings(examples, max_examples=30)
@given(data=st.data())
def test_a_change_is_undone_and_the_undo_undone(
    sparse: Host, database: str, data: st.DataObject
) -> None:
    row = store_any(sparse, database, data)
    fetched = sparse.get().json
    members = data.draw(st.sets(st.sampled_from(list(OCTOCAT))))
    drawn = data.draw(builds(database))
    build = fetched | {member: drawn[member] for member in members}
    reason = data.draw(st.none() | st.text(STORABLE, max_size=9).filter(is_seen))
    query = {} if reason is None else {"reason": reason}

    def previewed(change: Callable[..., Any]) -> Any:
        """Preview a change, make it, and answer it, if there was any."""
        before = sparse.row(), sparse.recorded()
        preview = change(query_string=query | {"dry_run": "true"})
        assert preview.status_code == 200
        assert (sparse.row(), sparse.recorded()) == before
        made = change(query_string=query)
        assert made.status_code == 200
        assert made.json == sparse.get().json
        if not preview.json["changes"]:
            assert (sparse.row(), sparse.recorded()) == before
            return None
        revision = sparse.revisions().json[0]
        told = {name: preview.json[name] for name in preview.json if name != "warnings"}
        assert revision == told | {
            "id": revision["id"],
            "at": revision["at"],
            "batch": None,
            "changed_outside": {},
        }
        kept = sparse.recorded()
        assert kept[:-1] == before[1]
        assert (kept[-1]["before"], kept[-1]["after"]) == (before[0], sparse.row())
        return revision

    change = previewed(partial(sparse.put, build))
    assert sparse.get().json == build
    if change is None:
        assert build == fetched
        return
    stored = sparse.row()
    undo = previewed(partial(sparse.undo, change["id"]))
    assert sparse.row() == row
    assert sparse.get().json == fetched
    assert previewed(partial(sparse.undo, undo["id"])) is not None
    assert sparse.row() == stored


@examples
@given(data=st.data())
def test_a_changed_document_is_stored_exactly_or_refused(
    host: Host, database: str, data: st.DataObject
) -> None:
    names = st.sampled_from(list(OCTOCAT))
    left_out = data.draw(st.sets(names, max_size=1))
    changes = data.draw(st.dictionaries(names | WILD_TEXT, JSON | NEAR, max_size=3))
    document = {k: v for k, v in (OCTOCAT | changes).items() if k not in left_out}
    document = json.loads(json.dumps(document))  # two halves of a pair are one character
    wrong = document.keys() ^ OCTOCAT.keys()
    wrong |= {
        name
        for name in document.keys() & OCTOCAT.keys()
        if not fits(database, name, document[name])
    }
    # What cannot be compared with a row is refused first, and alone.
    form = document.keys() ^ OCTOCAT.keys()
    form |= {
        name
        for name in document.keys() & OCTOCAT.keys()
        if type(document[name]) is not type(OCTOCAT[name]) or (name == "id" and name in wrong)
    }
    wrong = form or wrong
    before = host.row()
    answer = host.put(data=json.dumps(document))
    if not form and document["id"] != 1:
        assert answer.status_code == 404
        assert host.row() == before
    elif wrong:
        assert answer.status_code == 400
        assert answer.json["fields"].keys() == wrong
        assert host.row() == before
    else:
        assert answer.status_code == 200
        assert answer.json == host.row() == document


@examples
@given(data=st.data())
def test_a_damaged_body_is_stored_exactly_or_refused(host: Host, data: st.DataObject) -> None:
    body = json.dumps(OCTOCAT).encode()
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(start + 30, len(body))))
    graft = st.binary(max_size=10) | st.sampled_from(
        [b'"', b"0", b"1e9", b"NaN", b"{", b'\\u0000"']
    )
    body = body[:start] + data.draw(graft) + body[end:]
    before = host.row()
    answer = host.put(data=body)
    if answer.status_code == 200:
        assert answer.json == host.row() == json.loads(body)
    else:
        assert answer.status_code in {400, 404}
        assert isinstance(answer.json["error"], str)
        assert host.row() == before
