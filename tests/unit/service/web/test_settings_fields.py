"""Policies as forms: every setting has a control that gives back what it shows, and words in every language."""

import pytest

from feedback.policies import Policies
from service.web.console.settings import fields
from service.web.page import Form
from service.web.words import LANGUAGES, Words


@pytest.mark.parametrize("section", fields.TITLES)
def test_a_form_that_nobody_touched_changes_nothing(section: str) -> None:
    present = Policies().model_dump(mode="json")[section]
    sent = {
        row.setting.name: row.text if row.setting.kind not in ("tick", "choices") else "".join(sorted(row.chosen)[:1])
        for row in fields.rows(section, present)
    }
    several = {row.setting.name for row in fields.rows(section, present) if row.setting.kind == "choices"}
    typed = fields.read(section, Form({name: text for name, text in sent.items() if text != "False"}))
    assert typed.wrong == {}
    assert fields.differing(section, present, typed.values).keys() <= several
    assert not any(row.changed for row in fields.rows(section, present))


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_every_setting_is_explained_in_every_language(language: str) -> None:
    words = Words(language)
    said = [setting.description for section in fields.TITLES for setting in fields.settings_of(section)]
    said += [fields.about(section) for section in fields.TITLES]
    assert [one for one in said if not one or words(one) == one] == []


def test_all_sections_have_a_title_but_the_one_with_a_tab_of_its_own() -> None:
    assert sorted([*fields.TITLES, "retention"]) == sorted(Policies.model_fields)
