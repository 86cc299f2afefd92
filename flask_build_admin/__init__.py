"""A blueprint with which the administrators of a Flask CI server repair builds."""

from .blueprint import BuildAdmin
from .pages import BuildPages
from .schema import BuildSchema, Choice, Flag, Text, UnixTime, WholeNumber
from .signals import build_updated, build_updating
from .store import BuildRevisionMixin, BuildStore

__all__ = [
    "BuildAdmin",
    "BuildPages",
    "BuildRevisionMixin",
    "BuildSchema",
    "BuildStore",
    "Choice",
    "Flag",
    "Text",
    "UnixTime",
    "WholeNumber",
    "build_updated",
    "build_updating",
]

# Each class says that it is of the module from which a host imports it.
for _name in __all__:
    if isinstance(_public := globals()[_name], type):
        _public.__module__ = __name__
