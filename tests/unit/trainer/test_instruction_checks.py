"""Whether a reply follows an instruction, as IFEval names them: each with a reply that does and one that doesn't."""

from typing import Any

import pytest

from trainer.evaluation.guards.instruction_checks import CHECKS, follows

FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["tea", "cup"]}, "A cup of Tea.", "A cup of teapots."),
    ("keywords:existence", {"keywords": ["茶"]}, "喝茶吧。", "喝水吧。"),
    ("keywords:forbidden_words", {"forbidden_words": ["sad"]}, "A saddle.", "So sad."),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "at least"}, "Go, go!", "Go, goat."),
    ("keywords:letter_frequency", {"letter": "z", "let_frequency": 2, "let_relation": "less than"}, "zoo", "zzz"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "now three words"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "一。二！", "One"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "One.\n\nThen two.",
        "One.\n\nNow two.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a] and b"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Hi.\nP.S. Bye.", "Hi. Bye."),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b", "* a\n* b\n* c"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "a *b* c", "a b c"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\nx\nSection 2\ny",
        "Section 1\nx",
    ),
    ("detectable_format:title", {}, "<<Tea>>\nHot.", "Tea\nHot."),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "a: 1"),
    ("detectable_format:constrained_response", {}, "My answer is yes.", "Yes."),
    ("change_case:english_lowercase", {}, "quiet 茶", "Loud"),
    ("change_case:english_capital", {}, "LOUD!", "Loud!"),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "VERY LOUD tea",
        "VERY loud tea",
    ),
    ("punctuation:no_comma", {}, "茶、水", "茶，水"),
    ("startend:quotation", {}, "“喝茶。”", '"Tea'),
    ("startend:end_checker", {"end_phrase": "Good bye."}, "See you. Good bye.", "Good bye. See you."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say tea."}, "Say tea. Tea.", "Tea."),
    ("combination:two_responses", {}, "a******b", "a******a"),
    (
        "language:response_language",
        {"language": "de"},
        "Das ist ein sehr schöner Tag heute.",
        "What a lovely day it is.",
    ),
]


@pytest.mark.parametrize(("instruction", "arguments", "yes", "no"), FOLLOWED)
def test_instructions_are_told_to_be_followed_or_not(
    instruction: str, arguments: dict[str, Any], yes: str, no: str
) -> None:
    assert follows(yes, instruction, arguments)
    assert not follows(no, instruction, arguments)
    assert not follows("", instruction, arguments)


def test_every_check_has_its_example() -> None:
    assert {instruction for instruction, *_ in FOLLOWED} == set(CHECKS)
