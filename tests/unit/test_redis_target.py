"""What a Redis URL says."""

from __future__ import annotations

import pytest

from hubbub.engine.redis.target import RedisTarget, is_redis, parse, shown
from hubbub.errors import ConfigError

SECRET = "s3/cr:et@"  # of no server
ENCODED = "s3%2Fcr%3Aet%40"


def test_the_shortest_one_names_a_host() -> None:
    assert parse("redis://example.org") == RedisTarget((("example.org", 6379),), "redis://example.org")


def test_all_that_it_can_say() -> None:
    url = f"rediss://app:{ENCODED}@a:1,[2001:db8::1]:2,10.0.0.3/4?prefix=chat:1&wait=2&ca=/etc/some%20ca.pem"
    target = parse(url)
    assert target.hosts == (("a", 1), ("2001:db8::1", 2), ("10.0.0.3", 6379))
    assert (target.user, target.password, target.database) == ("app", SECRET, 4)
    assert (target.is_tls, target.ca, target.prefix, target.wait) == (True, "/etc/some ca.pem", "chat:1", 2)
    assert target.master is None


def test_sentinel_knows_the_master_by_a_name() -> None:
    target = parse(f"redis+sentinel://:{ENCODED}@a,b:5/mymaster")
    assert target.hosts == (("a", 26379), ("b", 5))
    assert (target.user, target.password, target.master, target.database) == (None, SECRET, "mymaster", 0)
    target = parse("rediss+sentinel://a/mymaster/3")
    assert (target.is_tls, target.master, target.database) == (True, "mymaster", 3)


@pytest.mark.parametrize("path", ["", "/", "/0"])
def test_the_database_is_0_unless_it_is_named(path: str) -> None:
    assert parse(f"redis://a{path}").database == 0


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis:/a", "the form is"),
        ("redis://", "a host is"),
        ("redis:///1", "a host is"),
        ("redis://a,", "a host is"),
        ("redis://a b", "%20"),
        ("redis://a\n", "%20"),
        ("redis://::1", "a host is"),
        ("redis://[::1]6379", "a host is"),
        ("redis://a:", "the port is"),
        ("redis://a:x", "the port is"),
        ("redis://a:65536", "the port is"),
        ("redis://a:0", "the port is 0"),
        ("redis://" + ",".join("a" * 65), "65 hosts"),
        ("redis://a/x", "the database is"),
        ("redis://a/-1", "the database is"),
        ("redis://a/1/2", "nothing more"),
        ("redis+sentinel://a", "/MASTER"),
        ("redis+sentinel://a/my%20master", "/MASTER"),
        ("redis+sentinel://a/m/0/1", "nothing more"),
        ("redis://a?timeout=3", "'timeout' is no option; there are prefix=NAME, wait=N and ca=FILE"),
        ("redis://a?wait", "no value"),
        ("redis://a?wait=", "no value"),
        ("redis://a?wait=-1", "wait is"),
        ("redis://a?wait=101", "wait is"),
        ("redis://a?wait=1&wait=1", "twice"),
        ("redis://a?prefix={a}", "a prefix is"),
        ("redis://a?prefix=a%20b", "a prefix is"),
        ("redis://a?prefix=a%0a", "a prefix is"),
        ("redis://a?prefix=" + "a" * 65, "a prefix is"),
        ("redis://a?ca=/ca.pem", "rediss://"),
        ("redis://a#x", "fragment"),
        ("redis://app@a", "no password"),
        ("redis://app:@a", "no password"),
    ],
)
def test_what_is_wrong_is_named(url: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:hidden@a?wait=no",
        "redis://:hidden@a:port",
        "redis://app:hid/hidden@a",
        "redis://app:hid?hidden@a",
        "redis://:hid#hidden@a",
        "redis://:hid@hidden@a/x",
        "redis://hidden/hidden:hidden@a",
        "redis://hidden\n:hidden@a/",
        "redis+sentinel://:hidden@a",
        "other://app:hidden@a",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert "hidden" not in str(caught.value)
    assert "***@a" in str(caught.value)


def test_a_password_is_never_shown() -> None:
    target = parse(f"redis://app:{ENCODED}@a/1")
    assert target.shown == "redis://app:***@a/1"
    for text in (repr(target), str(target)):
        assert SECRET not in text
        assert ENCODED not in text


def test_other_urls_are_shown_as_they_are() -> None:
    for url in ("memory://", "sqlite:////var/lib/hubbub.db", "redis://a,b:1/2"):
        assert shown(url) == url


def test_which_urls_are_of_redis() -> None:
    assert all(is_redis(f"{scheme}://a") for scheme in ("redis", "rediss", "redis+sentinel", "rediss+sentinel"))
    assert not any(is_redis(url) for url in ("memory://", "sqlite:///redis://", "redis:a", "redis+cluster://a"))
