"""Which versions found elsewhere may stand in for ours."""

import pytest

from rehearsal.tools.catalogue import UNITS, Unit
from rehearsal.tools.fit import Fit, Version, parse_version, same_minor


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.36.3", (1, 36, 3)),
        ("v1.36.3", (1, 36, 3)),
        ("1.37.0-alpha.2+abc", (1, 37, 0)),
        ("18beta1", (18,)),
        ("1.27rc1", (1, 27)),
    ],
)
def test_the_leading_number_is_the_version(text: str, version: Version) -> None:
    assert parse_version(text) == version


def test_a_text_without_a_number_has_no_version() -> None:
    with pytest.raises(ValueError, match="unknown"):
        parse_version("unknown")


@pytest.mark.parametrize(
    ("unit", "version", "fits"),
    [
        ("kube-apiserver", "1.36.0", True),
        ("kube-apiserver", "1.36", True),
        ("kube-apiserver", "1.35.9", False),
        ("kube-apiserver", "1.37.0", False),
        ("kube-apiserver", "2.36.0", False),
        ("kubectl", "1.35.0", True),
        ("kubectl", "1.37.9", True),
        ("kubectl", "1.38.0", False),
        ("kubectl", "1.34.9", False),
        ("etcd", "3.6.0", True),
        ("etcd", "3.5.21", False),
        ("helm", "4.0.0", True),
        ("helm", "3.19.0", False),
        ("postgresql", "18.0", True),
        ("postgresql", "17.9", False),
        ("valkey", "7.2.4", False),
        ("traefik", "3.10.0", True),
        ("traefik", "3.6.9", False),
    ],
)
def test_the_catalogue_accepts_what_works_together(unit: str, version: str, fits: bool) -> None:
    found = next(candidate.found for candidate in UNITS if candidate.name == unit)
    assert found is not None
    assert found.fit.accepts(parse_version(version)) is fits


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.found], ids=lambda unit: unit.name)
def test_our_own_version_fits_its_own_rule(unit: Unit) -> None:
    assert unit.found is not None
    assert unit.found.fit.accepts(parse_version(unit.version))


def test_a_rule_is_half_open_and_says_so() -> None:
    rule = Fit(first=(1, 2), below=(1, 4))
    assert [rule.accepts(version) for version in [(1, 1, 9), (1, 2), (1, 3, 99), (1, 4), (1, 4, 0)]] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert str(same_minor((1, 36, 3))) == "at least 1.36, below 1.37"
