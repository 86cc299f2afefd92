"""Builds and their revisions in the host's database; it knows no Flask."""

from ..representation import Representation
from .batch import BatchFailure, BatchResult
from .change import ChangeOptions, ChangeResult
from .filters import BuildFilter
from .revisions import BuildRevisionMixin, Revision
from .store import BuildStore
from .warnings import BuildWarning

__all__ = [
    "BatchFailure",
    "BatchResult",
    "BuildFilter",
    "BuildRevisionMixin",
    "BuildStore",
    "BuildWarning",
    "ChangeOptions",
    "ChangeResult",
    "Representation",
    "Revision",
]

# Each class says that it is of the module from which a host imports it.
for _name in {*__all__} - {"BuildRevisionMixin", "BuildStore"}:
    globals()[_name].__module__ = __name__
