"""The clients of docs/clients.md, each over HTTP."""

from __future__ import annotations

import pytest
import requests

from example_app import Build
from tests.support.ci_servers import CiServer, bearer
from tests.support.examples import listening
from tests.support.hosts import OCTOCAT, URL, stuck
from tests.support.pages import from_page

PAGE = "docs/clients.md"


def addressed(code: str, root: str) -> str:
    """Have a block ask this server, as its administrator."""
    return code.replace("http://127.0.0.1:8080", root).replace("<token>", "of-mona")


@pytest.mark.parametrize("limit", [1, 2, 7])
@from_page(PAGE, with_requests='session.headers["Authorization"]', with_httpx="httpx.Client(base")
def test_all_pages_are_read(
    server: CiServer,
    capsys: pytest.CaptureFixture[str],
    with_requests: str,
    with_httpx: str,
    limit: int,
) -> None:
    server.register()
    with server.app.app_context():
        server.db.session.add_all(Build(**stuck(at)) for at in range(2, 7))
        server.db.session.commit()
    with listening(server.app) as root:
        for code in (with_requests, with_httpx):
            exec(addressed(code.replace("order=oldest", f"order=oldest&limit={limit}"), root), {})
            printed = capsys.readouterr().out.splitlines()
            assert printed == [f"{at} running" for at in range(2, 7)]


@from_page(PAGE, code="def repair(")
def test_a_repair_is_previewed_and_made(server: CiServer, code: str) -> None:
    server.register()
    with listening(server.app) as root, requests.Session() as session:
        repair = server.run(addressed(code, root))["repair"]
        session.headers.update(bearer("mona")["headers"])
        assert repair(session, 1, status="error").json() == OCTOCAT | {"status": "error"}
        assert "number" in repair(session, 1, number=0).json()["error"]
        url = f"{root}{URL}"
        refused = session.put(url, params={"dry_run": True}, json=OCTOCAT, timeout=30)
        assert refused.json() == session.put(f"{url}?dry_run=True", json=OCTOCAT, timeout=30).json()
        assert refused.status_code == 400


@from_page(PAGE, code="as_string=True")
def test_ids_that_javascript_would_round(server: CiServer, code: str) -> None:
    server.run(code)
    exact = 2**53 + 1
    server.fill(**OCTOCAT | {"id": exact})
    build = server.ask("GET", f"/{exact}").json
    assert build == OCTOCAT | {"id": str(exact)}
    for build_id in (exact, str(exact)):
        build |= {"title": f"{build_id!r}"}
        assert server.ask("PUT", document=build | {"id": build_id}).json == build
    assert server.ask("PUT", document=build | {"id": exact - 1}).status_code == 404
