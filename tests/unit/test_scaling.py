"""The model of what a deployment carries: what it adds up, and where it says that it ends."""

from __future__ import annotations

import pytest

from comparison.scaling import SCENARIOS, Costs, Scenario, demand, nodes_of_room, rooms_of, saturation, size_up

PAIRS = Scenario("pairs", 1000, 2, 0.5, most_per_room=100)


def test_every_connection_is_in_one_room() -> None:
    for scenario in SCENARIOS:
        assert sum(count * size for count, size in rooms_of(scenario)) == pytest.approx(scenario.connections, rel=0.01)
        assert max(size for _, size in rooms_of(scenario)) <= scenario.largest


def test_a_room_is_on_as_many_nodes_as_its_members_come_to() -> None:
    assert nodes_of_room(5, 1, 0) == 1
    assert nodes_of_room(1, 10, 0) == pytest.approx(1)
    assert nodes_of_room(10_000, 10, 0) == pytest.approx(10)
    assert nodes_of_room(10_000, 10, 3) == pytest.approx(3)


def test_one_message_a_second_costs_what_its_steps_cost() -> None:
    scenario = Scenario("one room", 10, 10, 0.1, most_per_room=1)
    costs = Costs(call_s=0)
    found = demand(scenario, costs, nodes=1, masters=1)
    rooms = list(rooms_of(scenario))
    posts = sum(count * min(size * 0.1, 1) for count, size in rooms)
    writes = sum(count * min(size * 0.1, 1) * size for count, size in rooms)
    steps = costs.post + costs.append_message + costs.append_call + costs.append_room
    assert found.node * 1e6 == pytest.approx(posts * steps + writes * costs.write + 10 * costs.idle)
    of_redis = costs.redis_call + costs.redis_room + costs.redis_message + costs.redis_key + costs.redis_push
    assert found.master * 1e6 == pytest.approx(posts * of_redis)


def test_more_nodes_have_less_to_do_each_and_redis_has_more() -> None:
    one, ten = demand(PAIRS, Costs(), 1, 1), demand(PAIRS, Costs(), 10, 1)
    assert ten.node < one.node
    assert ten.master > one.master
    assert ten.links == 10 * one.links


def test_what_is_sized_carries_the_load_and_one_node_less_does_not() -> None:
    for scenario in SCENARIOS:
        sizing = size_up(scenario)
        assert sizing.demand.node <= 0.6
        assert sizing.demand.master <= 0.6
        if sizing.nodes > 1 and sizing.first == "node CPU":
            assert demand(scenario, Costs(), sizing.nodes * 9 // 10, sizing.masters).node > 0.6


def test_a_load_that_no_number_of_masters_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer nodes"):
        size_up(Scenario("too much", 10_000_000, 2, 100, most_per_room=1000))


def test_larger_calls_fill_redis_with_more_messages() -> None:
    assert saturation(Costs(), 1, 1) < saturation(Costs(), 200, 1) < saturation(Costs(), 200, 5)
