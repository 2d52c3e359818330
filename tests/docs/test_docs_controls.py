"""The page on controls is what the file of controls says."""

from __future__ import annotations

from reports import controls, controls_page


def test_the_page_is_what_the_file_says() -> None:
    told = "python -m reports.controls_page writes it anew"
    assert controls_page.PAGE.read_text(encoding="utf-8") == controls_page.page(), told


def test_every_control_question_and_field_is_on_the_page() -> None:
    text = controls_page.page()
    for control in controls.load():
        assert f"## {control.name}: {control.title}" in text
        assert all(f"| {question.asks} |" in text for question in control.questions)
    assert all(f"| {field.title} | {field.place} |" in text for field in controls.FIELDS.values())
