"""What counts as blank."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from marshmallow import ValidationError

from flask_build_admin.store.limits import not_blank

#: Unicode's Default_Ignorable_Code_Point, which Python does not know.
IGNORABLE = {
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0),
    *(*range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F)),
    *(*range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9)),
    *(*range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
}

#: Blank Braille, a Khitan filler and a null notehead, which are no white space.
BLANK = {0x2800, 0x16FE4, 0x1D159}

#: Format characters with a glyph: the signs of numbers, verses and abbreviations that precede text.
SIGNS = {
    *(*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD),
}


def is_seen(code: int) -> bool:
    try:
        not_blank(chr(code))
    except ValidationError:
        return False
    return True


def test_what_nobody_sees_is_blank_and_nothing_else() -> None:
    unseen = {"Zs", "Zl", "Zp", "Cc", "Cf"}
    categories = {code: unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)}
    expected = {code for code, category in categories.items() if category in unseen}
    expected = (expected | IGNORABLE | BLANK) - SIGNS
    assigned = {code for code, category in categories.items() if category != "Cn"} | IGNORABLE
    assert {code for code in assigned if not is_seen(code)} == expected


@pytest.mark.parametrize("text", ["\u200b" * 2, "\u3164 \u2800\n", "\ufe0f\U000e0041\U000e007f"])
def test_text_of_nothing_else_is_blank(text: str) -> None:
    with pytest.raises(ValidationError, match="blank"):
        not_blank(text)
    assert not_blank(f"{text}!{text}")
