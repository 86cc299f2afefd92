"""Debian's Chromium, what it shows, and what it must not do on any page.

It imports no Playwright: the tests that need it are collected where there is none, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.serving import make_server

from tests.support.hosts import Host

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from playwright.sync_api import Browser, BrowserType, Page

EXECUTABLE = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # To Chromium localhost is as good as HTTPS. These names are not: it sends no Sec-Fetch-Site.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]

#: Milliseconds after which a click or a page has failed, however busy the machine.
PATIENCE = 20_000

#: The browser's own line for an answer that the pages mean.
_REFUSED = re.compile(r"Failed to load resource: .* responded with a status of (4\d\d|503) ")

#: What is inline, or would run, in a document.
_INLINE = """() => [...document.querySelectorAll('*')].filter(one =>
    one.matches('style, [style], script:not([src]), iframe, object, embed, base')
    || one.getAttributeNames().some(name => name.startsWith('on'))
    || ['href', 'src', 'action', 'formaction', 'xlink:href'].some(
        name => /^\\s*(javascript|data|vbscript):/i.test(one.getAttribute(name) || ''))
).map(one => one.outerHTML.slice(0, 200))"""


@contextmanager
def launched(chromium: BrowserType, **options: Any) -> Iterator[Browser]:
    """Start Chromium."""
    browser = chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS, timeout=60_000, **options)
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def served(app: Flask) -> Iterator[int]:
    """Serve an app from threads, for a browser keeps connections open, and return the port."""

    def whole(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        # Werkzeug's server leaves a file open if the browser goes away.
        parts: Any = app(environ, start_response)
        with closing(parts):
            return [b"".join(parts)]

    server = make_server("127.0.0.1", 0, whole, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Site:
    """A host with the pages, and its address."""

    host: Host
    port: int

    def url(self, path: str = "/", name: str = "localhost") -> str:
        return f"http://{name}:{self.port}/admin/builds{path}"

    def changed(self) -> list[dict[str, Any]]:
        """List what each revision has changed: the members, with what they became."""
        return [
            {
                key: one["after"][key]
                for key in one["after"]
                if one["after"][key] != one["before"][key]
            }
            for one in self.host.recorded()
        ]


@dataclass
class Watch:
    """What the pages of a context did that no page may do."""

    found: list[str] = field(default_factory=list)
    #: Pages of these origins may be asked.
    origins: set[str] = field(default_factory=set)

    def over(self, context: Any) -> None:
        """Watch all pages of a context."""
        context.on("console", self._console)
        context.on("dialog", self._dialog)
        context.on("weberror", lambda error: self.found.append(f"error: {error.error}"))
        context.on("request", self._request)
        context.on("response", self._response)

    def _console(self, message: Any) -> None:
        if not _REFUSED.match(message.text):
            self.found.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.found.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not any(request.url.startswith(f"{one}/") for one in self.origins):
            self.found.append(f"request: {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 500 and response.status != 503:
            self.found.append(f"status: {response.status} {response.url}")


def inline(page: Page) -> list[str]:
    """List what of a document is inline, or would run."""
    return list(page.evaluate(_INLINE))


#: Opens a page of a site in a context of its own.
Visit = Callable[..., Any]
