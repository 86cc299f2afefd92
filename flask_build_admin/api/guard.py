"""The host's auth in front of every view, and the contract's form behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Request, Response, current_app, got_request_exception, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from ..auth import HostAuth
from ..exceptions import BuildAdminError, DatabaseUnavailable, Problems
from ..store.dberrors import describe
from ..store.transactions import log, log_and_translate
from .responses import refusal

_STATE = "flask_build_admin.state"

_REFUSED = "The server's authentication refuses this request."
_NOT_ASKED = "The server refused this request before its authentication was asked."


@dataclass(slots=True)
class RequestState:
    """How far one request has come."""

    #: The host's auth let the request through.
    authenticated: bool = False
    #: The view was called. It ends with a response, or it failed.
    view_called: bool = False
    #: The response that the blueprint itself made.
    response: Response | None = None


class RequestGuard:
    """Let in what the host's auth lets through, and let out only what the contract has.

    :param limit: of a body, in bytes; it also holds while the auth reads the body.
    :param rollback: rolls the session back; called for every refusal.
    """

    def __init__(self, auth: HostAuth, limit: int, rollback: Callable[[], None]) -> None:
        self._auth = auth
        self._limit = limit
        self._rollback = rollback

    def authenticate(self) -> Response | None:
        """Return the refusal of the host's auth, if any. ``OPTIONS`` needs no authentication."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        state = current.environ[_STATE] = RequestState()
        if current.method == "OPTIONS":
            return None
        # One byte more than allowed distinguishes a body that is too long from one that just fits.
        current.max_content_length = self._limit + 1
        try:
            refused = self._auth.refusal()
        except HTTPException as error:
            # Caught here: an errorhandler(Exception) of the host's could turn it into a 200.
            refused = error.get_response()
        except (SQLAlchemyError, OSError) as error:
            translated = log_and_translate(error)
            if isinstance(translated, DatabaseUnavailable):
                return self._refuse(state, translated.status, str(translated))
            raise
        if refused is not None:
            return self._refuse_as(state, refused)
        state.authenticated = True
        return None

    def protect(self, view: Callable[..., Response]) -> Callable[..., Response]:
        """Decorate a view: a refusal that it raises becomes a response."""

        @wraps(view)
        def protected(**values: Any) -> Response:
            return self._call(view, values)

        return protected

    def _call(self, view: Callable[..., Response], values: dict[str, Any]) -> Response:
        state: RequestState = request.environ[_STATE]
        state.view_called = True
        try:
            state.response = view(**values)
        except BuildAdminError as error:
            if error.status == 500:
                _announce(error)
            return self._refuse(state, error.status, str(error), fields=error.fields)
        except HTTPException as error:
            response = error.get_response()
            sentence = error.description or error.name
            return self._refuse(state, response.status_code, sentence, headers=response.headers)
        except (SQLAlchemyError, OSError) as error:
            translated = log_and_translate(error)
            if translated is None:
                raise
            if translated.status == 500:
                _announce(error)
            return self._refuse(state, translated.status, str(translated))
        return state.response

    def handle_server_error(self, error: Exception) -> Response:
        """Return a 500, before a handler of the host's can fail at it."""
        return self._refuse(request.environ.get(_STATE), 500, BuildAdminError.sentence)

    def finalize_response(self, response: Response) -> Response:
        """Replace every response that is no 2xx, or that the auth has not let through."""
        state: RequestState | None = request.environ.get(_STATE)
        if state is not None:
            own = state.response
            if own is not None and (own is response or own.status_code >= 400):
                return own
            if state.view_called and own is None:
                return self._refuse(state, 500, BuildAdminError.sentence)
            if state.authenticated and (response.status_code < 300 or response.status_code == 304):
                return response
        if request.method == "OPTIONS" and response.status_code < 300:
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
        try:
            self._rollback()
        except Exception as error:  # noqa: BLE001 (whatever the host's callable raises)
            # Before the auth there may be no session. A refusal is still a refusal.
            log.warning("no session could be rolled back: %s", describe(error))
        status = _contract_status(status, state is not None and state.authenticated)
        response = refusal(status, sentence, fields, headers)
        if state is not None:
            state.response = response
        return response


def _announce(error: Exception) -> None:
    """Send the signal that Flask sends for an exception that it turns into a 500 itself."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)


def _contract_status(status: int, authenticated: bool) -> int:
    """Return the contract's status for a refusal of this status."""
    if not authenticated and status < 500 and status != 429:
        return 401
    if status == 403:
        return 401  # the contract has no other status for missing permission
    return status if 400 <= status < 600 else 500
