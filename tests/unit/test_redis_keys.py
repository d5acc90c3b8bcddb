"""How keys are named: part of the format, so the values themselves are fixed here."""

from __future__ import annotations

from redis.crc import key_slot

from hubbub.engine.redis.keys import SLOTS, VAULT_SLOT, Keyspace, slot_of, tags


def test_slots_of_tags_are_spread_evenly() -> None:
    slots = [slot_of(tag) for tag in tags(256)]
    assert [slot // 64 for slot in slots] == list(range(256))
    assert len(set(tags(256))) == 256
    assert max(map(len, tags(256))) <= 3


def test_tags_do_not_change() -> None:
    assert tags(1) == ("0",)
    assert tags(256)[:4] == ("460", "14", "278", "10")


def test_all_keys_of_a_partition_are_in_its_slot() -> None:
    keys = Keyspace("hubbub", 256)
    for room in ("general", "dm:alice,percy", "Zoë", "{braces}", "}{", "a room"):
        partition = keys.partition_of(room)
        slots = {key_slot(keys.of_room(kind, room)) for kind in "lpce"} | {key_slot(keys.in_partition(partition, "f"))}
        assert slots == {keys.slot(partition)}
        assert keys.slot(partition) * 256 // SLOTS == partition


def test_keys_are_legible() -> None:
    assert Keyspace("chat", 1).of_room("l", "general") == b"chat:{0}:l:general"
    assert Keyspace("chat", 1).in_partition(0, "f") == b"chat:{0}:f"
    assert Keyspace("chat", 256).of_vault("a") == b"chat:{v}:a"
    assert key_slot(b"chat:{v}:a") == VAULT_SLOT
    assert key_slot(Keyspace.about("chat")) == slot_of("0")


def test_rooms_are_spread_over_all_partitions() -> None:
    keys = Keyspace("hubbub", 256)
    assert len({keys.partition_of(f"room {number}") for number in range(4000)}) == 256
    assert Keyspace("hubbub", 1).partition_of("general") == 0
