"""The host's view decorator, and what it is called with."""

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from flask import current_app

from .exceptions import ConfigurationError

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

_HINT = "pass a view decorator, for example auth=token_auth.login_required(role='admin')."


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

        try:
            self._view = decorator(build_admin)
            signature = inspect.signature(self._view, follow_wrapped=False)
            signature.bind()
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(
                f"auth={decorator!r} is no view decorator ({error}): {_HINT}"
            ) from error
        if self._view is build_admin:
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
