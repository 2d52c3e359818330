"""What this package refuses, under which code, and what the operator does about it.

    Exception
     └ EvidenceError      one refusal: code, item, expected, actual, remedy
    Finding               the same facts as a value, where a pass goes on after a refusal

Invariants: every code is a key of `CODES`; codes are stable, tests and records name them; a remedy is one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RESTORE: Final = (
    "restore the item's bytes from the backup of clause 1.2, then verify again; do not re-sign or re-index it"
)
RESTORE_ROW: Final = "restore the row from the dump of clause 1.2a; `stella evidence reindex` only over intact contents"
RESTORE_LEAF: Final = "restore the leaf from the dump of clause 1.2a; never rebuild the tree over changed items"
INVESTIGATE: Final = "stop the upgrade, keep both databases as they are, and find out who wrote after the baseline"
SIGNED_BY_ANOTHER: Final = (
    "do not use the artifact; if the signer is legitimate, the policy and the trusted root must name it, from before"
)
FETCH_BUNDLE: Final = "fetch the bundle again from where it was made; if it stays so, have the artifact signed again"
REPORT: Final = "the input is not in the standard's form: fetch it again, and report it to whoever produced it"

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # form: the input cannot be read as what it says it is
        "hash-malformed": REPORT,
        "proof-malformed": REPORT,
        "envelope-malformed": REPORT,
        "checkpoint-malformed": REPORT,
        "manifest-malformed": REPORT,
        "layout-malformed": REPORT,
        "key-malformed": "write the key as the trust root's format asks: PEM, or name+hash+base64 for the log",
        "key-unsupported": "use an ECDSA P-256, Ed25519 or RSA (2048 bits or more) key",
        "trust-malformed": "restore trust.json from where the operator keeps it; never take it from the site",
        "report-malformed": "run the platform's command again; its report lacks fields of the contract",
        # Merkle trees
        "index-out-of-range": "ask for a proof of a leaf that the tree has",
        "proof-length": "ask the log for the proof again, for exactly these sizes",
        "root-mismatch": INVESTIGATE,
        "consistency-from-empty": "start from a checkpoint that has at least one entry",
        "tree-shrank": INVESTIGATE,
        # signatures
        "signature-invalid": RESTORE,
        "signer-unknown": "if the key is legitimate, a trust root from before the upgrade must name it; otherwise "
        + RESTORE,
        "signature-threshold": "collect the missing signatures, each by another key",
        "trust-root-changed": "verify with the very trust.json that the baseline was taken with",
        # Sigstore bundles
        "bundle-malformed": REPORT,
        "statement-malformed": REPORT,
        "policy-malformed": "name identity, issuer, and exactly one of the artifact's bytes and its sha256: digest",
        "trusted-root-malformed": "restore trusted_root.json from where the operator keeps it; never take it from the "
        "site",
        "artifact-mismatch": "fetch artifact and bundle again from where they were made; if they still differ, the "
        "artifact is not the one that was signed",
        "identity-mismatch": SIGNED_BY_ANOTHER,
        "issuer-mismatch": SIGNED_BY_ANOTHER,
        "certificate-untrusted": SIGNED_BY_ANOTHER,
        "certificate-expired": "have the artifact signed again: nobody vouches for a signature made out of that time",
        "certificate-unlogged": SIGNED_BY_ANOTHER,
        "timestamp-missing": "ask the signer for a bundle with a promise or a timestamp: without a time nothing holds",
        "timestamp-invalid": FETCH_BUNDLE,
        "log-unknown": "verify with the trusted root of the instance that signed, held since before the upgrade",
        "log-entry-unproven": FETCH_BUNDLE,
        "log-promise-invalid": FETCH_BUNDLE,
        "log-entry-mismatch": FETCH_BUNDLE,
        # contents and rows
        "content-changed": RESTORE,
        "content-missing": RESTORE,
        "content-mismatch": "compare content and row with the log entry, then restore the one that differs",
        "digest-mismatch": RESTORE,
        "size-mismatch": RESTORE,
        "blob-missing": RESTORE,
        "row-changed": RESTORE_ROW,
        "row-missing": RESTORE_ROW,
        "rows-unordered": "read the rows ordered by id (collation C)",
        "evidence-empty": "check that the target names the right database: zero items prove nothing",
        # the evidence tree
        "leaf-changed": RESTORE_LEAF,
        "leaf-missing": RESTORE_LEAF,
        "leaf-unknown": INVESTIGATE,
        "leaf-duplicate": INVESTIGATE,
        "root-missing": "let the platform sign a root at or after the baseline's size, then verify again",
        "root-statement-wrong": INVESTIGATE,
        "schema-unknown": "use a version of this tool that knows the release's leaf schema",
        "crossref-missing": "let the target release finish its category A migrations: they sign the cross-reference",
        "crossref-wrong": INVESTIGATE,
        # the transparency log
        "checkpoint-missing": "check that log_dsn names the transparency log, and that it has a checkpoint",
        "checkpoint-unsigned": "fetch the checkpoint again, from the log whose key trust.json holds",
        "checkpoint-signature-invalid": INVESTIGATE,
        "checkpoint-origin": "compare the log's origin with trust.json: this is another log",
        "checkpoint-rolled-back": "restore the log from its own backup, up to the baseline's checkpoint at least",
        "checkpoint-forked": INVESTIGATE,
        "log-entry-changed": "restore the log from its own backup; its entries are never rewritten",
        "log-entry-missing": "restore the log from its own backup; its entries are never removed",
        "log-history-rewritten": INVESTIGATE,
        # snapshots on disk
        "snapshot-malformed": "take the snapshot again",
        "snapshot-altered": "take the snapshot from the record, where its digest is journalled; this copy was changed",
        "snapshot-busy": "wait for the other pass to end, or give this one a folder of its own",
        "pass-old": "remove the folder, or give another one, and begin again",
        "pass-differs": "give another folder, or go on with the site and the trust root that the pass was begun with",
        "balance-wrong": "report this: the totals of a comparison must balance",
        # agreement with the platform
        "agreement-missing": "run the platform's command again; if it still omits the item, `stella evidence reindex`",
        "agreement-unknown": "compare the database that the report was made from with the target's",
        "agreement-digest": "check which store and database each of the two has read",
        "agreement-verdict": "judge by our finding, which names what was recomputed, then report the platform's check",
        "agreement-count": "compare the two lists of items; a total that differs hides an item",
        "agreement-answer": "believe neither: the platform's command prints what it did not find",
        "agreement-root": INVESTIGATE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One refusal as a value. `item` is the evidence id where there is one, else a name such as `log index 17`."""

    code: str
    item: str
    expected: str
    actual: str
    remedy: str

    @classmethod
    def of(cls, code: str, item: str, *, expected: object, actual: object) -> Finding:
        """Make a finding, with the table's remedy for its code."""
        return cls(code=code, item=item, expected=shown(expected), actual=shown(actual), remedy=CODES[code])

    def as_json(self) -> dict[str, str]:
        """Return the five facts, as the record keeps them."""
        return {
            "code": self.code,
            "item": self.item,
            "expected": self.expected,
            "actual": self.actual,
            "remedy": self.remedy,
        }


class EvidenceError(Exception):
    """A refusal: what was refused (`item`), under which `code`, `expected` against `actual`, and the `remedy`."""

    def __init__(self, code: str, item: str, *, expected: object, actual: object) -> None:
        self.code = code
        self.item = item
        self.expected = shown(expected)
        self.actual = shown(actual)
        self.remedy = CODES[code]
        super().__init__(f"{code}: {item}: expected {self.expected}, found {self.actual}")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the facts as they are shown: refusals travel from worker processes."""
        return _restored, (type(self), self.args, self.__dict__)

    def finding(self, item: str | None = None) -> Finding:
        """Return the same facts as a value, under another item's name where the caller knows it better."""
        return Finding(
            code=self.code,
            item=self.item if item is None else item,
            expected=self.expected,
            actual=self.actual,
            remedy=self.remedy,
        )


def _restored(kind: type[EvidenceError], args: tuple[object, ...], facts: dict[str, object]) -> EvidenceError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error


def shown(value: object, *, limit: int = 200) -> str:
    """Return a value as one printable line: bytes as hex, control characters escaped, cut at `limit` characters."""
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to write out very long numbers
        return f"a number of {value.bit_length()} bits"
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
