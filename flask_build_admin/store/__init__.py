"""Builds and their revisions in the host's database; it knows no Flask."""

from ..representation import Representation
from .change import ChangeOptions, ChangeResult
from .history import BuildRevisionMixin, Revision
from .store import BuildStore

__all__ = [
    "BuildRevisionMixin",
    "BuildStore",
    "ChangeOptions",
    "ChangeResult",
    "Representation",
    "Revision",
]

# Each class says that it is of the module from which a host imports it.
for _name in ("ChangeOptions", "ChangeResult", "Representation", "Revision"):
    globals()[_name].__module__ = __name__
