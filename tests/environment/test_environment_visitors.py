"""The users that a site has of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from rehearsal.environment import installation, parts, visitors

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal.environment.layout import Place


def _refuse(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: httpx.Response(200), ""),
        (lambda _: httpx.Response(503), "/api/v1/catalogue: 503\n"),
        (_refuse, "/api/v1/catalogue: ConnectError\n"),
    ],
)
def test_what_fails_is_told_and_troubles_nobody(
    capsys: pytest.CaptureFixture[str], answer: Callable[[httpx.Request], httpx.Response], said: str
) -> None:
    with httpx.Client(base_url="http://host", transport=httpx.MockTransport(answer)) as client:
        visitors._visit(client, visitors.PATHS[1])
    assert capsys.readouterr().out.partition(" ")[2] == said


def test_they_come_once_blue_serves_and_only_to_a_whole_site(place: Place) -> None:
    class Any(dict[str, str]):
        def __missing__(self, name: str) -> str:
            return name

    scene = parts.Scene(place=place, tools=parts.Tools(programs=Any()), uid_is_root=False)
    whole, jobs = installation.contents(scene, "whole")
    found = {part.name: part.after for part in whole}
    assert found["visitors"] == ("serving",)
    assert "serving" in {job.name for job in jobs}
    assert "visitors" not in {part.name for part in installation.contents(scene, "bare")[0]}
