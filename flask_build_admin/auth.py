"""The host's view decorator, and what it is called with."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flask import current_app

from .exceptions import ConfigurationError

#: A view decorator, as every auth extension has one.
ViewDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_NOT_BY_NAME = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL})

_HINT = "pass a view decorator, for example auth=token_auth.login_required(role='admin')."


class HostAuth:
    """A view in the host's view decorator.

    :param decorator: calls the function that it decorates to let a request through; whatever else
        it does refuses the request.
    :param view: takes any arguments; returns the response.
    :raises ConfigurationError: it is not a view decorator, or protects nothing.
    """

    def __init__(self, decorator: ViewDecorator, view: Callable[..., Any]) -> None:
        try:
            self._view = decorator(view)
            signature = inspect.signature(self._view, follow_wrapped=False)
            signature.bind()
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(
                f"auth={decorator!r} is no view decorator ({error}): {_HINT}"
            ) from error
        if self._view is view:
            raise ConfigurationError(
                f"auth={decorator!r} returns the view itself, so everybody would be let in: {_HINT}"
            )
        parameters = signature.parameters.values()
        self._takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
        self._names = {one.name for one in parameters if one.kind not in _NOT_BY_NAME}
        self._asynchronous = inspect.iscoroutinefunction(self._view)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Call the decorated view for the current request. Whatever it raises is raised.

        :param values: the variables of the path; it is called with those that it takes.
        :returns: what the decorator returns.
        """
        if not self._takes_all:
            values = {name: values[name] for name in self._names & values.keys()}
        view = current_app.ensure_sync(self._view) if self._asynchronous else self._view
        return view(**values)
