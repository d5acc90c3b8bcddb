"""The server under load: which address it has, and how to get in."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable

import msgspec

from hubbub.bench.orders import Destination
from hubbub.errors import AuthError, ConfigError, ProtocolError
from hubbub.sdk.session import HttpRefused, ServerAddress, denied, head, read_answer

__all__ = [
    "TicketSource",
    "address_of",
    "authorities_of",
    "check_path",
    "dial",
    "is_near",
    "log_out",
    "reachable",
    "server_at",
]

REQUEST_S = 10.0
DIAL_S = 5.0

NEAR = [
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "::1/128"),  # this machine
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # private: RFC 1918, RFC 4193
        *("169.254.0.0/16", "fe80::/10"),  # the same link: RFC 3927, RFC 4291
    )
]

PATH = re.compile(r"/[^?#\s]*")


def is_near(address: str) -> bool:
    """Whether an address is this machine's own, or one of a private network."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in NEAR if network.version == parsed.version)


def address_of(host: str, port: int, *, is_own: bool) -> list[tuple[int, list[str | int]]]:
    """The family and address of a host, as the socket module writes them: all it has, each near unless `is_own`.

    Raises:
        ConfigError: it has none, or one that anybody's server could have.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"{host} has no address: {error.strerror or error}") from None
    addresses: list[tuple[int, list[str | int]]] = [(int(each[0]), [*each[4]]) for each in found]
    far = [str(address[0]) for _family, address in addresses if not is_near(str(address[0]))]
    if far and not is_own:
        where = host if host == far[0] else f"{host} ({far[0]})"
        raise ConfigError(
            f"{where} is neither this machine nor on a private network; this is a load that takes servers down, "
            f"so say --yes-i-own-it if it is yours"
        )
    return addresses


def server_at(place: Destination) -> ServerAddress:
    """The server as the SDK knows it."""
    return ServerAddress(place.url, context_of(place))


def context_of(place: Destination) -> ssl.SSLContext | None:
    if not place.url.startswith("https:"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if place.authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=b"".join(place.authorities))
    return context


def authorities_of(context: ssl.SSLContext | None) -> list[bytes] | None:
    """What a context trusts, to be sent to another process: only bytes can be."""
    if context is None:
        return []
    return context.get_ca_certs(binary_form=True) if context.verify_mode is not ssl.CERT_NONE else None


def check_path(path: str) -> str:
    """A path as it stands in a URL.

    Raises:
        ValueError: it is none.
    """
    path = "/" + path.lstrip("/")
    if not PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no path; write /ws")
    return path


async def dial(place: Destination, receive_buffer: int = 0) -> socket.socket:
    """A connected socket. `OSError` when no one answers in time."""
    connection = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        async with asyncio.timeout(DIAL_S):
            await asyncio.get_running_loop().sock_connect(connection, tuple(place.address))
    except BaseException:
        connection.close()
        raise
    return connection


class LoginAnswer(msgspec.Struct):
    """What logging in, or asking for another ticket, is answered."""

    otp: str
    token: str = ""


class TicketSource:
    """One-time passwords: of a login if the server has such a thing, or else each of a login of its own.

    Args:
        server: where to ask.

    Attributes:
        token: of the login; empty where the server gives none.
    """

    def __init__(self, place: Destination, server: ServerAddress) -> None:
        self.token = place.token
        self._place = place
        self._server = server

    async def take(self) -> str:
        """A one-time password.

        Raises:
            AuthError: wrong name or password.
            HttpRefused: not now.
            ProtocolError: what answers is no such server.
            OSError: no one answers.
            TimeoutError: not in time.
        """
        if self.token:
            try:
                return (await self._ask("/otp", self.token)).otp
            except HttpRefused as refused:
                if refused.status not in (401, 404, 405):
                    raise
                self.token = ""  # ended, or there is no such request here
        body = msgspec.json.encode({"username": self._place.user, "password": self._place.password})
        try:
            answer = await self._ask("/login", "", body)
        except HttpRefused as refused:
            if refused.status == 401:
                raise AuthError(refused.message) from None
            raise
        self.token = answer.token
        return answer.otp

    async def _ask(self, path: str, token: str, body: bytes = b"") -> LoginAnswer:
        answer = await post(self._place, self._server, path, token, body)
        try:
            return msgspec.json.decode(answer, type=LoginAnswer)
        except (msgspec.DecodeError, UnicodeError):
            raise ProtocolError(f"{self._server.url}{path} answers, but is no Hubbub server") from None


async def log_out(place: Destination, server: ServerAddress, token: str) -> None:
    """End a login, as far as the server takes it."""
    if token:
        try:
            await post(place, server, "/logout", token)
        except (HttpRefused, ProtocolError, OSError, TimeoutError):
            pass


async def post(place: Destination, server: ServerAddress, path: str, token: str, body: bytes = b"") -> bytes:
    """Send one POST on a connection of its own; the body of the answer."""
    async with asyncio.timeout(REQUEST_S):
        connection = await dial(place)
        name = server.host if server.tls else None
        reader, writer = await asyncio.open_connection(sock=connection, ssl=server.tls, server_hostname=name)
        try:
            writer.write(head(server, path, len(body), token) + body)
            status, answer = await read_answer(reader)
        finally:
            writer.transport.abort()
    if not 200 <= status < 300:
        raise denied(status, answer.body, answer.headers.get("retry-after", ""))
    return answer.body


async def reachable(places: Iterable[Destination]) -> Destination:
    """The first place where someone answers.

    Raises:
        OSError: there is none.
    """
    failure: OSError | None = None
    for place in places:
        try:
            (await dial(place)).close()
        except OSError as error:
            failure = error
        else:
            return place
    raise failure or OSError("no address")
