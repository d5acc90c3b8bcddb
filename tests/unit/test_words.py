"""The words of texts and queries."""

from __future__ import annotations

import sqlite3

import pytest

from hubbub.errors import ErrorCode, Refused
from hubbub.words import MAX_QUERY, MAX_WORDS, read_query

TEXTS = [
    "Hello, big World!",
    "naïve café",
    "foo-bar foo_bar",
    "don't",
    "user@example.com",
    "3.14 v2",
    "Привет, мир",
    "ΑΒΓ αβγ",
    "東京 tower",
    "a b c",
    "ÉCOLE école",
    "İstanbul",
    "ﬁne straße",
    "",
]
QUERIES = [
    *["hello", "WORLD hel", "cafe", "CAFÉ", "naive ca", "foo-ba", "bar-foo", "foo bar", "don't", "dont", "example.c"],
    *["3.1", "v2", "привет", "мир при", "αβγ", "東", "京", "a c", "ecole", "strasse", "straße", "tower hello"],
]


@pytest.mark.parametrize("query", QUERIES)
def test_texts_in_memory_are_found_as_the_index_finds_them(query: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='unicode61 remove_diacritics 2')")
    connection.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(TEXTS))
    read = read_query(query)
    found = connection.execute("SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rowid", (read.as_fts5,))
    assert [TEXTS[number] for (number,) in found] == [text for text in TEXTS if read.finds(text)]
    connection.close()


@pytest.mark.parametrize("text", ["", " ", "!?", '"" ""', "_", "\x00"])
def test_a_query_has_a_word(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_query(text)
    assert (refused.value.code, "no word" in refused.value.message) == (ErrorCode.BAD_PAYLOAD, True)


def test_a_query_is_bounded() -> None:
    assert len(read_query("a " * MAX_WORDS).phrases) == MAX_WORDS
    for text, why in (("a " * (MAX_WORDS + 1), "17 words, 16 at most"), ("a" * (MAX_QUERY + 1), "201 characters")):
        with pytest.raises(Refused, match=why):
            read_query(text)


def test_what_looks_like_many_words_in_one_is_bounded_by_the_length_of_the_query() -> None:
    assert read_query("a-" * 100).phrases == (" ".join("a" * 100),)
