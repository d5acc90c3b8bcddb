"""What a deployment on Redis carries, worked out from what each step of a message was measured to cost.

    python -m comparison.scaling

It answers which of nodes, Redis and the network saturates first, and how many of each a load takes.  A room's size
follows Zipf's law: the k-th largest has a k-th part of the largest one's members.  What it leaves out: storms of
reconnections, presence, history, TLS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["SCENARIOS", "Costs", "Demand", "Scenario", "Sizing", "demand", "saturation", "size_up"]


@dataclass(frozen=True)
class Costs:
    """Microseconds of one core, and bytes; docs/scaling.md says how they were measured, and on what.

    Attributes:
        post: of a node for a message from a client: frame, dispatch, batch, ack, encoding.
        append_call, append_room, append_message: of a node for a call, for each room and each message in it.
        heard_room, heard_message: of a node for what another one has said in a room at once, and each message of it.
        write: of a node for each member of a room that something is written to.
        idle: of a node for an idle connection, each second.
        redis_call, redis_room, redis_message, redis_key: of Redis for a call, and for what is in it.
        redis_push: of Redis for each node that hears what is said in a room at once.
        connection_bytes: memory of a node for a connection, without TLS.
        message_bytes: of a message on the wire.
        call_s: from a call to its answer; what is posted meanwhile is the next batch.
    """

    post: float = 101.0
    append_call: float = 111.0
    append_room: float = 10.0
    append_message: float = 4.2
    heard_room: float = 5.7
    heard_message: float = 0.6
    write: float = 14.6
    idle: float = 2.0
    redis_call: float = 80.0
    redis_room: float = 12.7
    redis_message: float = 1.8
    redis_key: float = 3.8
    redis_push: float = 0.7
    connection_bytes: float = 6_000
    message_bytes: float = 200
    call_s: float = 0.0005


@dataclass(frozen=True)
class Scenario:
    """A load.

    Attributes:
        connections: in all; each is in one room.
        largest: members of the largest room.
        per_member: messages a second that a member says.
        most_per_room: messages a second that are said in a room, however large it is.
        spread: nodes that the members of one room are on, at most; 0 for all.
    """

    name: str
    connections: int
    largest: int
    per_member: float
    most_per_room: float = 5.0
    spread: int = 0


@dataclass(frozen=True)
class Demand:
    """What a load takes each second: shares of a core, and bytes.

    Attributes:
        node: of the busiest node's one core.
        master: of the busiest master's one core.
        memory: bytes of a node.
        network: bytes a second that a node writes to clients.
        links: connections to each master.
    """

    node: float
    master: float
    memory: float
    network: float
    links: int


@dataclass(frozen=True)
class Sizing:
    """The fewest nodes and masters that carry a load, what they are busy with then, and what saturates first."""

    nodes: int
    masters: int
    demand: Demand
    first: str


# What may be used of each in the long run: a core needs room for bursts, and for a sibling's death.
MOST_CPU = 0.6
MOST_MEMORY = 8e9
MOST_NETWORK = 1.25e9 * 0.5  # half of 10 Gbit/s

PARTITIONS = 256
MOST_NODES = 20_000


def rooms_of(scenario: Scenario) -> Iterator[tuple[float, float]]:
    """How many rooms there are of a size, from the largest on, in steps that double the rank."""
    left = float(scenario.connections)
    first = 1
    while left >= 1:
        last = 2 * first - 1
        size = max(1.0, scenario.largest / math.sqrt(first * last))
        count = min(float(last - first + 1), left / size)
        if count < 1:
            size, count = left, 1.0
        yield count, size
        left -= count * size
        first = last + 1


def nodes_of_room(size: float, nodes: int, spread: int) -> float:
    """On how many nodes a room's members are, when each comes to any of those that the room may be on."""
    most = min(nodes, spread) if spread else nodes
    return most * (1 - (1 - 1 / most) ** size) if most > 1 else 1.0


