"""A browser without a screen: it reads pages, and posts their forms just as a browser does.

HTML: "Preprocessing the input stream", "The textarea element", "Value sanitization algorithm",
"Constructing the entry list" and "Multipart form data".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import urljoin

from flask.testing import FlaskClient

_END_OF_LINE = re.compile("\r\n|\r|\n")
_BOUNDARY = "----formboundary7MA4YWxkTrZu0gW"
_VOID = {"meta", "link", "input", "circle", "line", "br"}
_SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Element(NamedTuple):
    """A start tag, and the text up to its end."""

    tag: str
    attributes: dict[str, str]
    parts: list[str]
    #: The number of the form that it is in; None: of none.
    form: int | None

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())

    @property
    def raw(self) -> str:
        return "".join(self.parts)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.forms = 0
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "form":
            self.forms += 1
        inside = any(one.tag == "form" for one in self.open) or tag == "form"
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes, [], self.forms if inside else None)
        self.elements.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in {one.tag for one in self.open}:
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {one.tag for one in self.open} & {"textarea", "title"}:
            self.seen.append(data)
        for one in self.open:
            one.parts.append(data)


class Control(NamedTuple):
    """A control of a form."""

    name: str
    #: ``text``, ``textarea``, ``hidden``, ``checkbox``, ``radio`` or ``select``.
    kind: str
    value: str
    #: Whether it is sent as it is.
    sent: bool
    options: tuple[str, ...] = ()

    @property
    def known_as(self) -> str:
        """The name without the mark that differs with the value."""
        return re.sub(r"\.[0-9a-f]{8}$", "", self.name)


@dataclass(frozen=True)
class Form:
    """A form of a page, and what is in it."""

    action: str
    method: str
    controls: list[Control]
    buttons: list[Element]

    def __getitem__(self, name: str) -> Control:
        [found] = [one for one in self.controls if one.known_as == name]
        return found

    def entries(self, edits: Mapping[str, str | None], button: Element | None) -> list[Any]:
        """Return what is sent, with other texts typed, other options chosen, or None: unchecked."""
        unknown = {*edits} - {one.known_as for one in self.controls}
        assert not unknown, unknown
        entries = []
        for one in self.controls:
            value: str | None = one.value if one.sent else None
            if one.known_as in edits:
                typed = edits[one.known_as]
                if one.kind in ("radio", "checkbox"):
                    value = one.value if typed == one.value else None
                elif typed is not None:
                    value = _sanitized(one.kind, typed)
                    assert not one.options or value in one.options, (value, one.options)
            if value is not None:
                entries.append((one.name, value))
        if button is not None and "name" in button.attributes:
            entries.append((button.attributes["name"], button.attributes.get("value", "")))
        return entries


def _sanitized(kind: str, text: str) -> str:
    if kind == "text":
        return re.sub("[\r\n]", "", text)
    return _END_OF_LINE.sub("\n", text) if kind == "textarea" else text


class Page:
    """What a browser makes of a response."""

    def __init__(self, response: Any, url: str) -> None:
        self.response = response
        self.status = response.status_code
        self.url = url
        self.html: str = response.get_data(as_text=True)
        response.close()
        reader = _Reader()
        reader.feed(_END_OF_LINE.sub("\n", self.html).replace("\0", "\ufffd"))
        reader.close()
        self.elements = reader.elements
        #: What is displayed, but for what is in the controls of text.
        self.seen = "".join(reader.seen)

    def __repr__(self) -> str:
        return f"<{self.status} {self.url}: {self.text}>"

    @property
    def text(self) -> str:
        """All that is read in the body, with single blanks."""
        return " ".join(one.text for one in self.find("body"))

    @property
    def location(self) -> str:
        assert self.status in (302, 303), self
        return urljoin(self.url, str(self.response.headers["Location"]))

    def find(self, tag: str, **attributes: str) -> list[Element]:
        return [
            one
            for one in self.elements
            if one.tag == tag
            and all(one.attributes.get(key.rstrip("_")) == attributes[key] for key in attributes)
        ]

    def with_class(self, name: str) -> list[Element]:
        return [one for one in self.elements if name in one.attributes.get("class", "").split()]

    @property
    def links(self) -> dict[str, str]:
        """From the text of each link to its address."""
        return {one.text: one.attributes.get("href", "") for one in self.find("a")}

    @property
    def forms(self) -> list[Form]:
        return [self._form(one) for one in self.find("form")]

    def form(self, action: str) -> Form:
        """Find the first form whose address ends so."""
        return next(one for one in self.forms if one.action.endswith(action))

    def _form(self, form: Element) -> Form:
        own = [
            one
            for one in self.elements
            if ("form" in one.attributes and one.attributes["form"] == form.attributes.get("id"))
            or ("form" not in one.attributes and one.form == form.form)
        ]
        controls = [
            control
            for one in own
            if "name" in one.attributes and (control := self._control(one)) is not None
        ]
        buttons = [one for one in own if one.tag == "button"]
        action = form.attributes.get("action", self.url)
        return Form(action, form.attributes.get("method", "get"), controls, buttons)

    def _control(self, one: Element) -> Control | None:
        name, value = one.attributes["name"], one.attributes.get("value", "")
        if one.tag == "textarea":
            return Control(name, "textarea", one.raw.removeprefix("\n"), True)
        if one.tag == "select":
            start = self.elements.index(one) + 1
            options = []
            for inner in self.elements[start:]:
                if inner.tag != "option":
                    break
                options.append((inner.attributes.get("value", inner.text), inner))
            chosen = [text for text, inner in options if "selected" in inner.attributes]
            texts = tuple(text for text, _ in options)
            return Control(name, "select", [*chosen, texts[0]][0], True, texts)
        if one.tag != "input":
            return None
        kind = one.attributes.get("type", "text")
        sent = kind in ("text", "hidden") or "checked" in one.attributes
        return Control(name, kind, _sanitized(kind, value), sent)


def multipart(entries: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Encode the entries of a form, as the arguments of Flask's test client."""
    body = b""
    for name, value in entries:
        quoted = _END_OF_LINE.sub("%0D%0A", name).replace('"', "%22")
        text = _END_OF_LINE.sub("\r\n", value)
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{quoted}"\r\n\r\n'
        body += f"{head}{text}\r\n".encode()
    body += f"--{_BOUNDARY}--\r\n".encode()
    return {"data": body, "content_type": f"multipart/form-data; boundary={_BOUNDARY}"}


