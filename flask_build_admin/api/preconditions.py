"""``If-Match`` and ``If-None-Match``: parsed before a build is locked, checked on the build."""

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.datastructures import ETags
from werkzeug.exceptions import BadRequest
from werkzeug.http import parse_etags

from ..exceptions import PreconditionFailed, PreconditionRequired
from ..representation import Document, Representation

#: The longest header, in bytes, and the most entity tags in it.
MAX_LENGTH, MAX_TAGS = 16_384, 2_000

_CHANGED_TAG = (
    "If-Match has the ETag of the build as a proxy changed it: switch off compression for this path"
    " in the proxy, or send the ETag without the prefix W/ and without the suffix."
)


class Preconditions:
    """The preconditions of one request (RFC 9110, section 13).

    :param environ: of the request (WSGI).
    :param required: whether a change needs ``If-Match``.
    :raises BadRequest: a header is too long.
    """

    def __init__(self, environ: Mapping[str, Any], required: bool = False) -> None:
        self._required = required
        self._if_match = _parse("If-Match", environ.get("HTTP_IF_MATCH"))
        self._if_none_match = _parse("If-None-Match", environ.get("HTTP_IF_NONE_MATCH"))

    @property
    def of_change(self) -> Callable[[Document], None] | None:
        """What checks the build before a change; None: there is nothing to check."""
        given = self._if_match is not None or self._if_none_match is not None
        return self._check_change if given or self._required else None

    def check_if_match(self, build: Document) -> None:
        """Check that the build is the one that the client fetched, if it says which.

        :raises PreconditionFailed: it is not.
        """
        if self._if_match is not None:
            _require_tag(self._if_match, Representation.of(build).tag)

    def is_known(self, tag: str) -> bool:
        """Check whether the client says that it has the build with this tag."""
        return self._if_none_match is not None and self._if_none_match.contains_weak(tag)

    def _check_change(self, build: Document) -> None:
        if self._required and self._if_match is None:
            raise PreconditionRequired
        tag = Representation.of(build).tag
        if self._if_match is not None:
            _require_tag(self._if_match, tag)
        if self.is_known(tag):
            raise PreconditionFailed("If-None-Match names the build as it is.")


def _parse(name: str, value: str | None) -> ETags | None:
    if value is None:
        return None
    if len(value) > MAX_LENGTH:
        raise BadRequest(f"{name} is longer than {MAX_LENGTH} bytes.")
    if value.count(",") >= MAX_TAGS:
        raise BadRequest(f"{name} has more than {MAX_TAGS} entity tags.")
    return parse_etags(value)


def _require_tag(sent: ETags, tag: str) -> None:
    if sent.contains(tag):
        return
    # A proxy that compresses makes a weak tag of it, or adds a suffix such as "-gzip".
    if any(one and one.startswith(tag) for one in sent.as_set(include_weak=True)):
        raise PreconditionFailed(_CHANGED_TAG)
    raise PreconditionFailed
