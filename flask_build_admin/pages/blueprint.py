"""``BuildPages``: the blueprint of the pages, its options and its routes."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flask import Blueprint, Response, make_response, redirect, request, send_from_directory
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from ..auth import HostAuth, ViewDecorator, require_actor
from ..exceptions import BuildAdminError, ConfigurationError, DatabaseUnavailable
from ..options import require_free_variables, require_name
from ..representation import Document
from ..store import BuildStore
from .editing import EditingViews
from .listing import ListingViews
from .many import ManyViews
from .repairs import Repairs
from .views import OF_PAGES, Host

_VIEW = "flask_build_admin.page"

#: How often a form may be as long as a build, besides what its parts need: it has what the build
#: was, and what was typed.
_FORM, _PARTS = 4, 262_144

#: What a page may load, and where it may be shown: nothing from elsewhere, and nowhere else. What
#: the host's auth answers has the host's own headers.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src"
    " 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class _BuildAdmin(Protocol):
    """What the pages need of a ``BuildAdmin``."""

    store: BuildStore
    actor: Callable[[], Any] | None
    max_content_length: int
    cli_group: str | None


class BuildPages(Blueprint):
    """Pages on which people look at builds, repair them, and see what was done.

    All changes go through the store of a ``BuildAdmin``, so its rules, locks, revisions and signals
    hold. What ``auth`` answers when it refuses, a login page for example, goes to the browser as it
    is.

    :param build_admin: the blueprint whose builds these are. It need not be registered.
    :param auth: any view decorator. There is no default.
    :param actor: returns who sends the request; None: as that of the blueprint.
    :param repairs: buttons on the page of a build: from the label to the members that the repair
        changes, with their JSON values, or ``"now"`` for a time; None: a button that sets a build
        whose worker is lost to the ``clean_status``, as far as the schema has the members.
    :param name: of the blueprint, for ``url_for`` and a second registration.
    :param url_prefix: of all pages.
    :raises ConfigurationError: one of these is invalid; says how to fix it.
    """

    #: APIFlask asks every blueprint of its app for this before it describes the host's own routes.
    enable_openapi = False

    def __init__(
        self,
        build_admin: _BuildAdmin,
        auth: ViewDecorator,
        *,
        actor: Callable[[], Any] | None = None,
        repairs: Mapping[str, Document] | None = None,
        name: str = "build_pages",
        url_prefix: str = "/admin/builds",
    ) -> None:
        require_name(name)
        super().__init__(name, __name__, url_prefix=url_prefix, template_folder="templates")
        if not isinstance(getattr(build_admin, "store", None), BuildStore):
            raise ConfigurationError(
                f"build_admin={build_admin!r} is no BuildAdmin: pass the blueprint whose builds the"
                " pages are to show."
            )
        require_actor(actor)
        self._auth = HostAuth(auth, _call_view)
        self._limit = _FORM * build_admin.max_content_length + _PARTS
        store = build_admin.store
        host = Host(
            store,
            build_admin.actor if actor is None else actor,
            Repairs(store, repairs),
            build_admin.max_content_length,
            build_admin.cli_group or "",
        )
        lists, one, many = ListingViews(host), EditingViews(host), ManyViews(host)
        self._views = lists
        self.record(lambda state: require_free_variables(state.url_prefix, OF_PAGES))
        self._page("/", "queue", lists.queue)
        if store.has_queue and store.clean_problem is None:
            self._form("/clean", "clean", many.clean, "queue")
        if store.has_history:
            self._page("/history", "changes", lists.changes)
            self._form("/history/undo", "undo_batch", many.undo_batch, "changes")
            self._page("/<build_id>/history", "history", lists.history)
            self._form("/<build_id>/undo", "undo", one.undo, "build")
        self._page("/<build_id>", "build", one.build)
        self._page("/<build_id>/edit", "edit", one.edit, "GET", "POST")
        self._form("/<build_id>/preview", "preview", one.preview_change, "build")
        self._form("/<build_id>/change", "change", one.change, "build")
        self._page("/static/<path:filename>", "asset", self._asset)

    def _form(self, rule: str, endpoint: str, view: Callable[..., Any], back: str) -> None:
        """Add a page that a form leads to. By a link or the address bar, one goes back."""

        def page(**values: Any) -> Any:
            return (
                view(**values)
                if request.method == "POST"
                else redirect(self._views.url(back, **values))
            )

        self._page(rule, endpoint, page, "GET", "POST")

    def _page(self, rule: str, endpoint: str, view: Callable[..., Any], *methods: str) -> None:
        names = {name for name in OF_PAGES if f"{name}>" in rule}

        def page(**values: Any) -> Response:
            own = request.max_content_length  # of the app
            limit = self._limit if own is None else min(self._limit, own)
            request.max_content_length = request.max_form_memory_size = limit

            def call() -> Response:
                try:
                    if request.method == "POST":
                        _require_same_origin()
                    # The others are of the prefix.
                    response = make_response(view(**{name: values[name] for name in names}))
                except (BuildAdminError, HTTPException) as error:
                    response = make_response(self._views.refuse(error))
                if response.status_code == DatabaseUnavailable.status:
                    response.headers["Retry-After"] = str(DatabaseUnavailable.retry_after)
                for name, value in _HEADERS.items():
                    response.headers.setdefault(name, value)
                return response

            request.environ[_VIEW] = call
            answer = self._auth(values)
            return make_response(Unauthorized() if answer is None else answer)

        self.add_url_rule(rule, endpoint, page, methods=methods or ("GET",), strict_slashes=False)

    def _asset(self, filename: str) -> Response:
        response = send_from_directory(f"{self.root_path}/static", filename)
        response.headers["Cache-Control"] = "private, max-age=3600"
        return response


def _call_view() -> Response:
    """Call the view of the current request: the host's decorator lets it through."""
    response: Response = request.environ[_VIEW]()
    return response


def _require_same_origin() -> None:
    """Check that a page of this blueprint's origin has sent the form.

    :raises Forbidden: another page has, or it cannot be known (Fetch Metadata Request Headers; RFC
        6454, section 7, for browsers that send none).
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is None:
        own = f"{request.scheme}://{request.host}"
        site = "same-origin" if request.headers.get("Origin") == own else "cross-site"
    if site != "same-origin":
        raise Forbidden("The form was not sent by this server's own page. Open the page again.")
