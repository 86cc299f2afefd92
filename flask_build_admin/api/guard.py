"""The host's auth around every view, and the contract's form around both."""

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any, TypeAlias, cast

from flask import Request, Response, current_app, make_response
from flask.typing import BeforeRequestCallable
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from ..auth import HostAuth, ViewDecorator
from ..exceptions import BuildAdminError, DatabaseUnavailable, Problems
from ..faults import announce
from ..store.dberrors import describe
from ..store.transactions import log, log_and_translate
from .requests import current_request, limit_body
from .responses import refusal

_STATE = "flask_build_admin.state"

_REFUSED = "The server's authentication refuses this request."
_NOT_ASKED = "The server refused this request before its authentication was asked."


#: A view, and what it is called with: the method that the auth saw, and the variables of the path.
Work: TypeAlias = tuple[Callable[..., Response], str, Mapping[str, Any]]


class RequestState:
    """How far one request has come."""

    # Attributes of the class, because a dataclass sets each of them for each request.

    #: What the host's auth protects, with the variables of the path; None: a view of the host's.
    work: Work | None = None
    #: The host's decorator is being called. After it has ended nobody is let in any more.
    asking = False
    #: The host's auth let the request through.
    authenticated = False
    #: The work began. It is not done twice.
    begun = False
    #: What the blueprint's own view raised, other than a refusal.
    error: Exception | None = None
    #: The response that the blueprint itself made, and its status and body before the host had it.
    response: Response | None = None
    made: tuple[int, Any]
    #: Whether a change was stored: nothing may deny it any more.
    stored = False

    def __init__(self) -> None:
        #: Held while the work is done: a decorator may wait for it in vain, in another thread.
        self.working: RLock = RLock()


