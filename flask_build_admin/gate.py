"""The host's auth in front, the seal behind: who may enter, and what may leave in which form."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Request, Response, current_app, make_response, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from .answers import refusal
from .errors import BuildError, ConfigurationError, DatabaseUnavailable, Problems
from .faults import cause
from .transaction import log, translate

#: A view decorator, as every auth extension has one.
Auth = Callable[[Callable[..., Any]], Callable[..., Any]]

_PASSAGE = "flask_build_admin.passage"

_REFUSED = "The server's authentication refuses this request."
_NOT_ASKED = "The server refused this request before its authentication was asked."


@dataclass(slots=True)
class _Passage:
    """How far one request has come."""

    #: The host's auth called the function that it decorates.
    reached: bool = False
    #: … and had nothing to say against it afterwards.
    agreed: bool = False
    #: The view was entered: it ends with an answer, or it has failed.
    entered: bool = False
    #: What the blueprint itself has answered.
    answer: Response | None = None


class Gate:
    """Let in what the host's auth agrees to, and let out only what the contract knows.

    :param auth: the host's view decorator.
    :param limit: of the body, in bytes; it holds for an auth that reads the body, too.
    :param reset: rolls the session back; called for every refusal.
    :raises ConfigurationError: ``auth`` is no view decorator.
    """

    def __init__(self, auth: Auth, limit: int, reset: Callable[[], None]) -> None:
        self._guard = _decorated(auth)
        self._asynchronous = inspect.iscoroutinefunction(self._guard)
        self._limit = limit
        self._reset = reset

    def enter(self) -> Response | None:
        """Ask the host's auth; the answer is a refusal. ``OPTIONS`` alone needs no asking."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        passage = current.environ[_PASSAGE] = _Passage()
        if current.method == "OPTIONS":
            return None
        # One byte more than allowed tells a body that is too long from one that just fits.
        current.max_content_length = self._limit + 1
        try:
            answer = self._ask()
        except HTTPException as error:
            # Caught here: a host's errorhandler(Exception) could make a 200 of it.
            return self._turn_away(passage, error.get_response())
        except SQLAlchemyError as error:
            told = translate(error)
            if isinstance(told, DatabaseUnavailable):
                return self._refuse(passage, told.status, str(told))
            raise
        if answer is not None:
            return self._turn_away(passage, _response(answer))
        if not passage.reached:
            return self._refuse(passage, 401, _REFUSED)
        passage.agreed = True
        return None

    def _ask(self) -> Any:
        guard = current_app.ensure_sync(self._guard) if self._asynchronous else self._guard
        return guard()

    def answer(self, view: Callable[..., Response], *arguments: Any) -> Response:
        """Run a view; a refusal that it raises becomes an answer, anything else is the app's.

        :param view: answers the request, or raises a ``BuildError`` or an ``HTTPException``.
        """
        passage: _Passage = request.environ[_PASSAGE]
        passage.entered = True
        try:
            passage.answer = view(*arguments)
        except BuildError as error:
            return self._refuse(passage, error.status, str(error), fields=error.fields)
        except HTTPException as error:
            response = error.get_response()
            sentence = error.description or error.name
            return self._refuse(passage, response.status_code, sentence, headers=response.headers)
        except SQLAlchemyError as error:
            told = translate(error)
            if told is None:
                raise
            return self._refuse(passage, told.status, str(told))
        return passage.answer

    def crash(self, error: Exception) -> Response:
        """Answer what nobody has an answer to, before a handler of the host's can fail at it."""
        return self._refuse(request.environ.get(_PASSAGE), 500, BuildError.sentence)

    def seal(self, response: Response) -> Response:
        """Have the last word on every answer that is no 2xx, or that the auth has not agreed to."""
        passage: _Passage | None = request.environ.get(_PASSAGE)
        if passage is not None:
            own = passage.answer
            if own is not None and (own is response or own.status_code >= 400):
                return own
            if passage.entered and own is None:
                return self._refuse(passage, 500, BuildError.sentence)
            if passage.agreed and (response.status_code < 300 or response.status_code == 304):
                return response
        if request.method == "OPTIONS" and response.status_code < 300:
            return response  # a CORS preflight that the host answers itself: it has no credentials
        return self._turn_away(passage, response, _NOT_ASKED if passage is None else _REFUSED)

    def _turn_away(
        self, passage: _Passage | None, host: WerkzeugResponse, sentence: str = _REFUSED
    ) -> Response:
        """Refuse with the host's own status and headers, in the contract's form."""
        agreed = passage is not None and passage.agreed
        if agreed or host.status_code == 429 or host.status_code >= 500:
            sentence = f"The server answers {host.status_code}."
        return self._refuse(passage, host.status_code, sentence, headers=host.headers)

    def _refuse(
        self,
        passage: _Passage | None,
        status: int,
        sentence: str,
        *,
        fields: Problems | None = None,
        headers: Headers | None = None,
    ) -> Response:
        try:
            self._reset()
        except Exception as error:  # noqa: BLE001 (whatever the host's callable raises)
            # There may be no session before the auth agrees; a refusal is one all the same.
            log.warning("no session could be rolled back: %s", cause(error))
        agreed = passage is not None and passage.agreed
        answer = refusal(_lawful(status, agreed), sentence, fields, headers)
        if passage is not None:
            passage.answer = answer
        return answer


def _decorated(auth: Auth) -> Callable[..., Any]:
    def build_admin(*args: Any, **kwargs: Any) -> None:
        request.environ[_PASSAGE].reached = True

    hint = "pass a view decorator, for example auth=token_auth.login_required(role='admin')."
    if not callable(auth):
        raise ConfigurationError(f"auth={auth!r} cannot decorate a view: {hint}")
    try:
        guard: Callable[..., Any] = auth(build_admin)
        inspect.signature(guard, follow_wrapped=False).bind()
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise ConfigurationError(f"auth={auth!r} is no view decorator ({error}): {hint}") from error
    return guard


def _response(answer: Any) -> WerkzeugResponse:
    if isinstance(answer, WerkzeugResponse):
        return answer
    try:
        return make_response(answer)
    except TypeError:  # no answer that Flask knows, but no agreement either
        return make_response("", 401)


def _lawful(status: int, agreed: bool) -> int:
    """Find the status that the contract has for a refusal."""
    if not agreed and status < 500 and status != 429:
        return 401
    if status == 403:
        return 401  # the contract has no other status for missing permission
    return status if 400 <= status < 600 else 500
