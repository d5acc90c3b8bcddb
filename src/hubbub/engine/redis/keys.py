"""Names of keys and channels, and the partition that a room belongs to.

Everything of a partition has one hash tag, so that a cluster keeps it in one slot, and a script can change it in one
step.  Tags are short numbers, taken such that the slots of the partitions are spread evenly over all slots; their own
numbers would collide.
"""

from __future__ import annotations

from binascii import crc_hqx
from functools import cache
from itertools import count

__all__ = ["SLOTS", "VAULT_SLOT", "Keyspace", "slot_of"]

# Of a cluster (Redis cluster specification, "Key distribution model").
SLOTS = 16384

VAULT_TAG = "v"


def slot_of(tag: str) -> int:
    """The slot of all keys with a hash tag; the checksum is CRC16/XMODEM, as `crc_hqx` from 0."""
    return crc_hqx(tag.encode(), 0) % SLOTS


VAULT_SLOT = slot_of(VAULT_TAG)


@cache
def tags(partitions: int) -> tuple[str, ...]:
    """A tag for each partition: the least number whose slot lies in the partition's share of all slots.

    Part of the format: other tags are other keys.
    """
    found: dict[int, str] = {}
    for number in count():
        tag = str(number)
        found.setdefault(slot_of(tag) * partitions // SLOTS, tag)
        if len(found) == partitions:
            break
    return tuple(found[partition] for partition in range(partitions))


class Keyspace:
    """The keys of one deployment.

    Args:
        prefix: what all keys begin with; no braces.
        partitions: how many there are.
    """

    def __init__(self, prefix: str, partitions: int) -> None:
        self.partitions = partitions
        self._prefix = prefix
        self._starts = [f"{prefix}:{{{tag}}}:".encode() for tag in tags(partitions)]
        self._slots = [slot_of(tag) for tag in tags(partitions)]
        self._vault = f"{prefix}:{{{VAULT_TAG}}}:".encode()

    def partition_of(self, room: str) -> int:
        """The partition of a room.  Part of the format."""
        return crc_hqx(room.encode(), 0) % self.partitions

    def slot(self, partition: int) -> int:
        """The cluster's slot of a partition."""
        return self._slots[partition]

    def in_partition(self, partition: int, name: str) -> bytes:
        """A key of a partition as a whole, such as `f`, its facts."""
        return self._starts[partition] + name.encode()

    def of_room(self, kind: str, room: str) -> bytes:
        """A key or channel of a room; `kind` is a letter, such as `l` for its messages."""
        return self._starts[self.partition_of(room)] + f"{kind}:{room}".encode()

    def pattern(self, kind: str) -> str:
        """What SCAN finds all keys of a kind by."""
        return f"{self._prefix}:{{*}}:{kind}:*"

    def of_vault(self, name: str) -> bytes:
        """A key or channel of the vault, in whose slot are also the leases of the nodes."""
        return self._vault + name.encode()

    @property
    def of_leases(self) -> list[bytes]:
        """The keys of the scripts for leases."""
        return [self.of_vault("f"), self.of_vault("nodes"), self.of_vault("sweeps"), self.of_vault("gone")]

    @staticmethod
    def about(prefix: str) -> bytes:
        """Where the deployment's format is kept; it is read before the number of partitions is known."""
        return f"{prefix}:{{0}}:about".encode()
