"""A sealed record is verified offline; what is not as it was sealed is named, whatever it is and whoever changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.record.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.record.keys import SigningKey


def test_a_record_as_it_was_sealed_is_verified(sealed: Path, signing_key: SigningKey) -> None:
    found = verify(sealed, signing_key.trust_root())
    assert [str(reason) for check in found.checks for reason in check.reasons] == []
    assert found.holds
    assert (found.result, found.signed_by) == ("PASSED", "Release engineering")
    assert [check.name for check in found.checks if check.absent] == ["earlier"]
