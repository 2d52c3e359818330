"""What a store's answer about object lock means."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.site.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


class Answering(Store):
    """A store whose every question ends as the test says."""

    def __init__(self, answer: object) -> None:
        super().__init__(
            endpoint="http://store.example", bucket="b", access_key="a", secret_key="s", archive_bucket="z"
        )
        self.answer = answer

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[Any]:  # noqa: ARG002 (the real one names it in errors)
        if isinstance(self.answer, Exception):
            raise self.answer
        yield self

    def get_object_lock_configuration(self, **_: str) -> object:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "locked", "detail"),
    [
        ({"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}, True, "no default retention"),
        ({"ObjectLockConfiguration": {}}, False, "no object lock"),
        (ClauseFailed("absent", code="object-absent", seen="404"), False, "404"),
        (CouldNotMeasure("no", code="store-refused", seen="501 NotImplemented"), False, "501 NotImplemented"),
    ],
)
def test_whether_an_archive_is_locked(answer: object, *, locked: bool, detail: str) -> None:
    found = Answering(answer).archive_lock()
    assert found.locked is locked
    assert detail in found.detail


@pytest.mark.parametrize("seen", ["403 AccessDenied", "503 SlowDown", "connection refused"])
def test_a_store_that_cannot_say_was_not_measured(seen: str) -> None:
    with pytest.raises(CouldNotMeasure):
        Answering(CouldNotMeasure("no", code="store-refused", seen=seen)).archive_lock()
