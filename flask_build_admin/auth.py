"""The host's view decorator, and what it is called with."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from flask import current_app
from werkzeug.local import LocalProxy

from .exceptions import ConfigurationError, one_line

#: A view decorator, as every auth extension has one.
ViewDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Calls(NamedTuple):
    """What the thread of a request with an async decorator is to call."""

    #: The last one is None.
    queue: SimpleQueue[Callable[[], None] | None]
    #: Done when nobody takes from the queue any more.
    ended: Future[None]


_CALLS: ContextVar[_Calls | None] = ContextVar("flask_build_admin_calls", default=None)

_NOT_BY_NAME = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL})

_HINT = (
    "pass a function that takes a view and returns one that calls it for administrators only, for"
    " example token_auth.login_required(role='admin') of Flask-HTTPAuth. The page Auth has one for"
    " each extension: https://flask-build-admin.readthedocs.io/en/latest/auth.html"
)

_MAKER = "If it makes view decorators, call it, for example auth=role_required('admin')."


def require_actor(actor: Callable[[], Any] | None) -> None:
    """Check that an actor can be called for the name of who is acting; None: nobody is known."""
    if actor is None:
        return
    if isinstance(actor, LocalProxy):
        problem = "is who is acting, and not a function"
    elif any(map(inspect.iscoroutinefunction, (actor, type(actor).__call__))):
        problem = "is a coroutine function"
    elif not callable(actor):
        problem = "cannot be called"
    elif missing := _missing_argument(_parameters_of(actor) or ()):
        problem = f"cannot be called without {missing!r}"
    else:
        return
    # A proxy has no repr() outside of a request.
    named = "LocalProxy" if isinstance(actor, LocalProxy) else repr(actor)
    raise ConfigurationError(
        f"actor={named} {problem}: pass a function without arguments that returns who is acting,"
        " for example lambda: current_user.name."
    )


def _parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return what a function may be called with; None: it does not say, as some written in C."""
    try:
        return [*inspect.signature(function, follow_wrapped=False).parameters.values()]
    except (TypeError, ValueError):
        return None


def _missing_argument(parameters: Iterable[inspect.Parameter]) -> str | None:
    """Return the first argument without which a function cannot be called; None: there is none."""
    needed = (
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    )
    return next(needed, None)


class HostAuth:
    """A view in the host's view decorator.

    :param decorator: calls the function that it decorates to let a request through; whatever else
        it does refuses the request.
    :param view: called without arguments; returns the response.
    :raises ConfigurationError: it is not a view decorator, or protects nothing.
    """

    def __init__(self, decorator: ViewDecorator, view: Callable[..., Any]) -> None:
        def build_admin(*args: Any, **kwargs: Any) -> Any:
            calls = _CALLS.get()
            return view() if calls is None else _hand_over(calls, view)

        # A proxy has no repr() outside of a request.
        named = "auth=LocalProxy" if isinstance(decorator, LocalProxy) else f"auth={decorator!r}"
        if isinstance(decorator, LocalProxy) or not callable(decorator):
            raise ConfigurationError(f"{named} is no view decorator, it cannot be called: {_HINT}")
        if inspect.iscoroutinefunction(decorator):
            raise ConfigurationError(
                f"{named} is no view decorator, it is a coroutine function: define it with def, and"
                " the function that it returns with async def."
            )
        try:
            self._view = decorator(build_admin)
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(
                f"{named} is no view decorator ({one_line(str(error))}): {_HINT} {_MAKER}"
            ) from error
        if self._view is build_admin:
            raise ConfigurationError(
                f"{named} returns the view itself, so everybody would be let in: {_HINT}"
            )
        parameters = _parameters_of(self._view)
        if parameters is None:
            raise ConfigurationError(
                f"{named} is no view decorator, it returned {self._view!r} for a view: let it"
                " return the function that checks who it is, and calls the view."
            )
        if missing := _missing_argument(parameters):
            raise ConfigurationError(
                f"{named} is no view decorator, the function that it returns cannot be called"
                f" without {missing!r}: give that a default, {missing}=None. {_MAKER}"
            )
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
        if not self._asynchronous:
            return self._view(**values)
        # The event loop is in another thread. The view runs in this one: it may need a loop of its
        # own, and the session of this thread.
        calls = _Calls(SimpleQueue(), Future())
        context = copy_context()
        context.run(_CALLS.set, calls)
        with ThreadPoolExecutor(1) as pool:
            function = partial(current_app.ensure_sync(self._view), **values)
            returned = pool.submit(context.run, function)
            returned.add_done_callback(lambda _: calls.queue.put(None))
            try:
                while call := calls.queue.get():
                    call()
            finally:  # a signal may end it, too
                calls.ended.set_result(None)
        return returned.result()


def _hand_over(calls: _Calls, view: Callable[[], Any]) -> Any:
    """Let the thread of the request call a view, in the context of this one, and wait for it.

    :raises RuntimeError: the request no longer waits for its decorator.
    """
    result: Future[Any] = Future()
    context = copy_context()
    context.run(_CALLS.set, None)

    def call() -> None:
        try:
            result.set_result(context.run(view))
        except BaseException as error:  # noqa: BLE001 (the other thread raises it)
            result.set_exception(error)

    calls.queue.put(call)
    wait([result, calls.ended], return_when=FIRST_COMPLETED)
    if not result.done():
        raise RuntimeError("The view was called after its decorator had ended.")
    return result.result()
