"""The signals that announce a change, in blinker's terms.

Both are sent with the sender in ``ChangeOptions`` (for a request and a command, the Flask app) and
the keyword arguments ``build`` (the host's object), ``before`` and ``after`` (whole documents,
copies for the receivers), ``actor`` (what the host's callback returned, or None) and ``reason`` (of
the change, or None). Neither is sent if nothing changes. A receiver must not be a coroutine
function.
"""

from blinker import NamedSignal, Namespace

_signals = Namespace()

#: Sent inside the transaction, after the flush; also for a preview. What a receiver adds to the
#: session is committed or rolled back with the change. An exception refuses the change: an
#: ``HTTPException`` with its own status, any other with 500.
build_updating: NamedSignal = _signals.signal("build-updating")

#: Sent after the commit. An exception is logged and changes nothing, but ends the sending.
build_updated: NamedSignal = _signals.signal("build-updated")
