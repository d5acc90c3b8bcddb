"""The words of a text, and those that somebody looks for.

A word is a run of letters and digits, lower case, without accents, about as SQLite's `unicode61` tokenizer takes texts
apart (its tables are of an earlier Unicode).
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from hubbub.errors import ErrorCode, Refused

__all__ = ["MAX_QUERY", "MAX_WORDS", "Query", "read_query"]

MAX_QUERY = 200
MAX_WORDS = 16

WORD = re.compile(r"[^\W_]+")


class Query(NamedTuple):
    """What is looked for: texts that have all of these.

    Attributes:
        phrases: words that belong together, as in `foo-bar`, joined by a space; what the last phrase begins counts,
            too: `hel` finds `hello`.
    """

    phrases: tuple[str, ...]

    def finds(self, text: str) -> bool:
        """Whether a text has it all."""
        words = f" {' '.join(words_of(text))} "
        return f" {self.phrases[-1]}" in words and all(f" {phrase} " in words for phrase in self.phrases[:-1])

    @property
    def as_fts5(self) -> str:
        """The same for FTS5.  Each phrase is quoted: nothing in it is syntax."""
        return " ".join(f'"{phrase}"' for phrase in self.phrases) + "*"


def read_query(text: str) -> Query:
    """Take what a user looks for apart.

    Raises:
        Refused: `bad_payload` where it is too long, or has no word.
    """
    if len(text) > MAX_QUERY:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"{len(text)} characters, {MAX_QUERY} at most - at `payload.text`")
    phrases = tuple(" ".join(words) for part in text.split() if (words := words_of(part)))
    if not phrases:
        raise Refused(ErrorCode.BAD_PAYLOAD, "no word to look for: letters or digits - at `payload.text`")
    if len(phrases) > MAX_WORDS:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"{len(phrases)} words, {MAX_WORDS} at most - at `payload.text`")
    return Query(phrases)


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    if not text.isascii():
        text = "".join(each for each in unicodedata.normalize("NFD", text) if unicodedata.category(each) != "Mn")
    return WORD.findall(text.lower())
