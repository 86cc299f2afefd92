"""``flask build-admin``: the same work from a shell on the server, by the same store."""

from .commands import make_commands

__all__ = ["make_commands"]