class Browser:
    """A browser: whatever it posts, it posts from a page of the same origin.

    :param headers: of every request.
    """

    def __init__(self, client: FlaskClient, prefix: str = "/admin/builds", **headers: str) -> None:
        self.client = client
        self.prefix = prefix
        self.headers = headers

    def get(self, path: str = "/") -> Page:
        url = path if path.startswith(self.prefix) else self.prefix + path
        return Page(self.client.get(url, headers=self.headers), url)

    def post(self, path: str, entries: Iterable[tuple[str, str]] = (), **headers: str) -> Page:
        """Post a form that no page has."""
        url = path if path.startswith(self.prefix) else self.prefix + path
        given = _SAME_ORIGIN | self.headers | headers
        return Page(self.client.post(url, headers=given, **multipart(entries)), url)

    def submit(
        self, form: Form, edits: Mapping[str, str | None] | None = None, button: str = ""
    ) -> Page:
        """Submit a form, by the button that has this text, or by its first."""
        pressed = next((one for one in form.buttons if one.text.startswith(button)), None)
        assert pressed is not None or not button, [one.text for one in form.buttons]
        entries = form.entries(edits or {}, pressed)
        action = form.action if pressed is None else pressed.attributes.get("formaction", "")
        if form.method == "get":
            url = action or form.action
            return Page(self.client.get(url, headers=self.headers, query_string=entries), url)
        return self.post(action or form.action, entries)

    def follow(self, page: Page) -> Page:
        """Follow a redirect."""
        return self.get(page.location)

    def edit(self, build_id: object, edits: Mapping[str, str | None]) -> Page:
        """Edit members of a build, and look at the preview."""
        form = self.get(f"/{build_id}/edit").form("/preview")
        return self.submit(form, {f"member.{name}": text for name, text in edits.items()})

    def store(self, preview: Page, **edits: str | None) -> Page:
        """Store what a preview shows."""
        return self.submit(preview.form("/change"), edits, "Store")
