"""Users whom others vouch for, on two nodes: what one node ends is over on the other."""

from __future__ import annotations

import asyncio

import jwt
import pytest

from hubbub.client import Participant
from hubbub.cluster.redis import RedisServer
from hubbub.dialect import V1
from hubbub.engine import Grant
from hubbub.engine.redis.engine import make_redis_engine
from hubbub.engine.redis.target import parse
from hubbub.testing import Clock, Guest, Stage, at_work, in_a_line
from redis_nodes import new_prefix
from redis_servers import needs_redis

pytestmark = pytest.mark.anyio

SECRET = "a secret that is as long as its hash"


async def enter(stage: Stage, grant: Grant) -> Guest:
    """A client that was let in by a grant."""
    client = Participant(grant.user, grant.session, V1, in_a_line, terms=grant)
    await stage.core.connect(client)
    guest = Guest(stage.core, client)
    client.attach(guest)
    return guest


async def closed(guest: Guest) -> int | None:
    """How a client is closed, as soon as it is."""
    async with asyncio.timeout(20):
        while guest.closed is None:
            await asyncio.sleep(0)
    return guest.close_code


@needs_redis
async def test_what_one_node_ends_is_over_on_every_node(redis_single: RedisServer) -> None:
    clock = Clock()
    target = parse(f"{redis_single.url}?prefix={new_prefix()}")
    engines = [await make_redis_engine(target, clock=clock) for _ in range(2)]
    async with (
        at_work(engine=engines[0], clock=clock, jwt_key=SECRET) as here,
        at_work(engine=engines[1], clock=clock, jwt_key=SECRET) as there,
    ):
        assert there.core.tokens is not None
        grant = await there.core.tokens.grant(jwt.encode({"sub": "zoë, of Sales"}, SECRET, "HS256"))
        other = await there.core.tokens.grant(jwt.encode({"sub": "zoë, of Sales", "jti": "2"}, SECRET, "HS256"))
        first, second, yan = await enter(there, grant), await enter(there, other), await there.client("yan")
        here.core.sessions.sign_out(grant.user, grant.session)
        assert await closed(first) == 4100
        assert second.closed is None
        await here.hub.revoke(grant.user)
        assert await closed(second) == 4100
        clock.go(1)
        third = await enter(there, other)
        here.hub.disconnect(grant.user)
        assert await closed(third) == 4101
        assert yan.closed is None


@needs_redis
async def test_a_one_time_password_of_one_node_has_its_terms_on_another(redis_single: RedisServer) -> None:
    clock = Clock()
    target = parse(f"{redis_single.url}?prefix={new_prefix()}")
    engines = [await make_redis_engine(target, clock=clock) for _ in range(2)]
    async with at_work(engine=engines[0], clock=clock) as here, at_work(engine=engines[1], clock=clock) as there:
        grant = Grant("zoë, of Sales", "outside", None, {"id": 7}, 5000.0, is_kept=False)
        await here.engine.issue_otp("otp", grant, ttl_s=5, per_account=0, in_all=0)
        assert await there.engine.take_otp("otp") == grant
