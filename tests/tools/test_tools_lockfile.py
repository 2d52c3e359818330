"""Reading the hash-pinned list of wheels."""

import pytest

from rehearsal.tools.catalogue import GO_TOOLCHAIN, UNITS, WheelSource, pins
from rehearsal.tools.lockfile import parse_pins

A, B = "a" * 64, "b" * 64


def test_names_are_normalised_and_all_hashes_kept() -> None:
    found = parse_pins(
        f"# made by\nZope.Interface_X==1.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n", where="x"
    )
    assert list(found) == ["zope-interface-x"]
    assert found["zope-interface-x"].version == "1.0"
    assert found["zope-interface-x"].sha256 == {A, B}


def test_a_pin_gives_back_a_requirement_that_pip_checks() -> None:
    pin = parse_pins(f"x==1 --hash=sha256:{B} --hash=sha256:{A}", where="x")["x"]
    assert pin.requirement() == f"x==1 --hash=sha256:{A} --hash=sha256:{B}\n"


@pytest.mark.parametrize(
    "line",
    [
        "x==1",
        f"x>=1 --hash=sha256:{A}",
        f"x --hash=sha256:{A}",
        "x==1 --hash=sha256:abc",
        f"x==1 --hash=md5:{A[:32]}",
        f"x==1 --hash=sha256:{A} --hash=sha1:{A[:40]}",
        f"x==1 --hash=sha256:{A}\nX==2 --hash=sha256:{A}",
    ],
)
def test_what_is_not_pinned_exactly_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"wheels\.lock"):
        parse_pins(line, where="wheels.lock")


def test_the_lock_holds_each_wheel_of_the_catalogue_and_no_other() -> None:
    used = {unit.source.distribution for unit in (*UNITS, GO_TOOLCHAIN) if isinstance(unit.source, WheelSource)}
    assert set(pins()) == used


def test_programs_are_provided_once_and_folder_names_differ() -> None:
    programs = [program for unit in UNITS for program in unit.programs]
    assert len(programs) == len(set(programs))
    assert len({unit.folder_name for unit in UNITS}) == len(UNITS)
