"""Announce exceptions that become a 500, as Flask does."""

from flask import current_app, got_request_exception


def announce(error: Exception) -> None:
    """Send the signal that Flask sends for an exception that it turns into a 500 itself."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
