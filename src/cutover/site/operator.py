"""Run commands where the target says the operator works: this machine, or another one over ssh.

Responsibility: one way to run a command, through testinfra, with a deadline that is enforced on the operator's host, an
environment that never appears on a command line, and a redacted transcript of everything that ran.
Invariants: no command outlives its deadline, nor its process group; a command whose deadline passed has measured
nothing; no secret of the target reaches the journal or a transcript; a private folder is in the journal before it is
made, so that one which a killed attempt left behind is known.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from cutover.errors import ClauseFailed, CouldNotMeasure, WrongInput
from cutover.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.redaction import Redactor
    from cutover.runbook.journal import Action, Journal

T = TypeVar("T")

KILL_AFTER_S = 5.0
"""A command that ignores SIGTERM gets SIGKILL this much later."""
_GRACE_S = 10.0  # for the connection itself, over the deadline that `timeout` enforces
_MISSING = "cutover: command not found on the operator host:"
_BACKENDS = ("local", "ssh")
_PR_SET_PDEATHSIG = 1

PRIVATE_FOLDER: Final = "private folder"
"""The action of making one, and of removing it when it is done."""
_PRIVATE_NAME = re.compile(r"cutover\.[0-9a-f]{16}")
_TEMPORARY = '"${TMPDIR:-/tmp}/$1"'  # in the shell of the operator's host, $1 the folder's name


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What one command did: its exit code, its output as text and as bytes, and where its transcript is."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    stdout_bytes: bytes
    duration_s: float
    transcript: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """What the local process, which is the command or the ssh client, did."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class _DeadlinePassedError(Exception):
    """The local process had to be ended from here."""


class _LocalProcess:
    """Stand in for testinfra's `run_local`: the same contract, with standard input, a deadline and a certain end.

    testinfra feeds no input and waits without bound; every backend that talks through a local client (local, ssh) goes
    through this one method, so that the two behave alike.
    """

    def __init__(self, backend: Any) -> None:  # noqa: ANN401 (testinfra ships no types)
        self._backend = backend
        self.input = b""
        self.deadline_s = 60.0
        self.stdout_to: IO[bytes] | None = None
        self.stdin_from: IO[bytes] | None = None

    def __call__(self, command: str, *args: str) -> object:
        text = self._backend.quote(command, *args)
        process = subprocess.Popen(  # noqa: S602 (testinfra builds a quoted shell line)
            text,
            shell=True,
            stdin=self.stdin_from or subprocess.PIPE,
            stdout=self.stdout_to or subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (one prctl call, safe before exec)
        )
        try:
            given = None if self.stdin_from else self.input
            stdout, stderr = process.communicate(given, timeout=self.deadline_s)
        except subprocess.TimeoutExpired:
            _end_group(process)
            raise _DeadlinePassedError from None
        except BaseException:
            _end_group(process)
            raise
        return self._backend.result(process.returncode, text.encode(), stdout or b"", stderr or b"")


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the harness dies; `timeout` passes it on to the command's whole group."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the local process' group: SIGTERM, which `timeout` passes on, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.communicate(timeout=KILL_AFTER_S + 1)
            break
        except subprocess.TimeoutExpired:
            continue


