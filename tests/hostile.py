"""Foreign text at its worst, and whether a shown text has anything of it left."""

from __future__ import annotations

import unicodedata

#: One of each kind: C0 with ESC, BEL, CR, backspace and tab, DEL, C1, bidirectional, zero width,
#: separators, a lone surrogate, a private and an unassigned character, a tag, markup.
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\r\b\t\x7f\x9b31m\x85\xad\u202e\u2066\u200b\u200d\ufeff\u2028\u2029"
    "\udc9b\ue000\u0378\U000e0001\u115f\ufe0f[bold red]x[/]:warning:"
)
LABEL = "\x1b[2J\x9b\x7f"
#: What a process may be called: what a client says comes over UTF-8.
NAME = HOSTILE.replace("\udc9b", "")

BAD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def controls(shown: str) -> list[str]:
    """The characters of a shown text that are no text; the ends of lines are."""
    return [char for char in shown if char != "\n" and unicodedata.category(char) in BAD]
