"""What Schemathesis cannot know of the requests that it makes up."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

#: Builds that there are, from the id 1 on, each with a revision that has the same id.
SEEDED = int(os.environ["FUZZ_SEEDED"])


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Write whole numbers as such: to JSON Schema 1.0 is an integer, but not to the contract."""
    if not isinstance(body, dict):
        return body
    return {
        member: int(value) if isinstance(value, float) and value.is_integer() else value
        for member, value in body.items()
    }


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Have what is to be undone be there: among all pairs of ids it would never be met."""
    revision = (path_parameters or {}).get("revision_id")
    if not isinstance(revision, int) or not 1 <= revision < 2**63:
        return path_parameters
    seeded = 1 + revision % SEEDED
    return path_parameters | {"build_id": seeded, "revision_id": seeded}


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Have the batch that is to be undone be there."""
    batch = (query or {}).get("batch")
    if not isinstance(batch, str) or not context.operation.path.endswith("/revisions/undo"):
        return query
    return query | {"batch": f"batch-{1 + sum(map(ord, batch)) % SEEDED}"}