class Operator:
    """The operator's shell: runs commands, fetches files, keeps transcripts."""

    def __init__(
        self,
        host: str,
        *,
        path: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        default_timeout_s: float = 60.0,
        redactor: Redactor,
        folder: Path,
        journal: Journal | None = None,
    ) -> None:
        """Connect lazily.

        host: a testinfra host spec, `local://` or `ssh://user@name`. folder: where transcripts go, as
        `commands/NNN-name.txt`.
        """
        self.host_spec = host
        self._path = tuple(path)
        self._environment = dict(environment or {})
        self._default_timeout_s = default_timeout_s
        self._redactor = redactor
        self._folder = folder / "commands"
        self._journal = journal
        self._lock = threading.Lock()
        self._count = 0
        self._temp: PurePosixPath | None = None
        self._temp_noted: Action | None = None
        scheme = host.split("://", 1)[0] if "://" in host else "ssh"
        if scheme not in _BACKENDS:
            raise WrongInput(
                f"the operator host {host!r} cannot be used",
                code="operator-backend",
                seen=f"connection type {scheme!r}",
                do="name it local:// or ssh://user@host in [operator] host of the target",
            )
        self.is_local = scheme == "local"

    # -- running ---------------------------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes | str | None = None,  # noqa: A002 (named as in subprocess)
        check: bool = True,
        quiet: bool = False,
    ) -> CommandResult:
        """Run one command and return what it did.

        timeout_s: the deadline on the operator's host; the target's default when absent. env: added to the target's
        environment. check: whether an exit code other than 0 raises. quiet: leave no transcript and no journal entry
        (file transfers).
        Raises: CouldNotMeasure `command-timeout`, `command-missing`, `operator-unreachable`; ClauseFailed
        `command-failed`.
        """
        words = tuple(str(word) for word in argv)
        deadline_s = self._default_timeout_s if timeout_s is None else timeout_s
        data = input.encode() if isinstance(input, str) else (input or b"")
        finished, duration_s, timed_out = self._execute(words, deadline_s=deadline_s, env=env or {}, data=data)
        result = CommandResult(
            argv=words,
            exit_code=finished.exit_code,
            stdout=finished.stdout.decode(errors="replace"),
            stderr=finished.stderr.decode(errors="replace"),
            stdout_bytes=finished.stdout,
            duration_s=round(duration_s, 3),
            transcript=None,
        )
        if not quiet:
            result = self._record(result, deadline_s=deadline_s, timed_out=timed_out)
        self._judge(result, deadline_s=deadline_s, timed_out=timed_out, check=check)
        return result

    def _execute(
        self, words: tuple[str, ...], *, deadline_s: float, env: Mapping[str, str], data: bytes
    ) -> tuple[_Finished, float, bool]:
        """Run the words on the host; return what they did, the seconds it took, whether the deadline passed.

        The environment goes first on standard input, so that no secret shows in a process list: the shell reads that
        many bytes, evaluates them, and hands the rest of the input to the command.
        """
        preamble = self._preamble(env)
        loader = (
            f'eval "$(dd bs=1 count={len(preamble)} 2>/dev/null)"; '
            f'command -v "$1" >/dev/null 2>&1 || {{ echo "{_MISSING} $1" >&2; exit 127; }}; exec "$@"'
        )
        line = shlex.join(
            ["timeout", f"--kill-after={KILL_AFTER_S:g}", f"{deadline_s:g}", "sh", "-c", loader, "cutover", *words]
        )
        started = time.monotonic()
        try:
            finished = self._call(f"exec {line}", preamble + data, deadline_s=deadline_s + KILL_AFTER_S + _GRACE_S)
        except _DeadlinePassedError:
            return _Finished(exit_code=124, stdout=b"", stderr=b""), time.monotonic() - started, True
        duration_s = time.monotonic() - started
        # 124: ended by SIGTERM at the deadline; 137: ignored it and was killed (-9 when the shell itself was).
        timed_out = duration_s >= deadline_s and finished.exit_code in {124, 137, -9}
        return finished, duration_s, timed_out

    def _preamble(self, env: Mapping[str, str]) -> bytes:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in {**self._environment, **env}.items()]
        if self._path:
            lines.append(f'export PATH={shlex.quote(":".join(self._path))}:"$PATH"')
        return ("\n".join(lines) + "\n").encode()

    def _call(
        self,
        line: str,
        data: bytes,
        *,
        deadline_s: float,
        stdout_to: IO[bytes] | None = None,
        stdin_from: IO[bytes] | None = None,
    ) -> _Finished:
        host = self._connect()
        process = _LocalProcess(host.backend)
        process.input, process.deadline_s = data, deadline_s
        process.stdout_to, process.stdin_from = stdout_to, stdin_from
        host.backend.run_local = process
        try:
            answer = host.backend.run(line)
        except RuntimeError as error:  # testinfra's way of saying that ssh itself failed
            raise CouldNotMeasure(
                f"the operator host {self.host_spec} does not answer",
                code="operator-unreachable",
                seen=self._redactor.redact(str(error))[-500:],
                do="check [operator] host of the target and that ssh to it works without a password",
            ) from error
        return _Finished(exit_code=answer.rc, stdout=answer.stdout_bytes, stderr=answer.stderr_bytes)

    def _connect(self) -> Any:  # noqa: ANN401 (testinfra ships no types)
        """Return a fresh testinfra host: it keeps no connection of its own, and callers may be threads."""
        import testinfra  # noqa: PLC0415 (slow to import)

        return testinfra.get_host(self.host_spec)

    def _judge(self, result: CommandResult, *, deadline_s: float, timed_out: bool, check: bool) -> None:
        shown = self._redactor.redact(shlex.join(result.argv))
        said = self._redactor.redact(_last_words(result))
        if timed_out:
            raise CouldNotMeasure(
                f"`{shown}` timed out: it did not end within {deadline_s:g} s, and was ended",
                code="command-timeout",
                seen=said or "no output",
                do="see in its transcript what it waits for, or raise its time limit in the target",
                argv=shown,
                timeout_s=deadline_s,
            )
        if result.exit_code == 127 and (_MISSING in result.stderr or "timeout: not found" in result.stderr):
            name = result.argv[0] if _MISSING in result.stderr else "timeout"
            raise CouldNotMeasure(
                f"the command {name!r} is not on the operator host {self.host_spec}",
                code="command-missing",
                seen=said,
                do=f"install {name}, or add its folder to [operator] path of the target",
                command=name,
            )
        if check and result.exit_code != 0:
            raise ClauseFailed(
                f"`{shown}` ended with exit code {result.exit_code}",
                code="command-failed",
                seen=said or "no output",
                do="read its transcript in the record",
                argv=shown,
                exit_code=result.exit_code,
            )

    def _record(self, result: CommandResult, *, deadline_s: float, timed_out: bool) -> CommandResult:
        with self._lock:
            self._count = max(self._count, len(list(self._folder.glob("*.txt")))) + 1
            number = self._count
            self._folder.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(_name_words(result.argv))).strip("-")[:60]
            transcript = self._folder / f"{number:03d}-{name}.txt"
            transcript.touch()
        ending = f"ended at its deadline of {deadline_s:g} s" if timed_out else f"exit code {result.exit_code}"
        shown = [self._redactor.redact(word) for word in result.argv]
        text = (
            f"$ {shlex.join(shown)}\n# on {self.host_spec}, {ending}, {result.duration_s:.3f} s\n"
            f"# ---- standard output\n{result.stdout}\n# ---- standard error\n{result.stderr}\n"
        )
        transcript.write_text(self._redactor.redact(text), encoding="utf-8")
        if self._journal is not None:
            base = self._folder.parent.parent
            self._journal.write(
                "command",
                argv=shown,
                exit_code=None if timed_out else result.exit_code,
                duration_s=result.duration_s,
                transcript=str(transcript.relative_to(base)),
            )
        return CommandResult(
            argv=result.argv,
            exit_code=result.exit_code,
            stdout=result.stdout,
            stderr=result.stderr,
            stdout_bytes=result.stdout_bytes,
            duration_s=result.duration_s,
            transcript=transcript,
        )

    # -- files -----------------------------------------------------------------------------------------------------

    @property
    def temp(self) -> PurePosixPath:
        """A private folder (mode 0700) on the operator's host, removed by `discard_temp` or `close`."""
        if self._temp is None:
            name = f"cutover.{secrets.token_hex(8)}"
            if self._journal is not None:
                self._temp_noted = self._journal.action(PRIVATE_FOLDER, scratch=name)
                self._temp_noted.__enter__()
            script = f"mkdir -m 700 -- {_TEMPORARY} && echo {_TEMPORARY}"
            made = self.run(["sh", "-c", script, "sh", name], quiet=True).stdout.strip()
            self._temp = PurePosixPath(made)
        return self._temp

    def discard_temp(self) -> None:
        """Remove the private folder with all that is in it; the next one asked for is another."""
        folder, noted = self._temp, self._temp_noted
        self._temp, self._temp_noted = None, None
        if folder is None:
            return
        removed = self.run(["rm", "-rf", "--", str(folder)], quiet=True, check=False)
        if noted is not None and removed.exit_code == 0:
            with contextlib.suppress(RuntimeError):  # the journal is closed by now: a later attempt looks once more
                noted.__exit__(None, None, None)

    def remove_left(self, name: str) -> None:
        """Remove the private folder of a process that is gone, by its name in the journal; absent is well too.

        Raises: ValueError for another name than one of ours; ClauseFailed `command-failed`.
        """
        if _PRIVATE_NAME.fullmatch(name) is None:
            raise ValueError(f"{name} is no name of a private folder")
        self.run(["sh", "-c", f"rm -rf -- {_TEMPORARY}", "sh", name], quiet=True)

    def fetch(self, path: str | PurePosixPath, *, timeout_s: float | None = None) -> bytes:
        """Return a file of the operator's host whole; for large ones use `fetch_to`."""
        return self.run(["cat", "--", str(path)], quiet=True, timeout_s=timeout_s).stdout_bytes

    def fetch_to(self, path: str | PurePosixPath, destination: Path, *, timeout_s: float | None = None) -> Path:
        """Copy a file of the operator's host here, whole or not at all, mode 0600. Raises: as `read_through`."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(destination, mode=0o600) as stream:
            self.read_through(path, lambda reader: shutil.copyfileobj(reader, stream), timeout_s=timeout_s)
        return destination

    def read_through(
        self, path: str | PurePosixPath, consume: Callable[[IO[bytes]], T], *, timeout_s: float | None = None
    ) -> T:
        """Let `consume` read a file of the operator's host to its end, as it comes, and return what it makes of it.

        Nothing of the file reaches this machine's disk, unless `consume` puts it there. Raises: CouldNotMeasure
        `fetch-failed` when not all of it came; what `consume` raises.
        """
        deadline_s = self._default_timeout_s if timeout_s is None else timeout_s
        line = shlex.join(["timeout", f"--kill-after={KILL_AFTER_S:g}", f"{deadline_s:g}", "cat", "--", str(path)])
        reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))

        def consumed() -> T:
            with reader:  # closed early, it ends the command
                return consume(reader)

        with ThreadPoolExecutor(1, thread_name_prefix="read-through") as pool:
            made = pool.submit(consumed)
            with writer:
                try:
                    finished = self._call(f"exec {line}", b"", deadline_s=deadline_s + _GRACE_S, stdout_to=writer)
                except _DeadlinePassedError:
                    finished = _Finished(exit_code=124, stdout=b"", stderr=b"")
            result = made.result()
        if finished.exit_code != 0:
            raise self._not_fetched(path, finished)
        return result

    def write_through(
        self, path: str | PurePosixPath, produce: Callable[[IO[bytes]], T], *, timeout_s: float | None = None
    ) -> T:
        """Let `produce` write a file of the operator's host, mode 0600, as it comes, and return what it returns.

        Nothing of the file reaches this machine's disk. A file that did not come whole is removed. Raises:
        CouldNotMeasure `send-failed`; what `produce` raises.
        """
        deadline_s = self._default_timeout_s if timeout_s is None else timeout_s
        script = 'umask 077; rm -f -- "$1"; exec cat > "$1"'
        words = ["timeout", f"--kill-after={KILL_AFTER_S:g}", f"{deadline_s:g}", "sh", "-c", script, "sh", str(path)]
        reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))

        def produced() -> T:
            with writer:  # its end is the end of the file
                return produce(writer)

        finished = _Finished(exit_code=124, stdout=b"", stderr=b"")
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="write-through") as pool:
                made = pool.submit(produced)
                with reader, contextlib.suppress(_DeadlinePassedError):
                    finished = self._call(
                        f"exec {shlex.join(words)}", b"", deadline_s=deadline_s + _GRACE_S, stdin_from=reader
                    )
                result = made.result()
        except BaseException:
            self.run(["rm", "-f", "--", str(path)], quiet=True, check=False)
            raise
        if finished.exit_code != 0:
            self.run(["rm", "-f", "--", str(path)], quiet=True, check=False)
            raise CouldNotMeasure(
                f"the file {path} could not be written on the operator host {self.host_spec}",
                code="send-failed",
                seen=finished.stderr.decode(errors="replace").strip() or f"exit code {finished.exit_code}",
                do="check that its folder for temporary files has room",
            )
        return result

    def _not_fetched(self, path: str | PurePosixPath, finished: _Finished) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"the file {path} could not be fetched from the operator host {self.host_spec}",
            code="fetch-failed",
            seen=finished.stderr.decode(errors="replace").strip() or f"exit code {finished.exit_code}",
            do="check that the command before it wrote the file",
        )

    def files(self, folder: str | PurePosixPath) -> tuple[PurePosixPath, ...]:
        """List the regular files under a folder of the operator's host, sorted."""
        found = self.run(["find", str(folder), "-type", "f", "-print0"], quiet=True).stdout
        return tuple(sorted(PurePosixPath(name) for name in found.split("\0") if name))

    def close(self) -> None:
        """Remove the private folder."""
        self.discard_temp()


def _last_words(result: CommandResult) -> str:
    """Return the end of what the command said: its last lines of standard error, or of standard output."""
    text = result.stderr.strip() or result.stdout.strip()
    return "\n".join(text.splitlines()[-6:])[-1500:]


def _name_words(argv: Sequence[str]) -> list[str]:
    """Return the words that name a command: the program and what follows it up to the first option, at most four."""
    words = [PurePosixPath(argv[0]).name]
    for word in argv[1:]:
        if word.startswith("-") or "/" in word or "=" in word:
            break
        words.append(word)
    return words[:4]
