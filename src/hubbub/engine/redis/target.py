"""A Redis URL: where the servers are, and how they are used.

    redis://[[user]:password@]host[:port][,host2[:port]...][/database][?prefix=NAME&wait=N]
    redis+sentinel://[[user]:password@]host[:port][,...]/MASTER[/database][?...]
    rediss://..., rediss+sentinel://...: over TLS, with ?ca=FILE for an authority beside the system's

What a URL cannot hold as it is, in the user, the password or a file's name, is percent-encoded (RFC 3986 section 2.1).
Whether it is a cluster is not said: the servers know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from hubbub.errors import ConfigError

__all__ = ["Address", "RedisTarget", "is_redis", "parse", "shown"]

Address = tuple[str, int]

PORT = 6379
SENTINEL_PORT = 26379
MOST_HOSTS = 64
MOST_WAIT = 100
MOST_DATABASE = 2**31 - 1

DEFAULT_PREFIX = "hubbub"
# Braces would be the hash tag of a key; the rest keeps the keys legible.
_prefix = re.compile(r"[A-Za-z0-9:._-]{1,64}")
_master = re.compile(r"[A-Za-z0-9._-]{1,255}")  # what Sentinel itself allows, sentinel.c
_scheme = re.compile(r"rediss?(\+sentinel)?://")
_host = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]+)?\]")
# All before the last `@` of a URL, whatever it is: a password may have been written without encoding it.
_secret = re.compile(r"//.*@", re.DOTALL)
_unseen = re.compile(r"[\x00-\x20\x7f]")

FORM = "redis://[[user]:password@]host[:port][/database], or redis+sentinel://host[:port],.../MASTER; rediss for TLS"


@dataclass(frozen=True)
class RedisTarget:
    """What a URL says.

    Attributes:
        hosts: of Redis, or those of Sentinel where `master` is named.
        master: the name that Sentinel knows the master by; None without Sentinel.
        user: of the ACL; None for the default one.
        password: never shown.
        ca: a file with certificates of authorities to trust beside the system's; None for none.
        prefix: what all keys begin with.
        wait: replicas that have to have an append before it counts as kept.
        shown: the URL for log lines and errors: without the password.
    """

    hosts: tuple[Address, ...]
    shown: str
    master: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    is_tls: bool = False
    ca: str | None = None
    prefix: str = DEFAULT_PREFIX
    wait: int = 0


def is_redis(url: str) -> bool:
    """Whether a URL is one for `parse`."""
    return _scheme.match(url) is not None


def shown(url: str) -> str:
    """Any URL on one line, without what may be a password."""
    return _unseen.sub("?", _secret.sub(lambda found: f"//{user_of(found.group())}***@", url))


def user_of(login: str) -> str:
    """The part of a login that may be shown: the user, with the colon after it."""
    user, colon, _ = login[2:-1].partition(":")
    # A user that holds what only a password would is one.
    return f"{user}:" if colon and re.fullmatch(r"[A-Za-z0-9._%-]*", user) else ""


def parse(url: str) -> RedisTarget:
    """Read a URL.

    Raises:
        ConfigError: it is not one; what is wrong is named, and the password is not.
    """
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    rest = rest[len(authority) :]
    path, _, query = rest.partition("?")
    if not is_redis(url):
        raise wrong(url, f"it begins with no scheme of Redis; the form is {FORM}")
    if _unseen.search(url):
        raise wrong(url, "spaces and control characters are percent-encoded, a space as %20")
    if "@" in rest:
        raise wrong(url, "user and password have / ? # and @ as %2F %3F %23 and %40")
    if "#" in rest:
        raise wrong(url, "there is no fragment (#) in such a URL")
    login, _, hosts = authority.rpartition("@")
    user, password = read_login(url, login)
    has_sentinel = scheme.endswith("+sentinel")
    master, database = read_path(url, path, has_sentinel=has_sentinel)
    options = read_options(url, query)
    is_tls = scheme.startswith("rediss")
    if "ca" in options and not is_tls:
        raise wrong(url, "ca=FILE is for TLS: rediss://")
    return RedisTarget(
        hosts=read_hosts(url, hosts, SENTINEL_PORT if has_sentinel else PORT),
        shown=shown(url),
        master=master,
        user=user,
        password=password,
        database=database,
        is_tls=is_tls,
        ca=options.get("ca"),
        prefix=read_prefix(url, options.get("prefix", DEFAULT_PREFIX)),
        wait=read_number(url, "wait", options.get("wait", "0"), MOST_WAIT),
    )


def read_login(url: str, login: str) -> tuple[str | None, str | None]:
    if not login:
        return None, None
    user, _, password = login.partition(":")
    if not password:
        raise wrong(url, "there is no password after the user; it is user:password@ or :password@")
    return unquote(user) or None, unquote(password)


def read_hosts(url: str, hosts: str, default_port: int) -> tuple[Address, ...]:
    found = tuple(read_host(url, host, default_port) for host in hosts.split(","))
    if len(found) > MOST_HOSTS:
        raise wrong(url, f"there are {len(found)} hosts, and {MOST_HOSTS} are enough")
    return found


def read_host(url: str, text: str, default_port: int) -> Address:
    name = text[: text.find("]") + 1] if text.startswith("[") else text.partition(":")[0]
    colon, port = text[len(name) :][:1], text[len(name) + 1 :]
    if not _host.fullmatch(name) or colon not in ("", ":"):
        raise wrong(url, "a host is a name, an IPv4 address, or an IPv6 address in brackets, then perhaps :port")
    number = read_number(url, "the port", port, 65535) if colon else default_port
    if not number:
        raise wrong(url, "the port is 0")
    return name.strip("[]"), number


def read_path(url: str, path: str, *, has_sentinel: bool) -> tuple[str | None, int]:
    """The master's name and the database."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    master = None
    if has_sentinel:
        master = parts.pop(0) if parts else ""
        if not _master.fullmatch(master):
            raise wrong(url, "after Sentinel's hosts comes the name of the master: /MASTER")
    if len(parts) > 1:
        raise wrong(url, "after the database comes nothing more in the path")
    return master, read_number(url, "the database", parts[0] if parts else "0", MOST_DATABASE)


def read_options(url: str, query: str) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for option in query.split("&") if query else ():
        name, equals, value = option.partition("=")
        if name not in ("ca", "prefix", "wait"):
            raise wrong(url, f"{name[:40]!r} is no option; there are prefix=NAME, wait=N and ca=FILE")
        if name in options:
            raise wrong(url, f"{name} is given twice")
        if not equals or not value:
            raise wrong(url, f"{name} has no value")
        options[name] = unquote(value)
    return options


def read_prefix(url: str, prefix: str) -> str:
    if not _prefix.fullmatch(prefix):
        raise wrong(url, "a prefix is 1 to 64 of the letters A to Z, a to z, digits, and : . _ -")
    return prefix


def read_number(url: str, what: str, text: str, most: int) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > most:
        raise wrong(url, f"{what} is a number up to {most}")
    return int(text)


def wrong(url: str, what: str) -> ConfigError:
    return ConfigError(f"--engine {shown(url)}: {what}")
