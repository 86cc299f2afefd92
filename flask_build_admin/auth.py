"""The host's view decorator, and whether it let a request through."""

import inspect
from collections.abc import Callable
from typing import Any

from flask import current_app, make_response, request
from werkzeug.wrappers import Response

from .exceptions import ConfigurationError

#: A view decorator, as every auth extension has one.
ViewDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_ADMITTED = "flask_build_admin.admitted"

_HINT = "pass a view decorator, for example auth=token_auth.login_required(role='admin')."


class HostAuth:
    """Ask the host's view decorator about a request.

    :param decorator: calls the function that it decorates to let a request through; whatever else
        it does refuses the request.
    :raises ConfigurationError: it is not a view decorator.
    """

    def __init__(self, decorator: ViewDecorator) -> None:
        if not callable(decorator):
            raise ConfigurationError(f"auth={decorator!r} cannot decorate a view: {_HINT}")

        def build_admin(*args: Any, **kwargs: Any) -> None:
            request.environ[_ADMITTED] = True

        try:
            self._view = decorator(build_admin)
            inspect.signature(self._view, follow_wrapped=False).bind()
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(
                f"auth={decorator!r} is no view decorator ({error}): {_HINT}"
            ) from error
        self._asynchronous = inspect.iscoroutinefunction(self._view)

    def refusal(self) -> Response | None:
        """Ask about the current request. Whatever the decorator raises is raised.

        :returns: the host's refusal; None: the request is let through.
        """
        environ = request.environ
        environ.pop(_ADMITTED, None)
        view = current_app.ensure_sync(self._view) if self._asynchronous else self._view
        returned = view()
        if returned is None and _ADMITTED in environ:
            return None
        if isinstance(returned, Response):
            return returned
        try:
            return make_response(returned)
        except TypeError:  # nothing, or nothing that Flask can make a response of
            return make_response("", 401)
