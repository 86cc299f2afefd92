"""``BuildAdmin``: the blueprint, its options and its routes."""

from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from http import HTTPMethod
from importlib.metadata import entry_points
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from flask.sansio.scaffold import setupmethod
from flask.typing import BeforeRequestCallable
from sqlalchemy.orm import Session, scoped_session
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import PathConverter

from .api.guard import RequestGuard
from .api.requests import FILTERED, PARAMETERS
from .api.responses import allowed_methods
from .api.views import BuildViews
from .auth import ViewDecorator, require_actor
from .cli.commands import Commands, make_commands
from .exceptions import ConfigurationError
from .options import require_bool, require_free_variables, require_name, require_names
from .schema import BuildSchema, members_of
from .store import BuildStore
from .store.clean import CLEAN_STATUS
from .store.queue import UNFINISHED
from .store.transactions import log

View = Callable[..., Response]

#: The name of the converter of paths that nobody has, in the routing of the app.
_ANY_PATH = "flask_build_admin_path"

#: What else a 405 says, by the method and the route.
_HINTS = {
    ("PUT", "fetch"): " To change a build, send PUT /build, with its id in the body.",
}

Hook = TypeVar("Hook", bound=BeforeRequestCallable)


class BuildAdmin(Blueprint):
    """The admin build routes, as a blueprint to register on a Flask app.

    ``PUT <prefix>/build`` overwrites a whole build, ``GET <prefix>/build/<id>`` returns one, ``GET
    <prefix>/builds/queue`` lists those that are pending or running, ``PUT <prefix>/clean`` finishes
    them. With a ``history``, ``GET <prefix>/build/<id>/revisions`` lists the changes of one, ``GET
    <prefix>/revisions`` those of all, ``POST <prefix>/build/<id>/revisions/<revision>/undo``
    restores what one of them changed, and ``POST <prefix>/revisions/undo`` what a batch changed.

    :param model: the host's mapped class.
    :param session: a callable that returns the current ``Session``, such as ``db.session``.
    :param auth: any view decorator; what it refuses is a 401. There is no default.
    :param schema: how a build looks in JSON, and which attribute each member has.
    :param history: the host's mapped class of revisions, made with ``BuildRevisionMixin``; None:
        no change is recorded, and none can be undone.
    :param actor: returns who sends the request, for the signals, the log and the history; called
        for every change, previews included, after ``auth`` and after the form of the body is
        checked.
    :param require_if_match: whether a change without ``If-Match`` is refused with 428.
    :param require_reason: whether a change without ``?reason=`` is refused with 400.
    :param queue_statuses: of unfinished builds, as the member ``status`` has them; empty: there is
        no queue.
    :param clean_status: of a build that was cleaned, as the member ``status`` has it.
    :param refuse_warnings: whether a change that brings a contradiction, such as an end before
        the start, is refused with 400, unless it has ``?force=true``.
    :param auth_parameters: names of query parameters that ``auth`` reads; any other that the
        blueprint does not know is refused with 400.
    :param max_content_length: of a body, in bytes, at least 1.
    :param max_list_length: of a list in a response, in bytes; ``Link`` has the rest. A list has at
        least one item, however long that is.
    :param name: of the blueprint, for ``url_for`` and a second registration; with dashes, of the
        group of commands: ``flask build-admin``.
    :param url_prefix: before ``/build``.
    :raises ConfigurationError: one of these is invalid; says how to fix it.
    """

    #: APIFlask asks every blueprint of its app for this before it describes the host's own routes.
    enable_openapi = False

    def __init__(
        self,
        model: type[Any],
        session: Callable[[], Session | scoped_session[Any]],
        auth: ViewDecorator,
        *,
        schema: type[BuildSchema] = BuildSchema,
        history: type[Any] | None = None,
        actor: Callable[[], Any] | None = None,
        require_if_match: bool = False,
        require_reason: bool = False,
        queue_statuses: Collection[str] = UNFINISHED,
        clean_status: str = CLEAN_STATUS,
        refuse_warnings: bool = False,
        auth_parameters: Collection[str] = (),
        max_content_length: int = 262_144,
        max_list_length: int = 8_388_608,
        name: str = "build_admin",
        url_prefix: str = "/api/v1/admin",
    ) -> None:
        require_name(name)
        super().__init__(name, __name__, url_prefix=url_prefix, cli_group=_cli_group(name))
        require_actor(actor)
        lengths = {"max_content_length": max_content_length, "max_list_length": max_list_length}
        for option, length in lengths.items():
            if type(length) is not int or length < 1:
                raise ConfigurationError(
                    f"{option}={length!r} is not a number of bytes: pass an int of at least 1, for"
                    " example 1_000_000."
                )
        require_bool("require_if_match", require_if_match)
        require_names("auth_parameters", auth_parameters)
        #: Returns who sends the request; None: nobody is known.
        self.actor = actor
        #: The longest build, in bytes of JSON.
        self.max_content_length = max_content_length
        self._require_if_match = require_if_match
        self._auth_parameters = frozenset(auth_parameters)
        self.store: BuildStore = BuildStore(
            model,
            session,
            schema,
            history=history,
            require_reason=require_reason,
            queue_statuses=queue_statuses,
            clean_status=clean_status,
            refuse_warnings=refuse_warnings,
        )
        own = {name for parameters in PARAMETERS.values() for name in parameters.fields}
        own |= members_of(schema()).keys()  # the filters
        if taken := sorted(own & {*auth_parameters}):
            raise ConfigurationError(
                f"auth_parameters has {taken[0]!r}, which the blueprint reads itself: have the auth"
                " read another parameter, or a header."
            )
        self._guard = RequestGuard(auth, max_content_length, self.store.rollback)
        views = BuildViews(
            self.store, actor, require_if_match, self._auth_parameters, max_list_length
        )
        super().before_request(self._guard.authenticate)
        self.after_request(self._guard.finalize_response)
        self.register_error_handler(500, self._guard.handle_server_error)
        self.cli: Commands = make_commands(self.store, self.openapi)
        own_variables = ("build_id", "revision_id", "path")
        self.record(lambda state: require_free_variables(state.url_prefix, own_variables))
        one = "/build/<build_id>"
        self._route("/build", "overwrite", {"PUT": views.overwrite})
        self._route(one, "fetch", dict.fromkeys(("GET", "HEAD"), views.fetch))
        self._route("/builds/queue", "queue", dict.fromkeys(("GET", "HEAD"), views.queue))
        self._route("/clean", "clean", {"PUT": views.clean})
        if self.store.has_history:
            revisions = dict.fromkeys(("GET", "HEAD"), views.revisions)
            self._route(f"{one}/revisions", "revisions", revisions)
            self._route(f"{one}/revisions/<revision_id>/undo", "undo", {"POST": views.undo})
            every = dict.fromkeys(("GET", "HEAD"), views.all_revisions)
            self._route("/revisions", "all_revisions", every)
            self._route("/revisions/undo", "undo_batch", {"POST": views.undo_batch})
        self._add_unknown_path()

    def openapi(self, *, security: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
        """Describe the routes, as the current app has them, as an OpenAPI 3.1 document.

        The limits of the members are those of the host's columns, on the database in use. The
        server is the root of the app: that of the current request, or ``APPLICATION_ROOT``.

        :param security: how the host authenticates, as OpenAPI's Security Scheme Objects by name,
            any one of which suffices; None: by a bearer token (RFC 6750).
        :raises ConfigurationError: the blueprint is not registered on the current app, or apispec,
            the extra ``openapi``, is not installed.
        """
        names = {name for name, one in current_app.blueprints.items() if one is self}
        if not names:
            raise ConfigurationError(
                f"{self.name} is not registered on {current_app.name}: register it first."
            )
        try:
            from .openapi import describe
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"There is no {error.name}: install it by pip install 'Flask-Build-Admin[openapi]'."
            ) from error
        absent = set() if self.store.has_queue else {"queue", "clean"}
        if self.store.clean_problem is not None:
            absent.add("clean")
        routes = PARAMETERS.keys() - absent
        endpoints = {f"{name}.{route}" for name in names for route in routes}
        root = request.script_root if request else current_app.config["APPLICATION_ROOT"]
        return describe(
            [rule for rule in current_app.url_map.iter_rules() if rule.endpoint in endpoints],
            build=self.store.limited_schema(),
            reason=self.store.reason_field(),
            parameters=PARAMETERS,
            filters=dict.fromkeys(FILTERED, self.store.filters),
            auth_parameters=self._auth_parameters,
            require_if_match=self._require_if_match,
            security=security,
            server=root.rstrip("/") or "/",
        )

    @setupmethod
    def before_request(self, f: Hook) -> Hook:
        """Register a hook, which runs once the auth has let the request in, or at ``OPTIONS``."""
        self._guard.hooks.append(f)
        return f

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Register the routes and the commands; under another name, a group of that name."""
        if "name" in options:
            options.setdefault("cli_group", _cli_group(options["name"]))
        group = options.get("cli_group", self.cli_group)
        if group is not None and (
            group in _hiding_commands() or app.cli.commands.get(group, self.cli) is not self.cli
        ):
            raise ConfigurationError(
                f"{app.name} has other commands as {group!r}: pass BuildAdmin another name, or"
                " register_blueprint() another cli_group."
            )
        address, taken = _whole_address(self.make_setup_state(app, options), "/build")
        if taken is not None:
            raise ConfigurationError(
                f"{address} is already the address of {taken!r}, so no PUT would reach this"
                " blueprint: pass another url_prefix, and another name if both are a BuildAdmin."
            )
        super().register(app, options)
        name = options.get("name", self.name)
        if problem := self.store.queue_problem:
            log.warning("%s has no queue: %s", name, problem)
        if problem := self.store.clean_problem:
            log.warning("%s cleans no builds: %s", name, problem)

    def _add_unknown_path(self) -> None:
        """Answer what is below the prefix and no route of anybody's, in the contract's form.

        A Go client takes the HTML of Flask's own 404 for a success.
        """

        def call(method: str, /, **values: Any) -> Response:
            raise NotFound("There is no such path.")

        dispatch = self._guard.protect(call, partial(allowed_methods, ["OPTIONS"]))

        def add(state: BlueprintSetupState) -> None:
            if not (state.url_prefix or "").strip("/"):
                return  # every path of the host's would be one
            state.app.url_map.converters.setdefault(_ANY_PATH, _AnyPath)
            state.add_url_rule(
                f"/<{_ANY_PATH}:path>",
                "unknown_path",
                dispatch,
                methods=[*HTTPMethod],
                provide_automatic_options=False,
            )

        self.record(add)

    def _route(self, rule: str, endpoint: str, views: Mapping[str, View]) -> None:
        allowed = sorted({*views, "OPTIONS"})

        def call(method: str, /, **values: Any) -> Response:
            if view := views.get(method):
                return view(**values)
            sentence = f"The method is not allowed: {', '.join(allowed)} are."
            raise MethodNotAllowed(allowed, sentence + _HINTS.get((method, endpoint), ""))

        dispatch = self._guard.protect(call, partial(allowed_methods, allowed))

        def add(state: BlueprintSetupState) -> None:
            # Flask itself would refuse the other methods, before the auth and as HTML; so would
            # Werkzeug a request that asks for a websocket.
            other = [*{*HTTPMethod} - {*allowed}]
            rules: dict[str, dict[str, Any]] = {
                endpoint: {"methods": allowed},
                f"{endpoint}_method_not_allowed": {"methods": other},
                f"{endpoint}_websocket": {"methods": ["GET", "OPTIONS"], "websocket": True},
            }
            for name, options in rules.items():
                state.add_url_rule(
                    rule,
                    name,
                    dispatch,
                    strict_slashes=False,
                    merge_slashes=False,
                    provide_automatic_options=False,
                    **options,
                )

        self.record(add)


class _AnyPath(PathConverter):
    """The rest of a path, if no rule of anybody else's fits it."""

    weight = 1_000_000


@cache
def _hiding_commands() -> frozenset[str]:
    """Return the names of Flask's own commands and of its plugins', which hide those of an app."""
    plugins = (one.name for one in entry_points(group="flask.commands"))
    return frozenset({"routes", "run", "shell", *plugins})


def _whole_address(state: BlueprintSetupState, path: str) -> tuple[str, str | None]:
    """Return the path that one of the blueprint has in the app, and which endpoint takes its PUT.

    Flask itself says what the options of the registration make of a prefix and of a subdomain.
    """
    rules = state.app.url_map
    address = f"{(state.url_prefix or '').rstrip('/')}{path}"
    # No route of the blueprint has a host.
    domain = "" if rules.host_matching else state.subdomain or rules.default_subdomain
    for rule in rules.iter_rules():
        theirs = rule.host if rules.host_matching else rule.subdomain
        takes_put = "PUT" in (rule.methods or ()) and not rule.websocket and not rule.build_only
        if rule.rule == address and (theirs or "") == domain and takes_put:
            return address, rule.endpoint
    return address, None


def _cli_group(name: str) -> str:
    return name.replace("_", "-")
