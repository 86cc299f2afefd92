"""What the views of the pages have in common: the options of a change, and templates."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from flask import current_app, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ..exceptions import (
    BuildAdminError,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidParameter,
)
from ..faults import announce
from ..store import BuildStore, ChangeOptions
from ..store.change import Precondition
from ..wording import format_count
from .controls import Controls
from .repairs import Repairs
from .sentences import Sentences, visible

#: The reason of a preview, as long as none is typed: it is asked for on the page of the preview.
_PREVIEWED = "preview"

#: The variables of a path that are those of a page, and not of the host's prefix.
OF_PAGES = frozenset({"build_id", "filename"})

#: What a template may ask for, if a view does not say otherwise. Names of the host's own context
#: have no place in it.
_ABSENT = dict.fromkeys(
    [
        *("again", "build", "draft", "error", "following", "given", "here", "note"),
        *("overwritten", "problem", "problems", "revision", "revisions", "stored"),
    ]
)

Page = str | tuple[str, int] | Response

_T = TypeVar("_T")


class Host(NamedTuple):
    """What the pages have of the host."""

    store: BuildStore
    #: Returns who sends the request; None: nobody is known.
    actor: Callable[[], Any] | None
    repairs: Repairs
    #: Of a build, in bytes of JSON.
    limit: int
    #: Of the commands in the terminal.
    group: str


class Views:
    """The views of some pages of one blueprint."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._store = host.store
        self._controls = Controls(host.store.schema())
        self._sentences = Sentences(self._controls, host.store.unfinished)

    def refuse(self, error: BuildAdminError | HTTPException) -> Page:
        """Show that a request is refused, where no form can be shown again."""
        status, again = status_of(error), None
        if request.method == "POST" and status == DatabaseUnavailable.status:
            form = request.form.items(multi=True)
            again = [(name, text) for name, text in form if name != _csrf_name()]
        return self.page("error", status, sentence=sentence_of(error), again=again)

    def options(self, precondition: Precondition | None = None) -> ChangeOptions:
        """Return the options of a change that is to be stored."""
        form, actor = request.form, self._host.actor
        return ChangeOptions(
            precondition=precondition,
            sender=current_app._get_current_object(),  # type: ignore[attr-defined]
            actor=None if actor is None else actor(),
            reason=form.get("reason", "").strip() or None,
            force="force" in form,
        )

    def preview(
        self, make: Callable[[ChangeOptions], _T], precondition: Precondition | None = None
    ) -> _T:
        """Make a change as a preview."""
        options = replace(self.options(precondition), dry_run=True, force=True)
        if options.reason is not None:
            # One that cannot be stored is judged when the change is to be stored.
            with suppress(InvalidParameter):
                return make(options)
        return make(replace(options, reason=_PREVIEWED))

    def url(self, endpoint: str, **values: Any) -> str:
        """Return the address of a page of the blueprint as it is registered here."""
        prefix = {
            name: value for name, value in (request.view_args or {}).items() if name not in OF_PAGES
        }
        return url_for(f"{request.blueprint}.{endpoint}", **prefix, **values)

    def page(self, name: str, status: int = 200, **values: Any) -> Page:
        """Render a template.

        :raises ConfigurationError: the host's templates escape nothing.
        """
        template = f"build_pages/{name}.html"
        escaping: Any = current_app.jinja_env.autoescape
        if not (escaping(template) if callable(escaping) else escaping):
            raise ConfigurationError(
                "The templates of the app escape no HTML, so any text of a build could run in the"
                " browser: let jinja_env.autoescape be true for *.html, as it is in Flask."
            )
        known = {
            "csrf_name": _csrf_name(),
            "say": self._sentences,
            "visible": visible,
            "count": format_count,
            "page_url": self.url,
            "has_history": self._store.has_history,
            "refuses_warnings": self._store.refuses_warnings,
            "typed_reason": typed("reason"),
            "forced": bool(typed("force")),
        }
        return render_template(template, **_ABSENT | known | values), status


def status_of(error: BuildAdminError | HTTPException) -> int:
    """Return the status of a refusal, and announce what is a fault."""
    if isinstance(error, HTTPException):
        return error.code or 500
    if error.status == BuildAdminError.status:
        announce(error)
    return error.status


def sentence_of(error: BuildAdminError | HTTPException) -> str:
    """Return what a refusal says."""
    # abort() in a receiver of the host's may raise one without a description.
    given = str(error) if isinstance(error, BuildAdminError) else error.description
    return given or BuildAdminError.sentence


def typed(name: str) -> str:
    """Return what the form of the request has under a name; nothing if it cannot be read."""
    try:
        return request.form.get(name, "")
    except HTTPException:
        return ""


def number(text: str) -> int:
    """Return the id of a revision, or a second; 0: the text is none."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else 0


def filled(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a query that are not empty."""
    return {key: text for key, text in entries if text}


def _csrf_name() -> str:
    """Return the name of the field that Flask-WTF looks for."""
    return str(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"))
