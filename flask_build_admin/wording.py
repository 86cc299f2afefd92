"""Text for people: what is invisible escaped, times and time spans."""

from datetime import UTC, datetime

#: Seconds, by the letter of the unit.
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


#: Letters and marks that have no glyph of their own, and pass for a blank or for nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def is_seen(text: str) -> bool:
    """Check whether each character is a blank, or one that anybody sees."""
    return text.isprintable() and _BLANK.isdisjoint(text)


def escape(text: str) -> str:
    """Escape control characters, marks of direction, and what else nobody sees."""
    return "".join(
        char if is_seen(char) else char.encode("unicode_escape").decode() for char in text
    )


def format_date(second: int) -> str:
    """Return the date and time of a UNIX epoch second, in UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def format_count(number: int, noun: str = "build") -> str:
    """Return how many there are: ``1 build``, ``40 builds``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_age(seconds: int) -> str:
    """Return a time span in its two largest units: ``2h 5m``."""
    parts: list[str] = []
    left = max(seconds, 0)
    for unit, size in UNITS.items():
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
