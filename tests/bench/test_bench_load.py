"""The load benchmark: its computed truth, and that it measures at all."""

from __future__ import annotations

import pytest

from bench import load


@pytest.mark.parametrize(
    ("requests_per_s", "span_s", "expected_s"),
    [
        (10.0, (0.0, 10.0), 1.905),  # of 100 requests the second worst; the worst is 2.005
        (10.0, (0.0, 2.9), 0.005),  # over before it stood still
        (10.0, (3.0, 5.0), 1.905),  # all of them due meanwhile
        (1.0, (0.0, 10.0), 2.005),
    ],
)
def test_the_truth_of_a_stop(requests_per_s: float, span_s: tuple[float, float], expected_s: float) -> None:
    found = load.scheduled_p99_s(
        start_s=0.0,
        requests_per_s=requests_per_s,
        since_s=span_s[0],
        until_s=span_s[1],
        frozen_s=(3.0, 5.0),
        usual_s=0.005,
    )
    assert found == pytest.approx(expected_s + (0.1 if span_s == (3.0, 5.0) else 0.0))


def test_the_ratio_is_of_two_loads_that_both_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MEASURED_S", 1.0)
    monkeypatch.setattr(load, "SETTLE_S", 0.5)
    figure = load.load_ratio(rounds=1)
    assert min(figure["ours"], figure["anchor"]) > 100
    assert figure["value"] == pytest.approx(figure["ours"] / figure["anchor"], rel=0.01)
    assert figure["met"] == (figure["value"] >= 0.9)
