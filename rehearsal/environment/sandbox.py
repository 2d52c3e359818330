"""The sandbox seen from outside: start it, enter it, end it.

Invariants: one process (`unshare`) holds a sandbox; SIGKILL of it ends everything inside. Which process that is, with
its start time against reuse of the number, is in `sandbox.json`. A process that enters dies with the one that sent it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rehearsal.environment import layout, parts
from rehearsal.environment.errors import NamespacesRefused, NotRunning
from rehearsal.environment.polling import holds_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_END_BOUND_S = 10.0
_SIGNALS_AT_ONCE = 64
_NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")
_USER = ("--user", "--map-root-user")
_NOT_FOR_THE_GO_BETWEEN = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP)
_REMEDY = (
    "use another machine or a privileged container (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), "
    "or run against a live target with ./cutover run --target FILE"
)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that made it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _started_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def pid_of(place: layout.Place) -> int | None:
    """Return the pid of the process that holds the sandbox, None when it is not running."""
    try:
        document = json.loads(place.sandbox.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    pid, ticks = int(document["pid"]), int(document["started_ticks"])
    return pid if _started_ticks(pid) == ticks else None


def namespace_flags() -> tuple[str, ...]:
    """Return the flags of `unshare` that this machine allows: with a user namespace, or as root without one.

    Raises: NamespacesRefused naming the ways out.
    """
    attempts: list[tuple[str, ...]] = [(*_USER, *_NAMESPACES)]
    if os.geteuid() == 0:
        attempts.append(_NAMESPACES)
    said = []
    for flags in attempts:
        try:
            tried = subprocess.run(
                ["unshare", *flags, "--", "true"], capture_output=True, text=True, timeout=20, check=False
            )
        except FileNotFoundError as error:
            raise NamespacesRefused("the command unshare is missing", do="install util-linux") from error
        if tried.returncode == 0:
            return flags
        said.append(tried.stderr.strip())
    raise NamespacesRefused(
        "this machine refuses the namespaces that the embedded environment is built of",
        seen="\n".join(dict.fromkeys(said)),
        do=_REMEDY,
    )


def start(place: layout.Place, flags: Sequence[str], *, tied: bool) -> subprocess.Popen[bytes]:
    """Start the sandbox and its supervisor; return at once.

    `tied`: the sandbox dies with this process. Otherwise it outlives it, in a session of its own.
    """
    place.logs().mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with place.logs("supervisor").open("ab") as log:
        process = subprocess.Popen(
            [
                "unshare",
                *flags,
                "--",
                sys.executable,
                "-m",
                "rehearsal.environment.supervisor",
                "--state",
                str(place.root),
            ],
            cwd=layout.PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent if tied else None,  # noqa: PLW1509 - no threads before this
        )
    document = {"pid": process.pid, "started_ticks": _started_ticks(process.pid)}
    place.sandbox.write_text(json.dumps(document), encoding="utf-8")
    return process


def end(place: layout.Place) -> bool:
    """Kill the sandbox and wait until its holder is gone; whether there was one."""
    pid = pid_of(place)
    if pid is None:
        return False
    inside = _children(pid)
    os.kill(pid, signal.SIGKILL)
    gone = (pid, *inside)
    holds_within(_END_BOUND_S, lambda: all(_started_ticks(each) is None for each in gone), every_s=0.01)
    return True


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def require(place: layout.Place) -> int:
    """Return the pid of the sandbox's holder. Raises: NotRunning."""
    pid = pid_of(place)
    if pid is None:
        suffix = "" if place.name == "default" else f" --name {place.name}"
        raise NotRunning(f"the environment {place.name} is not up", do=f"./cutover env up{suffix}")
    return pid


