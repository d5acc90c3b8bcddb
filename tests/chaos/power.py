"""A filesystem whose power can be cut: on a loop device, shut down without a flush."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from servers import SERVE

__all__ = ["Disk", "program_in_boot", "why_not"]

# linux/fs/ext4/ext4.h, EXT4_IOC_SHUTDOWN = _IOR('X', 125, __u32): the filesystem stops at once.
EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2
SIZE = 96 << 20
UNMOUNT_S = 30.0


def why_not() -> str:
    """Why the power of a filesystem cannot be cut here; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it takes Linux and root to mount a filesystem"
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount", "unshare", "losetup") if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]}"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


class Disk:
    """An ext4 filesystem in a file.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self.folder = folder / "disk"
        self.folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def mount(self) -> None:
        # What is dirty is written back no earlier than after a second, as on a machine that is quick to lose it.
        run("mount", "-o", "loop,commit=1", str(self._image), str(self.folder))

    def cut(self) -> None:
        """Stop it as a cut of the power does: what is not on the disk yet is lost."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NOLOGFLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it, and wait until nobody has it: mounted before that, it would be what it was, and still shut down.

        The mounts of a process that was killed go some time after it.
        """
        run("umount", str(self.folder))
        deadline = time.monotonic() + UNMOUNT_S
        while run("losetup", "-j", str(self._image)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._image} is still mounted somewhere")
            time.sleep(0.02)  # between two looks

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.unmount()


def program_in_boot(boot: Path) -> tuple[str, ...]:
    """`hubbub serve` on a machine whose boot has the name that a file has: the machine itself goes on."""
    script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(boot), *SERVE)


def run(*command: str) -> bytes:
    """Run a command; what it says."""
    return subprocess.run(command, check=True, capture_output=True).stdout
