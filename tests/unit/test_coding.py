"""Accept-Encoding, held against gzip and nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.http.coding import MAX_CODINGS, takes_gzip


@pytest.mark.parametrize(
    "accepted",
    [
        ["gzip"],
        ["gzip, deflate, br, zstd"],
        ["deflate", "GZip;q=0.1"],
        ["*"],
        ["br, *;q=0.5"],
        ["x-gzip"],
        ["identity;q=0.5, gzip;q=0.5"],
        ["gzip ; Q=1.000"],
        ["identity;q=0, gzip;q=0.001"],
    ],
)
def test_gzip_is_taken(accepted: list[str]) -> None:
    assert takes_gzip(accepted)


@pytest.mark.parametrize(
    "accepted",
    [
        [],
        [""],
        ["identity"],
        ["br"],
        ["gzip;q=0"],
        ["gzip;q=0.000, *"],
        ["*;q=0"],
        ["identity, gzip;q=0.9"],
        ["gzip;q=2"],
        ["gzip;q=0.0001"],
        ["gzip;level=9"],
        ["gzip br"],
        ["gzipped"],
        ["q=1"],
    ],
)
def test_gzip_is_not_taken(accepted: list[str]) -> None:
    assert not takes_gzip(accepted)


def test_what_stands_behind_many_others_is_not_looked_at() -> None:
    assert takes_gzip([",".join(["br"] * (MAX_CODINGS - 1) + ["gzip"])])
    assert not takes_gzip([",".join(["br"] * MAX_CODINGS + ["gzip"])])


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
def test_only_who_names_gzip_or_everything_gets_it(accepted: list[str]) -> None:
    if takes_gzip(accepted):
        assert "gzip" in ",".join(accepted).lower() or "*" in ",".join(accepted)


# Texts that are nearly lists of codings.
NEARLY = st.lists(
    st.sampled_from(["gzip", "x-gzip", "*", "identity", "br", ";q=", ";q=0", ";q=1", "0.5", ",", " ", "\t", ";", "="])
).map("".join)


@given(NEARLY)
def test_a_weight_of_nothing_is_a_refusal(accepted: str) -> None:
    assert not takes_gzip([accepted, "gzip;q=0"])
