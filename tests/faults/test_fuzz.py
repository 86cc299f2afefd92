"""What the OpenAPI document promises holds for whatever a fuzzer makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from example_app import OCTOCAT, Build, create_app, db
from flask_build_admin.store import ChangeOptions
from tests.support.servers import ROOT, TOKEN, Server, serve

#: Cases on each database, at least.
CASES = int(os.environ.get("FUZZ_CASES", "5000"))

#: … and those that one run makes up for an operation; what has few forms has fewer.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))

#: Of the first run; another seed makes up other cases.
SEED = int(os.environ.get("FUZZ_SEED", "1"))

#: Builds that there are when it begins, each with a revision that has the same id, in a batch.
SEEDED = 400

#: What is too long for gunicorn would never come to the app.
UNLIMITED = ("--limit-request-line", "0", "--limit-request-field_size", "0")


@pytest.fixture
def document(database_url: str, tmp_path: Path) -> Path:
    """The example's OpenAPI document in a file, and builds and revisions in its database."""
    app = create_app({"SQLALCHEMY_DATABASE_URI": database_url})
    blueprint: Any = app.blueprints["build_admin"]
    with app.app_context():
        described = blueprint.openapi()
        more = range(2, SEEDED + 1)
        # Few of them wait: a clean would make the undo of any other come too late.
        waiting = {n: {"status": "running"} for n in more if n % 10 == 0}
        db.session.add_all(
            Build(**OCTOCAT | {"id": n, "number": n} | waiting.get(n, {})) for n in more
        )
        db.session.commit()
        for number in range(1, SEEDED + 1):
            build = blueprint.store.find(f"{number}").document
            options = ChangeOptions(batch=f"batch-{number}")
            blueprint.store.overwrite(build | {"error": "lost"}, options)
        db.engine.dispose()
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(described))
    return path


def fuzz(server: Server, document: Path, report: Path, seed: int) -> Any:
    """Have Schemathesis make up requests, and answer what it reports."""
    fuzzed = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", ROOT / "tests" / "support" / "schemathesis.toml"),
            *("run", document, "--url", f"http://127.0.0.1:{server.port}"),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--checks", "all", "--max-examples", f"{EXAMPLES}"),
            *("--seed", f"{seed}"),
            *("--report", "json", "--report-json-path", report),
        ],
        cwd=report.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT), "FUZZ_SEEDED": f"{SEEDED}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert fuzzed.returncode == 0, fuzzed.stdout
    return json.loads(report.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_whatever_is_sent_the_answer_is_as_documented(
    document: Path, database_url: str, tmp_path: Path
) -> None:
    cases = 0
    accepted: Counter[str] = Counter()
    with serve(database_url, tmp_path, *UNLIMITED) as server:
        for seed in count(SEED):
            told = fuzz(server, document, tmp_path / "report.json", seed)
            assert told["complete"]
            cases += told["test_cases"]["generated"]
            for operation, phases in told["valid_rates"].items():
                accepted[operation] += sum(phase["accepted"] for phase in phases.values())
            if cases >= CASES:
                break
        assert "Traceback" not in server.log.read_text()
    # No operation was only ever refused.
    assert len(accepted) == 20
    assert all(accepted.values())
