"""``BuildAdmin``: the blueprint, its options and its routes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from sqlalchemy.orm import Session
from werkzeug.exceptions import MethodNotAllowed

from .answers import methods
from .cli import COMMANDS, make_commands
from .errors import ConfigurationError, require_names
from .gate import Auth, Gate
from .schema import BuildSchema
from .store import BuildStore
from .views import READERS, BuildViews
from .waiting import UNFINISHED

View = Callable[..., Response]

#: How the name of a blueprint, nested ones with dots, becomes one of commands.
_DASHES = str.maketrans("._", "--")


class BuildAdmin(Blueprint):
    """The admin build routes, as a blueprint to register on a Flask app.

    ``PUT <prefix>/build`` overwrites a whole build, ``GET <prefix>/build/<id>`` fetches one, ``GET
    <prefix>/builds/queue`` lists those that wait or run. With a ``history``, ``GET
    <prefix>/build/<id>/revisions`` lists what was changed of one, and ``POST
    <prefix>/build/<id>/revisions/<revision>/undo`` puts back what one revision has changed.

    :param model: the host's mapped class.
    :param session: a callable that answers the current ``Session``, such as ``db.session``.
    :param auth: any view decorator; what it refuses is answered with 401. There is no default.
    :param schema: how a build looks in JSON, and which attribute is behind which member.
    :param history: the host's mapped class of revisions, made with ``BuildRevisionMixin``; None:
        no change is recorded, and none can be undone.
    :param actor: answers who is acting, for the signals, the log and the history; called for every
        put of a JSON object and every undo, previews too, after ``auth`` has agreed.
    :param require_if_match: whether a change without ``If-Match`` is refused with 428.
    :param require_reason: whether a change without ``?reason=`` is refused with 400.
    :param queue_statuses: of the builds that wait or run, as the member ``status`` has them; empty:
        there is no queue.
    :param auth_parameters: names of query parameters that ``auth`` reads; any other than these and
        the blueprint's own is refused with 400.
    :param max_content_length: of a body, in bytes, at least 1.
    :param name: of the blueprint, for ``url_for`` and a second registration.
    :param url_prefix: before ``/build``.
    :raises ConfigurationError: one of these is not what it must be; says the way out.
    """

    def __init__(
        self,
        model: type[Any],
        session: Callable[[], Session],
        auth: Auth,
        *,
        schema: type[BuildSchema] = BuildSchema,
        history: type[Any] | None = None,
        actor: Callable[[], Any] | None = None,
        require_if_match: bool = False,
        require_reason: bool = False,
        queue_statuses: Collection[str] = UNFINISHED,
        auth_parameters: Collection[str] = (),
        max_content_length: int = 262_144,
        name: str = "build_admin",
        url_prefix: str = "/api/v1/admin",
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix)
        if actor is not None and not callable(actor):
            raise ConfigurationError(
                f"actor={actor!r} cannot be called: pass a function that answers who is acting."
            )
        if type(max_content_length) is not int or max_content_length < 1:
            raise ConfigurationError(
                f"max_content_length={max_content_length!r} is no number of bytes from 1 on."
            )
        require_names("auth_parameters", auth_parameters)
        if taken := sorted({*chain(*READERS.values())} & {*auth_parameters}):
            raise ConfigurationError(
                f"auth_parameters has {taken[0]!r}, which the blueprint reads itself: have the auth"
                " read another parameter, or a header."
            )
        self.require_if_match = require_if_match
        self.auth_parameters = frozenset(auth_parameters)
        self.store = BuildStore(
            model,
            session,
            schema,
            history=history,
            require_reason=require_reason,
            queue_statuses=queue_statuses,
        )
        self._gate = Gate(auth, max_content_length, self.store.rollback)
        views = BuildViews(
            self.store, actor, require_if_match, max_content_length, self.auth_parameters
        )
        self.before_request(self._gate.enter)
        self.after_request(self._gate.seal)
        self.register_error_handler(500, self._gate.crash)
        self.cli = make_commands(self)
        one = "/build/<build_id>"
        self._mount("/build", "overwrite", {"PUT": views.overwrite})
        self._mount(one, "fetch", dict.fromkeys(("GET", "HEAD"), views.fetch))
        if self.store.has_queue:
            self._mount("/builds/queue", "queue", dict.fromkeys(("GET", "HEAD"), views.queue))
        if self.store.has_history:
            revisions = dict.fromkeys(("GET", "HEAD"), views.revisions)
            self._mount(f"{one}/revisions", "revisions", revisions)
            self._mount(f"{one}/revisions/<revision_id>/undo", "undo", {"POST": views.undo})

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Register the routes, and the commands as a group named as the blueprint is there.

        The first on an app has the commands as ``build-admin``, whatever its name.
        """
        name = ".".join([options.get("name_prefix", ""), options.get("name", self.name)])
        options.setdefault("cli_group", name.strip(".").translate(_DASHES))
        first = COMMANDS not in app.cli.commands
        super().register(app, options)
        if first:
            app.cli.add_command(self.cli, COMMANDS)

    def _mount(self, rule: str, endpoint: str, views: Mapping[str, View]) -> None:
        allowed = sorted({*views, "OPTIONS"})

        def view(**values: Any) -> Response:
            return self._gate.answer(self._dispatch, views, allowed, values)

        def add(state: BlueprintSetupState) -> None:
            state.add_url_rule(
                rule,
                endpoint,
                view,
                methods=allowed,
                strict_slashes=False,
                merge_slashes=False,
                provide_automatic_options=False,
            )
            full = f"{state.name_prefix}.{state.name}.{endpoint}".lstrip(".")
            for added in state.app.url_map.iter_rules(full):
                # Or the routing would answer 405 by itself, outside of the blueprint.
                added.methods = _EveryMethod(added.methods or ())

        self.record(add)

    def _dispatch(
        self, views: Mapping[str, View], allowed: list[str], values: dict[str, Any]
    ) -> Response:
        if request.method == "OPTIONS":
            return methods(allowed)
        view = views.get(request.method)
        if view is None:
            raise MethodNotAllowed(allowed, f"The method is not allowed: {', '.join(allowed)} are.")
        return view(**values)


class _EveryMethod(set[str]):
    """The methods that a route answers, for whoever lists them; yet the routing finds any other."""

    def __contains__(self, method: object) -> bool:
        return True
