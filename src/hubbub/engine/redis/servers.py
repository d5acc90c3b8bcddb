"""The servers of a target: connections to them, which of them are masters, and whether they can be used.

redis-py makes each connection: TLS, authentication, the protocol's version.  Where the masters are is asked here, for
one server, Sentinel and a cluster alike, so that everything above has one way to find them, and one set of errors.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from hubbub.engine.redis.keys import SLOTS, Keyspace, slot_of
from hubbub.engine.redis.target import Address, RedisTarget
from hubbub.errors import ConfigError, EngineError

__all__ = ["SILENT_S", "Servers", "connect", "hang_up"]

# A connection that cannot be made in this time, or says nothing for that time, is dead.
CONNECT_S = 2.0
SILENT_S = 4.0

# How long a start waits for a server that is not there yet, or still reads what it has kept.
START_S = 10.0
START_RETRY_S = 0.25

OLDEST = 7
FORMAT = 1
CLUSTER_PARTITIONS = 256

log = structlog.get_logger("hubbub.engine")


class About(msgspec.Struct):
    """What a deployment was begun with; kept in Redis."""

    format: int
    partitions: int


class Servers:
    """The masters of a target, and connections to them.

    Attributes:
        target: what it is made from.
        keys: the deployment's keys; known after `start`.
        is_cluster: whether it is a cluster; known after `start`.
    """

    keys: Keyspace

    def __init__(self, target: RedisTarget, name: str = "hubbub", *, warns: bool = True) -> None:
        self.target = target
        self._warns = warns
        self.is_cluster = False
        self._name = name
        # Those that can be asked where the masters are, the one that knew it last first.
        self._known = list(target.hosts)
        self._masters: list[Address | None] = []
        self._turn = asyncio.Lock()
        self._asked = 0
        self._failure: EngineError | None = None

    @property
    def publish(self) -> str:
        """The command that publishes: in a cluster, to the nodes of the channel's slot alone."""
        return "SPUBLISH" if self.is_cluster else "PUBLISH"

    # Connections

    @property
    def connection_kwargs(self) -> dict[str, Any]:
        """What a connection of redis-py is made with, but for `host` and `port`."""
        kwargs: dict[str, Any] = {
            "db": self.target.database,
            "username": self.target.user,
            "password": self.target.password,
            "client_name": self._name,
            "protocol": 3,
            # Who uses a connection limits the time.  redis-py would do it by `asyncio.wait_for`, which swallows a
            # cancellation that comes with the result (Python 3.11, gh-86296).
            "socket_connect_timeout": None,
            "socket_timeout": None,
            "retry": Retry(NoBackoff(), 0),  # who calls knows what may be repeated
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        if self.target.is_tls:
            kwargs["ssl_ca_certs"] = self.target.ca
        return kwargs

    def connection(self, address: Address, **changes: Any) -> Connection:
        """A connection that is not open yet.

        Args:
            changes: of `connection_kwargs`.
        """
        kind = SSLConnection if self.target.is_tls else Connection
        host, port = address
        return kind(host=host, port=port, **{**self.connection_kwargs, **changes})

    async def open(self, address: Address, **changes: Any) -> Connection:
        """An open connection.

        Args:
            changes: of `connection_kwargs`.

        Raises:
            RedisError, OSError: it cannot be opened, or not in time.
        """
        connection = self.connection(address, **changes)
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no annotation there
        except TimeoutError:
            await hang_up(connection)
            raise TimeoutError(f"{address[0]}:{address[1]} does not answer within {CONNECT_S:g} s") from None
        except BaseException:
            await hang_up(connection)
            raise
        return connection

    # Masters

    async def master(self, slot: int = 0) -> Address:
        """The master of a slot, as far as is known; without a cluster, of all slots.

        Raises:
            EngineError: nobody can tell.
        """
        if not self._masters:
            await self.refresh()
        address = self._masters[slot if self.is_cluster else 0]
        if address is None:
            raise EngineError(f"{self.target.shown}: no server has slot {slot}")
        return address

    def moved(self, slot: int, address: Address) -> None:
        """Note what a MOVED error has told."""
        if self.is_cluster and self._masters:
            self._masters[slot] = address

    async def refresh(self) -> None:
        """Ask anew where the masters are.  Of many that ask at once, one does.

        Raises:
            EngineError: nobody can tell.
        """
        asked = self._asked
        async with self._turn:
            if self._asked == asked:
                self._failure = None
                try:
                    self._masters = await self._find_masters()
                except EngineError as error:
                    self._failure = error
                self._asked += 1
        if self._failure is not None:
            raise EngineError(str(self._failure))

    async def _find_masters(self) -> list[Address | None]:
        failures = []
        for address in [*self._known, *(host for host in self.target.hosts if host not in self._known)]:
            try:
                masters = await self._masters_by(address)
            except (RedisError, OSError, EngineError) as error:
                failures.append(f"{address[0]}:{address[1]}: {error}")
                continue
            self._known.remove(address)
            # In a cluster another one is asked next time: one that the others have lost does not know that it is.
            self._known.insert(len(self._known) if self.is_cluster else 0, address)
            return masters
        raise EngineError(f"{self.target.shown}: no master is found; " + "; ".join(failures[:4]))

    async def _masters_by(self, address: Address) -> list[Address | None]:
        """The masters, as one server knows them."""
        if self.is_cluster:
            return await self._masters_by_cluster(address)
        if self.target.master is not None:
            address = await self._master_by_sentinel(address)
        elif len(self.target.hosts) == 1:
            return [address]
        async with self.opened(address) as connection:
            role, *_ = await ask(connection, "ROLE")
        if role != b"master":
            # Sentinel may name the old master for some seconds.
            raise EngineError(f"{address[0]}:{address[1]} is no master")
        return [address]

    async def _master_by_sentinel(self, sentinel: Address) -> Address:
        # Sentinels have no databases, and often no password where the servers have one.
        plain = {"db": 0, "username": None, "password": None}
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.target.master)
        try:
            async with self.opened(sentinel, **plain) as connection:
                found = await ask(connection, *command)
        except (AuthenticationError, NoPermissionError):
            async with self.opened(sentinel, db=0) as connection:
                found = await ask(connection, *command)
        if found is None:
            raise EngineError(f"Sentinel knows no master {self.target.master!r}")
        return found[0].decode(), int(found[1])

    async def _masters_by_cluster(self, address: Address) -> list[Address | None]:
        async with self.opened(address) as connection:
            shards = await ask(connection, "CLUSTER", "SLOTS")
        masters: list[Address | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in shards:
            # A host without a name is the one that was asked (CLUSTER SLOTS, "preferred endpoint").
            name = host.decode() if host and host != b"?" else address[0]
            masters[first : last + 1] = [(name, port)] * (last + 1 - first)
        known = dict.fromkeys(master for master in masters if master is not None)
        self._known = [address, *(master for master in known if master != address)]
        return masters

    @asynccontextmanager
    async def opened(self, address: Address, **changes: Any) -> AsyncIterator[Connection]:
        """A connection for a question or two.

        Raises:
            RedisError, OSError: it cannot be opened, or there is no answer in time.
        """
        connection = await self.open(address, **changes)
        try:
            async with asyncio.timeout(SILENT_S):
                yield connection
        except TimeoutError:
            raise TimeoutError(f"{address[0]}:{address[1]} does not answer within {SILENT_S:g} s") from None
        finally:
            await hang_up(connection)

    # Starting

    async def start(self) -> None:
        """Find the masters and check each of them; whether it is a cluster, and what it was begun with.

        Raises:
            ConfigError: it cannot be used as it is.
            EngineError: it cannot be used yet.
        """
        self.is_cluster, self._masters = False, []
        try:
            self.is_cluster = self.target.master is None and await self._ask_whether_cluster()
            if self.is_cluster and self.target.database:
                raise self._config_error("a cluster has no database but 0")
            await self.refresh()
            if None in self._masters:
                raise EngineError(f"{self.target.shown}: there are slots that no server of the cluster has")
            masters = dict.fromkeys(master for master in self._masters if master is not None)
            facts = {address: await self._facts(address) for address in masters}
            for address in masters:
                self._check(address, facts[address])
            await self._read_about()
        except AuthenticationError as error:
            what = "a password is needed" if self.target.password is None else "the user or the password is wrong"
            raise self._config_error(f"{what}: {error}") from None
        except NoPermissionError as error:
            raise self._config_error(f"the user may not do what is needed: {error}") from None
        except (RedisError, OSError) as error:
            raise EngineError(f"{self.target.shown}: {error}") from None
        if self._warns:
            for address in masters:
                self._warn(address, facts[address])

    async def _ask_whether_cluster(self) -> bool:
        """Ask the first one that answers, master or not."""
        for address in self.target.hosts[:-1]:
            with contextlib.suppress(RedisError, OSError):
                return is_of_cluster(await self._facts(address))
        return is_of_cluster(await self._facts(self.target.hosts[-1]))

    async def _facts(self, address: Address) -> dict[str, str]:
        async with self.opened(address) as connection:
            text = (await ask(connection, "INFO")).decode(errors="replace")
        pairs = (line.partition(":") for line in text.splitlines())
        return {name: value for name, colon, value in pairs if colon}

    def _check(self, address: Address, facts: Mapping[str, str]) -> None:
        """Check one master, by what it says of itself."""
        where = f"{address[0]}:{address[1]}"
        version = facts.get("redis_version", "0")
        if int(version.partition(".")[0]) < OLDEST:
            raise self._config_error(f"{where} is Redis {version}; Redis {OLDEST} or Valkey is needed")
        if facts.get("loading") == "1":
            raise EngineError(f"{where} is still reading what it has kept")
        if facts.get("role") != "master":
            master = f"{facts.get('master_host')}:{facts.get('master_port')}"
            raise self._config_error(f"{where} is a replica of {master}; name the master, all hosts, or Sentinel")
        policy = facts.get("maxmemory_policy", "unknown")
        if policy != "noeviction":
            raise self._config_error(f"{where} has maxmemory-policy {policy}, and would drop messages; set noeviction")
        if is_of_cluster(facts) and self.target.master is not None:
            raise self._config_error(f"{where} is of a cluster, which Sentinel does not watch; name hosts of it alone")

    def _warn(self, address: Address, facts: Mapping[str, str]) -> None:
        """Say what the server can be used with, and should not be."""
        where = f"{address[0]}:{address[1]}"
        if facts.get("aof_enabled") != "1":
            log.warning("Redis keeps no append-only file: its restart loses messages; set appendonly yes", server=where)
        replicas = int(facts.get("connected_slaves", "0"))
        if replicas < self.target.wait:
            log.warning("there are fewer replicas than wait=N", server=where, replicas=replicas, wait=self.target.wait)

    async def _read_about(self) -> None:
        """Find what the deployment was begun with, or begin it."""
        key = Keyspace.about(self.target.prefix)
        wanted = About(FORMAT, CLUSTER_PARTITIONS if self.is_cluster else 1)
        async with self.opened(await self.master(slot_of("0"))) as connection:
            try:
                found = await ask(connection, "GET", key)
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE "):
                    raise
                found = b""
            if found is None:  # not in one step with GET: that would be refused where the memory is full
                await ask(connection, "SET", key, msgspec.json.encode(wanted), "NX")
                found = await ask(connection, "GET", key)
        try:
            about = msgspec.json.decode(found or b"", type=About)
        except msgspec.DecodeError:
            raise self._config_error(f"{key.decode()} is not Hubbub's; take another ?prefix=") from None
        if about != wanted:
            raise self._config_error(
                f"{key.decode()} has format {about.format} with {about.partitions} partitions, and here it is "
                f"format {wanted.format} with {wanted.partitions}; take another ?prefix="
            )
        self.keys = Keyspace(self.target.prefix, about.partitions)

    def _config_error(self, what: str) -> ConfigError:
        return ConfigError(f"--engine {self.target.shown}: {what}")


async def connect(target: RedisTarget, name: str = "hubbub", *, warns: bool = True) -> Servers:
    """Find the servers of a target and check them, waiting for a while for those that are not there yet.

    Args:
        name: what connections are called in CLIENT LIST.
        warns: whether the log is told what the servers had better be set to.

    Raises:
        ConfigError: they cannot be used.
    """
    check_ca(target)
    servers = Servers(target, name, warns=warns)
    loop = asyncio.get_running_loop()
    end = loop.time() + START_S
    while True:
        try:
            await servers.start()
        except EngineError as error:
            if loop.time() >= end:
                raise ConfigError(f"--engine {error}; it was not there within {START_S:.0f} s") from None
        else:
            return servers
        await asyncio.sleep(START_RETRY_S)


def check_ca(target: RedisTarget) -> None:
    if target.ca is not None and not Path(target.ca).is_file():
        raise ConfigError(f"--engine {target.shown}: ca={target.ca}: there is no such file")


def is_of_cluster(facts: Mapping[str, str]) -> bool:
    return facts.get("cluster_enabled") == "1"


async def hang_up(connection: Connection) -> None:
    """End a connection, whatever state it is in."""
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)


async def ask(connection: Connection, *command: object) -> Any:
    """Send one command, and read its answer.

    Raises:
        RedisError: the connection is lost, or the answer is an error.
    """
    await connection.send_command(*command)
    return await connection.read_response()