class RequestGuard:
    """Let in what the host's auth lets through, and let out only what the contract has.

    :param auth: the host's view decorator.
    :param limit: of a body, in bytes; it also holds while the auth reads the body.
    :param rollback: rolls the session back; called for every refusal.
    """

    def __init__(self, auth: ViewDecorator, limit: int, rollback: Callable[[], None]) -> None:
        # One function for all views, as a decorator of the host's may keep a list of them.
        self._auth = HostAuth(auth, self._admit)
        self._limit = limit
        self._rollback = rollback
        #: What the blueprint's own view functions protect.
        self._views: dict[int, Callable[[Request, Mapping[str, Any]], Response]] = {}
        #: The host's hooks of the blueprint. They run once the auth has agreed.
        self.hooks: list[BeforeRequestCallable] = []

    def protect(
        self, view: Callable[..., Response], options: Callable[[], Response]
    ) -> Callable[..., Response]:
        """Put a view into the host's auth; what it raises becomes a response.

        :param view: called with the method that the auth saw, and the variables of the path.
        :param options: returns the response to ``OPTIONS``, which needs no authentication.
        """

        def serve(current: Request, values: Mapping[str, Any]) -> Response:
            if current.method == "OPTIONS":
                hooked = self._run_hooks()
                return options() if hooked is None else hooked
            outer: RequestState | None = current.environ.get(_STATE)
            response = self._ask(current, values, (view, current.method, values))
            if outer is not None and outer.asking:  # a receiver has called this view
                current.environ[_STATE] = outer
            return response  # type: ignore[return-value]

        def protected(**values: Any) -> Response:
            return serve(current_request(), values)

        self._views[id(protected)] = serve
        return protected

    def authenticate(self) -> Response | None:
        """Call a view of the blueprint, or ask the auth about one that the host has added to it.

        :returns: the response of the view, the refusal, or the response of a hook; None: the host's
            view may run.
        """
        current, app = current_request(), current_app._get_current_object()  # type: ignore[attr-defined]
        values: Mapping[str, Any] = current.view_args  # type: ignore[assignment]
        function = app.view_functions.get(current.url_rule.endpoint)  # type: ignore[union-attr]
        if serve := self._views.get(id(function)):
            return serve(current, values)  # here, because Flask would take longer
        if current.method == "OPTIONS":
            # Here, because a hook of a blueprint within this one could make another method of it.
            hooked = self._run_hooks()
            return app.make_default_options_response() if hooked is None else hooked
        refused = self._ask(current, values)
        return self._run_hooks() if refused is None else refused

    def _ask(
        self, current: Request, values: Mapping[str, Any], work: Work | None = None
    ) -> Response | None:
        """Call the host's decorator, with the work in it.

        :param values: the variables of the path.
        :returns: the response of the work, or the refusal; None: let in, and there is no work.
        """
        state = current.environ[_STATE] = RequestState()
        state.work, state.asking = work, True
        limit_body(current, self._limit)
        try:
            try:
                returned = self._auth(values)
            finally:
                state.asking = False
                with state.working:
                    pass  # a change is stored or refused, whoever still waits for it
            if returned is None and state.authenticated:
                returned = state.response
            elif not isinstance(returned, WerkzeugResponse):
                returned = _as_response(returned)
        except Exception as error:
            if state.stored:
                return self._keep(state, f"raised {describe(error)}")
            if state.begun and state.response is None:
                raise  # of the view, or of a hook
            state = current.environ[_STATE] = RequestState()
            if isinstance(error, HTTPException):
                # Here, because an errorhandler(Exception) of the host's could make a 200 of it.
                return self._refuse_as(state, error.get_response())
            if isinstance(error, SQLAlchemyError | OSError):
                translated = log_and_translate(error)
                if isinstance(translated, DatabaseUnavailable):
                    return self._refuse(state, translated.status, str(translated))
            raise
        if state.error is not None:
            raise state.error  # for Flask to log, as the decorator has hidden it
        if returned is state.response and (returned is None or _is_untouched(state, returned)):
            return returned
        if state.stored:
            return self._keep(state, "returned something else")
        state.authenticated = False
        return self._refuse_as(state, returned)

    def _admit(self) -> Response | None:
        """Do the work of the current request, once."""
        state: RequestState = current_request().environ[_STATE]
        with state.working:
            state.authenticated |= state.asking
            if state.work is not None and state.asking and not state.begun:
                state.begun = True
                state.response = response = self._respond(state, state.work)
                state.made = response.status_code, response.response
        return state.response

    def _respond(self, state: RequestState, work: Work) -> Response:
        view_called = False
        try:
            response = self._run_hooks()
            if response is None:
                view_called = True
                view, method, values = work
                response = view(method, **values)
        except BuildAdminError as error:
            if error.status == 500:
                announce(error)
            return self._refuse(state, error.status, str(error), fields=error.fields)
        except HTTPException as error:
            refused = error.get_response()
            sentence = error.description or error.name
            return self._refuse(state, refused.status_code, sentence, headers=refused.headers)
        except Exception as error:
            translated = None
            if isinstance(error, SQLAlchemyError | OSError):
                translated = log_and_translate(error)
            if translated is None:
                state.error = error if view_called else None
                raise
            if translated.status == 500:
                announce(error)
            return self._refuse(state, translated.status, str(translated))
        return response if _succeeds(response) else self._refuse_as(state, response)

    def _keep(self, state: RequestState, ending: str) -> Response:
        """Return the response to a change that is stored, whatever the decorator did after."""
        status, body = state.made
        log.error(
            "the auth %s after the change was stored: the client receives %s.", ending, status
        )
        self._roll_back()
        response = cast(Response, state.response)
        response.status_code = status
        response.set_data(b"".join(body))
        return response

    def _run_hooks(self) -> Response | None:
        """Run the host's hooks of the blueprint, until one of them returns a response."""
        for hook in self.hooks:
            returned = current_app.ensure_sync(hook)()
            if returned is not None:
                return make_response(returned)
        return None

    def handle_server_error(self, error: Exception) -> Response:
        """Return a 500, before a handler of the host's can fail at it."""
        return self._refuse(current_request().environ.get(_STATE), 500, BuildAdminError.sentence)

    def finalize_response(self, response: Response) -> Response:
        """Replace every response that is no 2xx, or that the auth has not let through."""
        current = current_request()
        state: RequestState | None = current.environ.get(_STATE)
        if state is not None:
            own = state.response
            if own is not None and (own.status_code >= 400 or state.stored):
                return own
            if state.error is not None:
                return self._refuse(state, 500, BuildAdminError.sentence)
            if state.authenticated and _succeeds(response):
                return response
        if current.method == "OPTIONS" and response.status_code < 300:
            return response  # a CORS preflight that the host handles: it has no credentials
        return self._refuse_as(state, response, _NOT_ASKED if state is None else _REFUSED)

    def _refuse_as(
        self, state: RequestState | None, response: WerkzeugResponse, sentence: str = _REFUSED
    ) -> Response:
        """Refuse with the status and the headers of the host's response, in the contract's form."""
        status = response.status_code
        if (state is not None and state.authenticated) or status == 429 or status >= 500:
            sentence = f"The server answers {status}."
        return self._refuse(state, status, sentence, headers=response.headers)

    def _refuse(
        self,
        state: RequestState | None,
        status: int,
        sentence: str,
        *,
        fields: Problems | None = None,
        headers: Headers | None = None,
    ) -> Response:
        self._roll_back()
        status = _contract_status(status, state is not None and state.authenticated)
        response = refusal(status, sentence, fields, headers)
        if state is not None:
            state.response = response
        return response

    def _roll_back(self) -> None:
        try:
            self._rollback()
        except Exception as error:  # noqa: BLE001 (whatever the host's callable raises)
            # Before the auth there may be no session. A refusal is still a refusal.
            log.warning("no session could be rolled back: %s", describe(error))


def note_stored() -> None:
    """Note that the current request has stored a change."""
    state: RequestState = current_request().environ[_STATE]
    state.stored = True


def _contract_status(status: int, authenticated: bool) -> int:
    """Return the contract's status for a refusal of this status."""
    if not authenticated and status < 500 and status != 429:
        return 401
    if status == 403:
        return 401  # the contract has no other status for missing permission
    return status if 400 <= status < 600 else 500


def _succeeds(response: WerkzeugResponse) -> bool:
    return response.status_code < 300 or response.status_code == 304


def _is_untouched(state: RequestState, response: Response) -> bool:
    return (response.status_code, response.response) == state.made


def _as_response(returned: Any) -> WerkzeugResponse:
    """Make a response of what a decorator of the host's returned."""
    try:
        return make_response(returned)
    except TypeError:  # nothing, or nothing that Flask can make a response of
        return make_response("", 401)
