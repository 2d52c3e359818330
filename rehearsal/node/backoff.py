"""Exponential back-off as a kubelet counts it.

The first failure restarts at once and arms a wait of 10 s; each further one doubles it, to at most 5 minutes. After 10
minutes without a failure the count starts again.

Source: kubelet 1.36, crash-loop and image-pull back-off (initial 10 s, maximum 300 s, reset after 600 s).
"""

from __future__ import annotations

INITIAL_S = 10.0
MAXIMUM_S = 300.0
RESET_S = 600.0


class Backoff:
    """One container's or one image's back-off. All times are seconds on one clock, given by the caller."""

    __slots__ = ("_updated_s", "delay_s")

    def __init__(self) -> None:
        self.delay_s = 0.0
        self._updated_s = 0.0

    def remaining(self, failed_at_s: float, now_s: float) -> float:
        """Return how long a failure of `failed_at_s` must still wait at `now_s`; 0 when it need not."""
        if not self.delay_s or self._is_expired(failed_at_s):
            return 0.0
        return max(0.0, failed_at_s + self.delay_s - now_s)

    def advance(self, failed_at_s: float, now_s: float) -> None:
        """Arm the wait for the failure that comes next."""
        if not self.delay_s or self._is_expired(failed_at_s):
            self.delay_s = INITIAL_S
        else:
            self.delay_s = min(self.delay_s * 2, MAXIMUM_S)
        self._updated_s = now_s

    def _is_expired(self, failed_at_s: float) -> bool:
        return failed_at_s - self._updated_s > RESET_S


def format_delay(delay_s: float) -> str:
    """Return a delay as kubelet's messages write it: 10s, 1m20s, 5m0s."""
    minutes, seconds = divmod(int(delay_s), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
