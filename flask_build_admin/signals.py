"""What the host hears of a change, in blinker's terms.

Both signals are sent with the sender that the store was given (for a request, the Flask app) and
the keyword arguments ``build`` (the host's object), ``before`` and ``after`` (whole documents),
``actor`` (what the host's callback answered, or None) and ``reason`` (of the change, or None).
Neither is sent for a change that changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import iscoroutinefunction
from typing import Any

from blinker import Namespace, Signal

from .body import Document

_signals = Namespace()

#: Sent inside the transaction, after the flush. What a receiver adds to the session is committed
#: or rolled back with the change. An exception refuses the change: an ``HTTPException`` with its
#: own status, any other with 500. A preview sends it, too, and rolls everything back.
build_updating = _signals.signal("build-updating")

#: Sent after the commit. A receiver's exception is logged and changes nothing.
build_updated = _signals.signal("build-updated")


def receivers(signal: Signal, sender: Any) -> list[Callable[..., Any]]:
    """List those who listen to a signal of this sender."""
    return [] if signal.is_muted else list(signal.receivers_for(sender))


def tell(
    receiver: Callable[..., Any],
    sender: Any,
    build: Any,
    before: Document,
    after: Document,
    **told: Any,
) -> None:
    """Tell one receiver, with documents of its own to do with as it likes.

    :raises TypeError: the receiver is a coroutine function: it would never run.
    """
    if iscoroutinefunction(receiver):
        raise TypeError("A receiver of the build signals cannot be a coroutine function.")
    receiver(sender, build=build, before=deepcopy(before), after=deepcopy(after), **told)
