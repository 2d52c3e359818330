"""A container's own view of the machine's files: a mount namespace with its volumes bound at their paths.

Runs in the child between fork and exec, single-threaded, in a process that may mount (uid 0 of the sandbox's user
namespace). The machine's root is kept as it is; a mount path that does not exist is made in a private copy of its
nearest existing folder: a tmpfs whose entries are binds of the original's. Nothing is written to the machine's files.

Source: mount_namespaces(7), pivot_root(2), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of the node, and the path where the container finds it."""

    source: Path
    path: str
    is_read_only: bool = False


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send this process `signal_number` when the thread that forked it ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that it can reap them."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def name_host(hostname: str) -> None:
    """Give this process its own host name; where that is not allowed, it keeps the machine's."""
    if _libc.unshare(CLONE_NEWUTS) == 0:
        encoded = hostname.encode()
        _libc.sethostname(encoded, len(encoded))


def join_mounts(pid: int) -> None:
    """Enter the mount namespace of process `pid`.

    Raises:
        OSError: the process is gone, or it may not be entered.
    """
    descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNS), f"enter the files of process {pid}")
    finally:
        os.close(descriptor)


def bind_all(mounts: tuple[Mount, ...], scratch: Path) -> None:
    """Leave the machine's mount namespace and bind every volume at its path, outer paths first.

    `scratch` is an empty folder of this container's own, used as the place where a new root is put together.

    Raises:
        OSError: mounting is not allowed here, or a source does not exist.
    """
    _check(_libc.unshare(CLONE_NEWNS), "make a mount namespace")
    _mount(None, "/", None, MS_REC | MS_SLAVE)
    ours: set[str] = set()
    for mount in sorted(mounts, key=lambda item: item.path.count("/")):
        target = os.path.realpath(mount.path)
        is_folder = mount.source.is_dir()
        if not os.path.lexists(target):
            _make(target, ours, str(scratch), is_folder=is_folder)
        _mount(str(mount.source), target, None, MS_BIND | MS_REC)
        if mount.is_read_only:
            # A bind takes no other flags; a second call does. Locked flags of the source cannot be dropped: then as is.
            _libc.mount(None, target.encode(), None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)


def _make(target: str, ours: set[str], scratch: str, *, is_folder: bool) -> None:
    """Make `target` (and its parents) in a private copy of the nearest folder that exists.

    `ours` are the folders that are private already; what is bound in them is the machine's.
    """
    parent = os.path.dirname(target)  # noqa: PTH120 - plain strings: this runs between fork and exec
    if not os.path.lexists(parent):
        _make(parent, ours, scratch, is_folder=True)
    if parent not in ours:
        _copy_by_binds(parent, scratch)
        ours.add(parent)
    if is_folder:
        os.mkdir(target)  # noqa: PTH102
        ours.add(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _copy_by_binds(folder: str, scratch: str) -> None:
    """Put a tmpfs in the place of `folder`, holding the same entries: binds, and copies of symbolic links."""
    _mount("tmpfs", scratch, "tmpfs", 0, "mode=755")
    for entry in os.scandir(folder):
        place = f"{scratch}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)  # noqa: PTH115, PTH211
            continue
        if entry.is_dir(follow_symlinks=False):
            os.mkdir(place)  # noqa: PTH102
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        _mount(entry.path, place, None, MS_BIND | MS_REC)
    if folder != "/":
        _mount(scratch, folder, None, MS_BIND | MS_REC)
        _check(_libc.umount2(scratch.encode(), MNT_DETACH), f"unmount {scratch}")
        return
    os.chdir(scratch)
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"changing the root folder is not known for {platform.machine()}")
    _check(_libc.syscall(number, b".", b"."), "change the root folder")
    _check(_libc.umount2(b".", MNT_DETACH), "leave the old root folder")
    os.chdir("/")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = (source, target, kind, options)
    encoded = [None if word is None else os.fsencode(word) for word in words]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3])
    _check(result, f"mount {source or kind or ''} at {target}".replace("  ", " "))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")
