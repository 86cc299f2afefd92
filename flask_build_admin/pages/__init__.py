"""``BuildPages``: pages for people, on which they look at builds and repair them."""

from .blueprint import BuildPages

__all__ = ["BuildPages"]
