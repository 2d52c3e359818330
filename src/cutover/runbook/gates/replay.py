"""Every verdict of a record again, from the record alone.

The journal says which samples there were, in which order and with which digests; the samples hold the raw answers; the
policy the limits. They are judged by the very code that judged them in the run.
Invariants: nothing but the record is read; whatever was changed, taken out, put in or moved is named; what cannot be
judged again is a difference, never passed over.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cutover.clock import parse_rfc3339
from cutover.errors import JournalBroken, WrongInput
from cutover.policy import Policy
from cutover.runbook import attempts
from cutover.runbook.gates import archive, baking, judging, results, window
from cutover.runbook.gates.definitions import GATES
from cutover.runbook.gates.share import interval
from cutover.runbook.journal import Journal, plain
from cutover.runbook.records import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cutover.runbook.gates.archive import Line
    from cutover.runbook.gates.comparing import Pair
    from cutover.runbook.gates.results import GateResult, Taken
    from cutover.runbook.journal import Entry

_COMPARED = ("name", "result", "value", "blue", "limit", "percent", "samples")
"""Of a verdict; its sentence may name a probability, which the last digit of a library's release may change."""
_DECIDED = ("percent", "decision", "gate", "result", "first_bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where the record does not say what follows from it."""

    line: int | None
    """Of gates/samples.jsonl, as the journal names it; None for anything else."""
    gate: str
    """Empty for anything that is no gate's."""
    what: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.gate}: {self.what}" if self.gate else f"{place}{self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a record came to when it was judged again."""

    verdicts: int
    """Judged again, comparisons with blue among them."""
    comparisons: int
    decisions: int
    windows: int
    differences: tuple[Difference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether everything follows from the record, and there was something."""
        return not self.differences


def replay(folder: Path) -> Replayed:
    """Judge a record again. Raises WrongInput when it is no record, or one without archived samples."""
    if not (folder / JOURNAL).is_file():
        raise WrongInput(f"{folder} is not a record", code="no-record", seen=f"no {JOURNAL}", do="give its folder")
    policy = Policy.read(folder / "policy.toml")
    again = _Replay(folder=folder, policy=policy)
    again.run()
    return Replayed(
        verdicts=again.verdicts,
        comparisons=again.comparisons,
        decisions=again.decisions,
        windows=again.windows,
        differences=tuple(again.found),
    )


@dataclass(slots=True, kw_only=True)
class _Replay:
    """One record while it is judged."""

    folder: Path
    policy: Policy
    found: list[Difference] = field(default_factory=list)
    seen: list[GateResult] = field(default_factory=list)
    """The samples of the bake that runs."""
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    stepped: dict[str, tuple[Taken, GateResult]] = field(default_factory=dict)
    """By gate, the sample that holds the steps of a window."""
    verdicts: int = 0
    comparisons: int = 0
    decisions: int = 0
    windows: int = 0

    def run(self) -> None:
        """Go through the journal once, in order."""
        entries = self._entries()
        gates = [entry for entry in entries if entry.event == "gate"]
        if any("sha256" not in entry.data for entry in gates):
            raise WrongInput(
                f"the record {self.folder} cannot be replayed",
                code="record-too-old",
                seen="its journal names no digests of samples",
                do="it was made by an older release; make a new one",
            )
        self._policy_is_the_runs(entries)
        lines = self._lines([str(entry.data["sha256"]) for entry in gates], gates)
        if not gates and not self.found:
            raise WrongInput(
                f"the record {self.folder} holds no gate's verdict",
                code="no-samples",
                seen="no line of its journal is a gate's",
                do="give the record of a run that came to phase 3",
            )
        number = 0
        for entry in entries:
            match entry.event:
                case attempts.RESUMED:
                    self.seen, self.pairs = [], {}  # a bake that was broken off is begun anew
                case "gate":
                    number += 1
                    self._gate(entry, lines.get(number), number)
                case "gate_decision":
                    self._decision(entry)
                case "share":
                    self._share(entry)
                case "observation" if entry.data.get("what") == "window":
                    self._window(entry)

    def differ(self, what: str, *, line: int | None = None, gate: str = "") -> None:
        """Note a difference."""
        self.found.append(Difference(line=line, gate=gate, what=what))

    # -- the files -----------------------------------------------------------------------------------------------------

    def _entries(self) -> Sequence[Entry]:
        path = self.folder / JOURNAL
        try:
            entries = Journal.verify(path)
            sealed = self._sealed()
            if sealed is not None and not _goes_on_after(entries, *sealed):
                Journal.verify(path, head=sealed[0])
        except JournalBroken as broken:
            self.differ(f"the journal: {broken.message} ({broken.seen})")
            return [entry for entry in map(_entry, path.read_bytes().split(b"\n")) if entry is not None]
        return entries

    def _sealed(self) -> tuple[str, int] | None:
        """Return digest and number of the journal's last line as the verdict has them; None while there is none."""
        try:
            sealed = json.loads((self.folder / "verdict.json").read_bytes())["journal"]
            return str(sealed["head"]), int(sealed.get("entries", 0))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            self.differ("verdict.json does not name the journal's end")
            return None

    def _policy_is_the_runs(self, entries: Sequence[Entry]) -> None:
        said = next((entry.data.get("policy_sha256") for entry in entries if entry.event == "run_started"), None)
        if said is not None and said != self.policy.sha256:
            self.differ(f"policy.toml is not the run's: {self.policy.sha256}, the journal says {said}")

    def _lines(self, wanted: Sequence[str], gates: Sequence[Entry]) -> dict[int, bytes]:
        """Return the bytes of each line that the journal names, by its number there; name all that do not agree."""
        path = self.folder.joinpath(*archive.SAMPLES)
        content = path.read_bytes() if path.is_file() else b""
        there = content.split(b"\n")
        if there[-1] == b"":
            there.pop()
        elif content:
            self.differ(f"{path.name} does not end with a whole line")
        digests = [archive.digest(line) for line in there]
        for number, entry in enumerate(gates, 1):
            if entry.data.get("line") != number:
                self.differ(f"the journal calls it line {entry.data.get('line')}", line=number, gate=_name(entry))
        found: dict[int, bytes] = {}
        matcher = difflib.SequenceMatcher(a=wanted, b=digests, autojunk=False)
        for kind, start, end, from_, to in matcher.get_opcodes():
            for offset in range(max(end - start, to - from_)):
                at, now = start + offset, from_ + offset
                if at >= end:
                    self._extra(now, there[now], digests.count(digests[now]) <= wanted.count(digests[now]))
                    continue
                if now < to:
                    found[at + 1] = there[now]
                if kind != "equal":
                    self._missing(at, gates[at], digests, is_replaced=now < to)
        return found

    def _missing(self, at: int, entry: Entry, digests: Sequence[str], *, is_replaced: bool) -> None:
        sha256 = str(entry.data["sha256"])
        if sha256 in digests:
            what = f"it was moved to line {digests.index(sha256) + 1}"
        elif is_replaced:
            what = "it was changed: its bytes are not those that the journal names"
        else:
            what = "it is missing"
        self.differ(what, line=at + 1, gate=_name(entry))

    def _extra(self, now: int, content: bytes, is_moved: bool) -> None:
        if not is_moved:
            self.differ(f"no entry of the journal names line {now + 1} of the samples: {content[:60]!r}")

    # -- judging -------------------------------------------------------------------------------------------------------

    def _gate(self, entry: Entry, content: bytes | None, number: int) -> None:
        line = self._read(entry, content, number)
        if line is None:
            return
        taken, name = line.taken, line.taken.name
        paired = next((gate for gate in GATES.values() if gate.against_blue == name and not gate.is_slow), None)
        pairs = self.pairs.get(paired.name, []) if paired is not None else []
        if paired is not None:
            self.comparisons += 1
            asked = taken.of("pairs")
            if asked is None or asked.raw != [[pair.line, pair.green, pair.blue] for pair in pairs]:
                self.differ("its pairs are not those of the samples before it", line=number, gate=name)
        try:
            result = judging.judge(self.policy, taken, pairs)
        except KeyError:
            self.differ("the policy of this record has no such gate", line=number, gate=name)
            return
        self.verdicts += 1
        self._compare(result, entry.data, number)
        for key in _COMPARED:
            if line.said.get(key) != entry.data.get(key):
                what = f"{key} is {line.said.get(key)} in the sample, {entry.data.get(key)} in the journal"
                self.differ(what, line=number, gate=name)
        if taken.percent is not None:
            self.seen.append(result)
            pair = judging.pair_of(self.policy, taken, number)
            if pair is not None:
                self.pairs.setdefault(name, []).append(pair)
        if taken.of("steps") is not None:
            self.stepped[name] = (taken, result)

    def _read(self, entry: Entry, content: bytes | None, number: int) -> Line | None:
        if content is None:
            return None
        try:
            return archive.read_line(number, content)
        except (ValueError, KeyError, TypeError) as problem:
            self.differ(f"it cannot be read: {type(problem).__name__}: {problem}", line=number, gate=_name(entry))
            return None

    def _compare(self, result: GateResult, said: Mapping[str, Any], number: int) -> None:
        again = plain(result)
        for key in _COMPARED:
            if said.get(key) != again[key]:
                what = f"{key} is {again[key]} from its raw answers, {said.get(key)} in the journal"
                self.differ(what, line=number, gate=result.name)

    def _decision(self, entry: Entry) -> None:
        """Compare what the gates of a bake decided; the next bake begins here."""
        self.decisions += 1
        found = results.assess(self.seen, self.policy.gates) if self.seen else ()
        again = plain(baking.decision(int(entry.data["percent"]), self.seen, found))
        for key in _DECIDED:
            if entry.data.get(key) != again[key]:
                what = f"the decision at {entry.data['percent']} percent: {key} is {again[key]} from the samples"
                self.differ(f"{what}, {entry.data.get(key)} in the journal", gate=str(entry.data.get("gate") or ""))
        self.seen, self.pairs = [], {}

    def _share(self, entry: Entry) -> None:
        data = entry.data
        total = int(data["total"])
        low, high = interval(total, int(data["percent"]), self.policy.traffic.confidence)
        again = [round(end / (total or 1), 6) for end in (low, high)]
        if [data["low"], data["high"]] != again:
            self.differ(f"the interval at {data['percent']} percent is {again}, {[data['low'], data['high']]} is said")

    def _window(self, entry: Entry) -> None:
        """Compare a window's file with the samples that hold its steps."""
        self.windows += 1
        file = str(entry.data.get("file") or window.FILE)
        try:
            content = (self.folder / "gates" / PurePosixPath(file).name).read_bytes()
            document = json.loads(content)
            said = {gate["name"]: gate for gate in document["gates"]}
            began, ended = (parse_rfc3339(document[key]) for key in ("began", "ended"))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            self.differ(f"{file} cannot be read: {type(problem).__name__}: {problem}")
            return
        if archive.digest(content) != entry.data.get("sha256"):
            self.differ(f"{file} was changed: its bytes are not those that the journal names")
        for gate in GATES.values():
            if gate.name not in said or gate.name not in self.stepped:
                self.differ(f"{file} or the samples do not tell of it", gate=gate.name)
                continue
            taken, verdict = self.stepped[gate.name]
            asked, entry_said = taken.of("steps"), said[gate.name]
            again = window.watched_of(
                gate,
                self.policy,
                asked.raw if asked is not None else [],
                verdict=verdict,
                queries=entry_said.get("queries", {}),
                range_s=float(entry_said.get("range_s", 0)),
                began=began,
                ended=ended,
            )
            for key in _differing(plain(again), entry_said):
                self.differ(f"{file}: {key} does not follow from its steps", gate=gate.name)


def _differing(again: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    for key in ("verdict", "steps", "longest_gap_s", "allowed_gap_s"):
        one, other = again[key], said.get(key)
        if key == "verdict" and isinstance(other, dict):
            one, other = ({name: value for name, value in side.items() if name in _COMPARED} for side in (one, other))
        if one != other:
            yield key


def _goes_on_after(entries: Sequence[Entry], head: str, count: int) -> bool:
    """Whether the verdict is of an attempt that a later one, which has not ended, went on from."""
    sealed, later = entries[max(0, count - 1) : count], entries[count : count + 1]
    return bool(sealed and later) and sealed[0].digest == head and later[0].event == attempts.RESUMED


def _name(entry: Entry) -> str:
    return str(entry.data.get("name") or "")


def _entry(content: bytes) -> Entry | None:
    """Return a line of a journal that does not hold as far as it can be read; None where it cannot."""
    from cutover.runbook.journal import Entry  # noqa: PLC0415 (only for a broken journal)

    try:
        line = json.loads(content)
        return Entry(**{**line, "time": parse_rfc3339(line["time"])})
    except (ValueError, KeyError, TypeError):
        return None