def demand(scenario: Scenario, costs: Costs, nodes: int, masters: int) -> Demand:
    """What the load takes of so many nodes and masters."""
    posts = writes = heard = pushes = entries = 0.0
    for count, size in rooms_of(scenario):
        rate = min(scenario.per_member * size, scenario.most_per_room)
        live = nodes_of_room(size, nodes, scenario.spread)
        # What is said in a room within a call's time comes at once: to a node, and to each member.
        moments = rate / (1 + rate * costs.call_s)
        posts += count * rate
        entries += count * moments
        pushes += count * moments * live
        heard += count * moments * max(0.0, live - 1)
        writes += count * moments * size
    calls = calls_per_second(posts, nodes, masters, costs)
    node = (
        posts * (costs.post + costs.append_message)
        + calls * costs.append_call
        + entries * costs.append_room
        + heard * (costs.heard_room + costs.heard_message)
        + writes * costs.write
        + scenario.connections * costs.idle
    ) / nodes
    master = (
        calls * costs.redis_call
        + entries * costs.redis_room
        + posts * (costs.redis_message + costs.redis_key)
        + pushes * costs.redis_push
    ) / masters
    return Demand(
        node / 1e6,
        master / 1e6,
        scenario.connections / nodes * costs.connection_bytes,
        writes / nodes * costs.message_bytes,
        2 * nodes,
    )


def calls_per_second(posts: float, nodes: int, masters: int, costs: Costs) -> float:
    """A node has one call under way in each partition, which takes what was posted since the last one."""
    lanes = nodes * (1 if masters == 1 else PARTITIONS)
    each = posts / lanes
    return lanes * each / (1 + each * costs.call_s)


def size_up(scenario: Scenario, costs: Costs | None = None) -> Sizing:
    """The fewest nodes, and then masters, that carry a load.

    Raises:
        ValueError: no number of them does.
    """
    costs = costs or Costs()
    nodes, masters = 1, 1
    while nodes <= MOST_NODES:
        found = demand(scenario, costs, nodes, masters)
        used = shares(found)
        if found.master > MOST_CPU:
            if masters == PARTITIONS:
                break
            # A cluster has three masters or more.
            masters = min(PARTITIONS, max(3, masters + 1, math.ceil(masters * found.master / MOST_CPU)))
        elif max(used.values()) > 1:
            nodes = max(nodes + 1, math.ceil(nodes * max(used.values())))
        else:
            return Sizing(nodes, masters, found, max(used, key=used.__getitem__))
    raise ValueError(f"{scenario.name}: no more masters help; place the members of a room on fewer nodes (spread)")


def shares(found: Demand) -> dict[str, float]:
    """How much is used of what may be used."""
    return {
        "node CPU": found.node / MOST_CPU,
        "Redis CPU": found.master / MOST_CPU,
        "node memory": found.memory / MOST_MEMORY,
        "network": found.network / MOST_NETWORK,
    }


SCENARIOS = (
    Scenario("a company: 10^4, rooms up to 1,000", 10_000, 1_000, 0.01),
    Scenario("10^5, rooms up to 1,000", 100_000, 1_000, 0.01),
    Scenario("10^6, rooms up to 1,000", 1_000_000, 1_000, 0.01),
    Scenario("10^6, one room of 10^6", 1_000_000, 1_000_000, 0.01),
    Scenario("10^7, rooms up to 1,000", 10_000_000, 1_000, 0.01),
    Scenario("10^7, rooms up to 1,000, each on 8 nodes", 10_000_000, 1_000, 0.01, spread=8),
    Scenario("10^7, rooms up to 10^6", 10_000_000, 1_000_000, 0.01),
)


def main() -> None:
    print(f"{'load':44} {'nodes':>6} {'masters':>7} {'node':>6} {'Redis':>6} {'links':>6}  first to saturate")
    for scenario in SCENARIOS:
        try:
            sizing = size_up(scenario)
        except ValueError as error:
            print(error)
            continue
        found = sizing.demand
        print(
            f"{scenario.name:44} {sizing.nodes:6,} {sizing.masters:7,} {found.node:6.0%} {found.master:6.0%} "
            f"{found.links:6,}  {sizing.first}"
        )
    print("\nMessages a second that one Redis takes at 100 % of a core, from two nodes, each with a key:")
    for rooms, messages in ((1, 1), (1, 100), (10, 10), (200, 1), (200, 5)):
        print(f"  {messages} in each of {rooms} rooms a call: {saturation(Costs(), rooms, messages):,.0f}")


def saturation(costs: Costs, rooms: int, messages: int, nodes: int = 2) -> float:
    """Messages a second that fill one core of Redis, in calls of one shape."""
    of_room = costs.redis_room + nodes * costs.redis_push
    call = costs.redis_call + rooms * (of_room + messages * (costs.redis_message + costs.redis_key))
    return 1e6 * rooms * messages / call


if __name__ == "__main__":
    main()