def _join(pid: int) -> None:
    """Move this (single-threaded) process into the namespaces of the sandbox; its children are in its pid namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = Path("/proc/self/ns")
    held = Path(f"/proc/{pid}/ns")
    names = [name for name in ("user", "net", "mnt") if (held / name).readlink() != (own / name).readlink()]
    descriptors = [os.open(held / name, os.O_RDONLY) for name in (*names, "pid_for_children")]
    for descriptor in descriptors:
        if libc.setns(descriptor, 0) != 0:
            number = ctypes.get_errno()
            raise NamespacesRefused(
                f"cannot enter the environment: {os.strerror(number)}", do="enter it as the user who started it"
            )
        os.close(descriptor)


def inner_environment(place: layout.Place, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a command inside: the operator's kubeconfig, commands and namespace, no proxies."""
    environment = {name: value for name, value in base.items() if not name.lower().endswith("_proxy")}
    environment.update(
        KUBECONFIG=str(place.kubeconfig),
        PATH=parts.path_variable(place),
        CUTOVER_ENVIRONMENT=place.name,
        **parts.operator_environment(place),
    )
    return environment


def spawn(
    place: layout.Place, argv: Sequence[str], *, new_group: bool = False, log: Path | None = None
) -> tuple[int, int]:
    """Start a command inside the sandbox, with this process's folder and streams, or with its output in `log`.

    Returns (pid of the go-between, pid of the command as seen here): signals go to the command, the exit status is
    that of the go-between. Both die with this process.
    """
    pid = require(place)
    reader, writer = os.pipe()
    between = os.fork()
    if between:
        os.close(writer)
        with os.fdopen(reader, encoding="ascii") as told:
            text = told.read()
        return between, int(text or between)
    os.close(reader)
    return _go_between(place, pid, argv, writer, new_group=new_group, log=log)


def _go_between(
    place: layout.Place, pid: int, argv: Sequence[str], writer: int, *, new_group: bool, log: Path | None
) -> NoReturn:
    """Enter the namespaces, start the command, wait for it and end as it did."""
    code = 126
    try:
        die_with_parent()
        # A signal to the whole group, as terminals and job runners send it, must not end the command's only guardian.
        for number in _NOT_FOR_THE_GO_BETWEEN:
            signal.signal(number, signal.SIG_IGN)
        folder = Path.cwd()
        if log is not None:
            _redirect(log)
        _join(pid)
        die_with_parent()  # joining a user namespace changes credentials, which clears it
        child = os.fork()
        if child == 0:
            _become(place, folder, argv, new_group=new_group)
        os.write(writer, str(child).encode("ascii"))
        os.close(writer)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
    except NamespacesRefused as error:
        sys.stderr.write(error.render() + "\n")
    finally:
        os._exit(code)


def _redirect(log: Path) -> None:
    """Let standard output and error go to a file, and nothing come in."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, stream in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, stream)


def _become(place: layout.Place, folder: Path, argv: Sequence[str], *, new_group: bool) -> NoReturn:
    code = 127
    try:
        die_with_parent()
        for number in _NOT_FOR_THE_GO_BETWEEN:
            signal.signal(number, signal.SIG_DFL)
        if new_group:
            os.setpgid(0, 0)
        os.chdir(folder)
        environment = inner_environment(place, os.environ)
        os.environ["PATH"] = environment["PATH"]
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606
    except FileNotFoundError:
        sys.stderr.write(f"{argv[0]}: command not found\n")
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        code = 126
    finally:
        sys.stderr.flush()
        os._exit(code)


def run_inside(place: layout.Place, argv: Sequence[str]) -> int:
    """Run a command inside the sandbox in the foreground and return its exit code (128 + n when signal n ended it)."""
    command: int | None = None
    early: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        if command is None:  # the command is being started, and may be heard of already
            early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal gives these to the command itself
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    between, command = spawn(place, argv)
    for number in early:
        pass_on(number, None)
    return exit_code(between)


def exit_code(pid: int) -> int:
    """Wait for a child and return its exit code (128 + n when signal n ended it), from the main thread.

    Handlers of signals run meanwhile, also of one that comes just before the wait: os.waitpid would sleep on it.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    child = os.pidfd_open(pid)
    try:
        while child not in select.select([child, reader], [], [])[0]:
            os.read(reader, _SIGNALS_AT_ONCE)
    finally:
        signal.set_wakeup_fd(before)
        for one in (child, reader, writer):
            os.close(one)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
