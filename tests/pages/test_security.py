"""Who is let in, from where a form may come, and what a page may do in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote

import pytest
from flask import (
    Flask,
    Response,
    abort,
    current_app,
    got_request_exception,
    redirect,
    request,
)
from flask_wtf import CSRFProtect
from jinja2 import StrictUndefined
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_build_admin import BuildPages, build_updating
from flask_build_admin.exceptions import ConfigurationError, DatabaseError, DatabaseUnavailable
from tests.support.browsers import Browser, Page, multipart
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    WORKER,
    Host,
    anybody,
    stuck,
    token_auth,
)

Paged = Callable[..., tuple[Host, Browser]]

EVIL = "<img src=x onerror=alert(1)>\"'></textarea></title><script>alert(1)</script>{{7*7}}"

READ = ["/", "/1", "/1/edit", "/1/history", "/history", "/static/pages.js", "/nobody", "/static/no"]
WRITTEN = ["/clean", "/1/edit", "/1/preview", "/1/change", "/1/undo", "/history/undo"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def checked(refuse: Callable[[], Any]) -> Any:
    """Make a decorator that lets in who has the header, and does this with all others."""

    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs) if "X-Admin" in request.headers else refuse()

        return wrapper

    return auth


def asynchronous(view: Callable[..., Any]) -> Callable[..., Any]:
    let_in = checked(lambda: abort(403))(view)

    @wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(let_in)(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("refuse", "status", "header", "body"),
    [
        (lambda: redirect("/login"), 302, ("Location", "/login"), "/login"),
        (lambda: abort(redirect("/login")), 302, ("Location", "/login"), "/login"),
        (lambda: abort(401), 401, None, "Unauthorized"),
        (
            lambda: Response("who?", 401, {"WWW-Authenticate": "Basic"}),
            401,
            ("WWW-Authenticate", "Basic"),
            "who?",
        ),
        (lambda: "<form action=/login>", 200, None, "<form action=/login>"),
        (
            lambda: ("no", 418, {"Cache-Control": "max-age=1"}),
            418,
            ("Cache-Control", "max-age=1"),
            "no",
        ),
    ],
)
def test_what_the_decorator_does_reaches_the_browser_as_it_is(
    paged: Paged, refuse: Any, status: int, header: Any, body: str
) -> None:
    host, browser = paged({"auth": checked(refuse)})
    with host.statements() as statements:
        for page in [browser.get(path) for path in READ] + [browser.post(path) for path in WRITTEN]:
            assert page.status == status, page
            assert body in page.html
            # A page to log in has styles, pictures and scripts of its own.
            assert "Content-Security-Policy" not in page.response.headers
            if header is not None:
                assert page.response.headers[header[0]] == header[1]
    assert statements == []
    browser.headers["X-Admin"] = "1"
    assert browser.get("/1").status == 200
    assert browser.edit(1, {"status": "error"}).status == 200


def test_an_extension_decides(paged: Paged) -> None:
    host, browser = paged({"auth": token_auth().login_required(role="admin")})
    for headers, status in ((ADMIN, 200), (WORKER, 403), ({}, 401)):
        browser.headers = dict(headers)
        assert browser.get("/").status == status
        assert browser.get("/static/pages.css").status == status
    assert host.row()["status"] == OCTOCAT["status"]


def test_an_async_decorator_decides(paged: Paged) -> None:
    _, browser = paged({"auth": asynchronous})
    assert browser.get("/1").status == 403
    browser.headers["X-Admin"] = "1"
    assert browser.get("/1").status == 200
    preview = browser.edit(1, {"status": "error"})
    assert browser.store(preview).status == 303


def test_a_decorator_may_take_the_variables_of_the_path(paged: Paged) -> None:
    seen = []

    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(build_id: str | None = None) -> Any:
            seen.append(build_id)
            return view()

        return wrapper

    _, browser = paged({"auth": auth})
    assert browser.get("/1").status == browser.get("/").status == 200
    assert seen == ["1", None]


async def who() -> str:
    return "mona"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"auth": lambda view: view}, "returns the view itself, so everybody would be let in"),
        ({"auth": None}, "auth=None is no view decorator"),
        ({"auth": token_auth().login_required(lambda: 1)}, "is no view decorator"),
        ({"actor": "mona"}, "actor='mona' cannot be called"),
        ({"actor": who}, "is a coroutine function: pass a function without arguments"),
        ({"build_admin": "no"}, "build_admin='no' is no BuildAdmin"),
        ({"build_admin": Flask("store")}, "is no BuildAdmin: pass the blueprint whose builds"),
    ],
)
def test_options_that_cannot_be(host: Host, options: dict[str, Any], problem: str) -> None:
    given: dict[str, Any] = {"build_admin": host.blueprint, "auth": anybody} | options
    with pytest.raises(ConfigurationError, match=None) as raised:
        BuildPages(**given)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("base", "headers", "status"),
    [
        ("http://ci.example", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("http://ci.example", {"Sec-Fetch-Site": "same-site"}, 403),
        ("http://ci.example", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("http://ci.example", {"Sec-Fetch-Site": "none"}, 403),
        ("http://ci.example", {"Sec-Fetch-Site": ""}, 403),
        # What the browser says of itself counts more.
        (
            "http://ci.example",
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://ci.example"},
            403,
        ),
        ("http://ci.example", {}, 403),
        ("http://ci.example", {"Origin": "null"}, 403),
        ("http://ci.example", {"Origin": ""}, 403),
        ("http://ci.example", {"Origin": "http://["}, 403),
        ("http://ci.example", {"Origin": "http://ci.example"}, 200),
        ("http://ci.example:80", {"Origin": "http://ci.example"}, 200),
        ("http://ci.example:8080", {"Origin": "http://ci.example:8080"}, 200),
        ("http://ci.example:8080", {"Origin": "http://ci.example"}, 403),
        ("http://ci.example", {"Origin": "https://ci.example"}, 403),
        ("https://ci.example", {"Origin": "http://ci.example"}, 403),
        ("https://ci.example", {"Origin": "https://ci.example"}, 200),
        ("https://ci.example", {"Origin": "https://evil.ci.example"}, 403),
        ("https://ci.example", {"Origin": "https://ci.example.evil"}, 403),
        ("http://xn--bcher-kva.example", {"Origin": "http://xn--bcher-kva.example"}, 200),
        ("http://[::1]:5000", {"Origin": "http://[::1]:5000"}, 200),
    ],
)
def test_a_form_comes_from_a_page_of_the_host(
    paged: Paged, base: str, headers: dict[str, str], status: int
) -> None:
    host, browser = paged(rows=[stuck(1)])
    entries = browser.get("/1/edit").form("/preview").entries({"member.status": "error"}, None)
    client = host.app.test_client()
    for path in WRITTEN:
        answer = client.post(
            f"/admin/builds{path}", base_url=base, headers=headers, **multipart(entries)
        )
        if status == 403:
            assert answer.status_code == 403, path
            assert "The form was not sent by this server&#39;s own page." in answer.text
            for name, value in HEADERS.items():
                assert answer.headers[name] == value
        elif path == "/1/preview":
            assert answer.status_code == 200
            assert "1 member would change" in answer.text
    assert host.recorded() == []


def test_a_proxy_says_which_host_it_is(paged: Paged) -> None:
    host, browser = paged(
        configure=lambda app: setattr(app, "wsgi_app", ProxyFix(app.wsgi_app, x_host=1, x_prefix=1))
    )
    browser.headers |= {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "ci.example",
        "X-Forwarded-Prefix": "/ci",
    }
    page = browser.get("/1/edit")
    form = page.form("/preview")
    assert form.action == "/ci/admin/builds/1/preview"
    assert page.links["Unfinished builds"] == "/ci/admin/builds/"
    entries = form.entries({"member.status": "error"}, None)
    for origin, status in (("https://ci.example", 200), ("http://localhost", 403)):
        given = browser.headers | {"Origin": origin}
        answer = host.app.test_client().post(
            "/admin/builds/1/preview", headers=given, **multipart(entries)
        )
        assert answer.status_code == status


@pytest.mark.parametrize("path", READ)
def test_every_answer_says_what_a_page_may_do(paged: Paged, path: str) -> None:
    _, browser = paged()
    headers = browser.get(path).response.headers
    expected = dict(HEADERS)
    if path == "/static/pages.js":
        expected["Cache-Control"] = "private, max-age=3600"
    for name, value in expected.items():
        assert headers[name] == value


def test_a_host_may_say_it_otherwise(paged: Paged) -> None:
    def loosen(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response

    _, browser = paged(configure=lambda app: app.after_request(loosen))
    policy = browser.get("/1").response.headers["Content-Security-Policy"]
    assert policy == "default-src 'self'"


def test_nothing_is_inline_and_nothing_from_elsewhere(paged: Paged) -> None:
    _, browser = paged()
    for path in READ:
        for one in browser.get(path).elements:
            assert one.tag not in ("style", "iframe", "base", "object", "embed")
            for name, value in one.attributes.items():
                assert name != "style"
                assert not name.startswith("on")
                if name in ("href", "src", "action", "formaction") and one.tag != "a":
                    assert value.startswith("/admin/builds/")
            if one.tag == "script":
                assert one.raw == ""


ODD = "a\u202eb\x07c\u200bd\ufeff"


def members_with(text: str) -> dict[str, Any]:
    texts = {key: text for key, value in OCTOCAT.items() if isinstance(value, str)}
    return stuck(1) | texts | {"status": "running"}


def walk(browser: Browser, text: str) -> list[Page]:
    """Look at every page and state that has texts of others in it."""
    pages = [browser.get(path) for path in ("/", "/1", "/1/edit")]
    pages.append(browser.get(f"/?host={text[:20]}"))
    preview = browser.edit(1, {"error": f"{text}2", "status": "error"})
    refused = browser.submit(preview.form("/change"), {"reason": text * 200})
    back = browser.submit(preview.form("/change"), {"reason": text}, "Change something")
    stale = browser.edit(1, {"error": f"{text}3"})
    stored = browser.store(preview, reason=text)
    assert stored.status == 303, stored
    conflict = browser.store(stale, reason=text)
    assert conflict.status == 409
    pages += [preview, refused, back, conflict, browser.follow(stored)]
    pages += [
        browser.get("/1/history"),
        browser.get("/history"),
        browser.get("/history?overwritten=1"),
    ]
    pages.append(
        Page(
            browser.client.get(
                "/admin/builds/history", query_string={"actor": text, "batch": text, "after": text}
            ),
            "/",
        )
    )
    undo = browser.submit(browser.get("/1").form("/1/undo"))
    pages += [undo, browser.submit(undo.form("/undo"), {"reason": text * 200})]
    queue = browser.get("/").form("/clean")
    clean = browser.submit(queue, {}, "Clean all")
    pages += [clean, browser.submit(clean.form("/clean"), {"message": text, "reason": text * 200})]
    done = browser.submit(clean.form("/clean"), {"message": text, "reason": text})
    assert done.status == 303, done
    listed = browser.follow(done)
    pages += [listed, browser.submit(listed.form("/history/undo"))]
    pages.append(browser.post("/1/preview", [("repair", text)]))
    pages.append(browser.get(f"/{text[:9].replace('/', '')}"))
    return pages


def host_with(paged: Paged, text: str) -> tuple[Host, Browser]:
    rows = [members_with(text), stuck(2, host=text)]
    label = f"{text} now"
    pages = {"repairs": {label: {"error": text}}, "actor": lambda: text}
    return paged(pages, rows=rows)


def test_what_others_write_is_only_text(paged: Paged) -> None:
    _, browser = host_with(paged, EVIL)
    expected: set[tuple[str, str]] = set()
    for page in walk(browser, EVIL):
        assert page.status in (200, 400, 404, 409), page
        assert "49" not in page.find("h1")[0].text, "a template within a text"
        assert not page.find("img")
        assert len(page.find("script")) == len(page.find("title")) == 1
        for one in page.elements:
            assert "onerror" not in one.attributes, (page, one)
            expected |= {(one.tag, name) for name in one.attributes}
    harmless = {name for _, name in expected}
    assert harmless <= {
        *("action", "aria-current", "aria-describedby", "aria-hidden", "aria-invalid"),
        *("aria-label", "autocomplete", "charset", "class", "content", "checked", "cx", "cy"),
        *("data-once", "datetime", "defer", "enctype", "for", "form", "formaction"),
        *("formnovalidate", "href", "id", "inputmode", "lang", "method", "name", "open"),
        *("placeholder", "r", "rel", "required", "role", "rows", "scope", "selected", "size"),
        *("spellcheck", "src", "tabindex", "type", "value", "viewbox", "x", "x1", "x2", "y"),
        *("y1", "y2"),
    }


def test_what_nobody_sees_is_visible(paged: Paged) -> None:
    _, browser = host_with(paged, ODD)
    for page in walk(browser, ODD):
        # A control has the text itself, or it would be changed.
        assert not {*page.seen} & {*"\u202e\x07\u200b\ufeff"}, page
    assert r"a\u202eb\x07c\u200bd\ufeff" in browser.get("/1").text


@pytest.mark.parametrize(
    ("address", "followed"),
    [
        ("https://github.com/github/octocat.git", True),
        ("http://ci.example/a?b=c&d#e", True),
        ("HTTPS://ci.example/", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("\tjavascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("https:javascript", False),
        ("https:///path", False),
        ("https://[", False),
        ("https://ci.example/\u202eabc", False),
        ("data:text/html,x", False),
        ("git@github.com:a/b", False),
        ("", False),
    ],
)
def test_what_is_a_link(paged: Paged, address: str, followed: bool) -> None:
    _, browser = paged(rows=[OCTOCAT | {"clone": address, "source": address, "title": address}])
    outside = [one for one in browser.get("/1").find("a") if one.attributes.get("rel")]
    assert len(outside) == (2 if followed else 0)
    for one in outside:
        assert one.attributes == {"href": address, "rel": "noreferrer"}


def test_flask_wtf_protects_the_forms(paged: Paged) -> None:
    def protect(app: Flask) -> None:
        app.secret_key = "s"
        CSRFProtect(app)

    host, browser = paged(configure=protect, rows=[stuck(1), stuck(2)])
    assert browser.post("/1/preview").status == 400
    preview = browser.edit(1, {"status": "error"})
    stored = browser.store(preview)
    assert stored.status == 303
    seen = 0
    for page in (
        *(browser.get("/"), browser.follow(stored), browser.get("/1/edit"), preview),
        *(browser.get("/1/history"), browser.submit(browser.get("/1").form("/1/undo"))),
        browser.submit(browser.get("/").form("/clean"), {}, "Clean all"),
        browser.store(preview),
    ):
        for form in page.forms:
            if form.method == "post":
                seen += 1
                assert form["csrf_token"].value
    assert seen > 8
    assert host.row()["status"] == "error"


def test_a_refusal_of_a_receiver_is_shown(paged: Paged) -> None:
    def refuse(sender: Any, **_: Any) -> None:
        abort(Response("no", 409))

    _, browser = paged()
    with build_updating.connected_to(refuse):
        page = browser.edit(1, {"status": "error"})
    assert page.status == 500
    assert "The server failed to handle the request." in page.text
    assert page.form("/preview")["member.status"].value == "error"


def test_what_is_too_long_is_refused(paged: Paged) -> None:
    host, browser = paged(max_content_length=1000)
    page = browser.edit(1, {"message": "x" * 400})
    assert page.status == 413
    assert "The build is longer than 1000 bytes." in page.text
    assert page.form("/preview")["member.message"].value == "x" * 400
    much = browser.post("/1/preview", [("original", "x" * 400_000)])
    assert much.status == 413
    assert much.response.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert "This cannot be done" in much.text
    assert host.recorded() == []


def test_a_smaller_limit_of_the_app_holds(paged: Paged) -> None:
    host, browser = paged(configure=lambda app: app.config.update(MAX_CONTENT_LENGTH=20_000))
    page = browser.edit(1, {"message": "x" * 100_000})
    assert page.status == 413
    assert host.recorded() == []


def test_an_auth_that_answers_nothing_refuses(paged: Paged) -> None:
    _, browser = paged(pages={"auth": checked(lambda: None)})
    assert browser.get("/1").status == 401


def test_templates_that_escape_nothing_show_nothing(paged: Paged) -> None:
    host, browser = paged(configure=lambda app: setattr(app.jinja_env, "autoescape", False))
    page = browser.get("/1")
    assert page.status == 500
    host.app.testing = True
    with pytest.raises(ConfigurationError, match="escape no HTML"):
        browser.get("/1")


@pytest.mark.parametrize("path", [*READ, "/?repo_id=x", "/history?after=x", "/?host=no"])
def test_a_host_may_be_strict_and_have_names_of_its_own(paged: Paged, path: str) -> None:
    def configure(app: Flask) -> None:
        app.jinja_env.undefined = StrictUndefined
        names = ("problem", "error", "note", "stored", "build", "again", "here", "draft")
        app.context_processor(lambda: dict.fromkeys(names, "of the host"))

    _, browser = paged(configure=configure, rows=[stuck(1)])
    plain = paged(rows=[stuck(1)])[1].get(path)
    page = browser.get(path)
    texts = (re.sub(r"\d\d:\d\d:\d\dZ", "", one.text) for one in (page, plain))
    assert page.status == plain.status
    assert next(texts) == next(texts)
    if path == "/1/edit":
        for edits in ({"status": "error"}, {"finished": "at"}):
            assert browser.edit(1, edits).status in (200, 400)
        done = browser.follow(browser.store(browser.edit(1, {"status": "error"})))
        assert "Stored as revision" in done.text
        assert browser.submit(done.form("/undo")).status == 200


def test_a_fault_is_announced(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1)])
    host.execute("DROP TABLE build_revisions")
    announced: list[BaseException] = []

    def receive(sender: Any, exception: BaseException, **_: Any) -> None:
        announced.append(exception)

    with got_request_exception.connected_to(receive, host.app):
        page = browser.get("/1")
        assert page.status == 200
        assert "The changes cannot be read, and none can be stored" in page.text
        assert browser.edit(1, {"error": "x"}).status == 500
        assert browser.get("/77").status == 404
    assert [type(one) for one in announced] == [DatabaseError, DatabaseError]


def test_a_prefix_may_have_variables(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1)], pages={"url_prefix": "/<org>/builds", "name": "of_org"})
    browser = Browser(host.app.test_client(), "/acme/builds")
    assert browser.get("/").links["1"] == "/acme/builds/1"
    stored = browser.store(browser.edit(1, {"error": "x"}))
    assert stored.response.headers["Location"] == "/acme/builds/1?stored=1"
    assert browser.get("/1/preview").response.headers["Location"] == "/acme/builds/1"


def test_the_field_of_flask_wtf_may_have_another_name(paged: Paged) -> None:
    def protect(app: Flask) -> None:
        app.secret_key = "s"
        app.config["WTF_CSRF_FIELD_NAME"] = "xsrf"
        CSRFProtect(app)

    _, browser = paged(configure=protect)
    assert browser.store(browser.edit(1, {"status": "error"})).status == 303


@pytest.mark.parametrize("typed", ["../../../x", "a/b", "..", ".", "//evil.example"])
def test_no_id_leads_out_of_the_pages(paged: Paged, typed: str) -> None:
    _, browser = paged()
    page = browser.get(f"/?id={quote(typed)}")
    assert page.status == 404
    assert "No page has such an id." in page.text


def test_a_database_that_is_gone_says_when_to_try_again(
    paged: Paged, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, browser = paged()

    def fail(*args: Any, **options: Any) -> Any:
        raise DatabaseUnavailable

    monkeypatch.setattr(host.blueprint.store, "find", fail)
    page = browser.get("/1")
    assert (page.status, page.response.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("repairs", [["Worker lost"], {"W": "error"}, {1: {"error": "x"}}])
def test_repairs_are_a_mapping(paged: Paged, repairs: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a mapping from labels to members"):
        paged(pages={"repairs": repairs})


def test_the_label_of_a_repair_is_one_line(paged: Paged) -> None:
    for label in ("two\nlines", " "):
        with pytest.raises(ConfigurationError, match="a label is one line of text"):
            paged(pages={"repairs": {label: {"error": "x"}}})
