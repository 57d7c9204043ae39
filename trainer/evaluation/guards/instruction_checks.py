"""Whether a reply follows an instruction that a program can check: IFEval's, by its names and arguments.

Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (arXiv:2311.07911), its loose
sense: the reply as it is. Written anew for English and Chinese. Leaves out who asks (instructions.py).
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

_SENTENCE = re.compile(r"[^.!?。！？\n]*\w[^.!?。！？\n]*[.!?。！？\n]*")
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’-][^\W_]+)*")
_BULLET = re.compile(r"^\s*(?:[*+-]|•)\s+\S", re.MULTILINE)
_QUOTES = {'"': '"', "“": "”", "「": "」", "『": "』"}


def follows(reply: str, instruction: str, arguments: Arguments) -> bool:
    """Raises KeyError for an instruction that isn't one of CHECKS. An empty reply follows none."""
    check = CHECKS[instruction]
    return bool(reply.strip()) and check(reply, arguments)


def words(text: str) -> list[str]:
    """Words, but of Chinese, which has no spaces, characters.

    >>> words("It's 9 o'clock: 喝茶")
    ["It's", '9', "o'clock", '喝', '茶']
    """
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """
    >>> len(sentences("One. Two! 三。"))
    3
    """
    return _SENTENCE.findall(text)


def paragraphs(text: str, separator: str = r"\n\s*\n") -> list[str]:
    return [part for part in re.split(separator, text) if part.strip()]


def _related(count: int, relation: str | None, wanted: int) -> bool:
    return count < int(wanted) if relation == "less than" else count >= int(wanted)


def _has(reply: str, word: str) -> bool:
    return _count(reply, word) > 0


def _count(reply: str, word: str) -> int:
    """As a whole word; of Chinese, anywhere."""
    edge = r"\b" if word.isascii() else ""
    return len(re.findall(edge + re.escape(word) + edge, reply, re.IGNORECASE))


def _number_of_sentences(reply: str, asked: Arguments) -> bool:
    return _related(len(sentences(reply)), asked.get("relation"), asked["num_sentences"])


def _number_of_words(reply: str, asked: Arguments) -> bool:
    return _related(len(words(reply)), asked.get("relation"), asked["num_words"])


def _number_of_paragraphs(reply: str, asked: Arguments) -> bool:
    """IFEval has them divided by `***`; elsewhere an empty line does."""
    return int(asked["num_paragraphs"]) in (len(paragraphs(reply, r"\s?\*\*\*\s?")), len(paragraphs(reply)))


def _first_word_of_paragraph(reply: str, asked: Arguments) -> bool:
    parts = paragraphs(reply)
    if len(parts) != asked["num_paragraphs"] or asked["nth_paragraph"] > len(parts):
        return False
    begins = words(parts[asked["nth_paragraph"] - 1])
    return bool(bool(begins) and begins[0].lower() == asked["first_word"].lower())


def _frequency(reply: str, asked: Arguments) -> bool:
    return _related(_count(reply, asked["keyword"]), asked.get("relation"), asked["frequency"])


def _letter_frequency(reply: str, asked: Arguments) -> bool:
    count = reply.lower().count(asked["letter"].lower())
    return _related(count, asked.get("let_relation"), asked["let_frequency"])


def _capital_words(reply: str, asked: Arguments) -> bool:
    count = sum(word.isupper() for word in words(reply))
    return _related(count, asked.get("capital_relation"), asked["capital_frequency"])


def _highlights(reply: str, asked: Arguments) -> bool:
    found = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", reply)
    return bool(len(found) >= asked["num_highlights"])


def _placeholders(reply: str, asked: Arguments) -> bool:
    return bool(len(re.findall(r"\[[^\[\]\n]+\]", reply)) >= asked["num_placeholders"])


def _sections(reply: str, asked: Arguments) -> bool:
    heads = re.findall(rf"^\W*{re.escape(asked['section_spliter'])}\s*\d+", reply, re.MULTILINE)
    return bool(len(heads) >= asked["num_sections"])


def _postscript(reply: str, asked: Arguments) -> bool:
    marker = re.escape(asked["postscript_marker"]).replace(r"\.", r"\.\s?")
    return re.search(rf"^\s*{marker}", reply, re.MULTILINE | re.IGNORECASE) is not None


def _is_json(reply: str, asked: Arguments) -> bool:
    bare = re.sub(r"^\s*```(?:json)?|```\s*$", "", reply.strip(), flags=re.IGNORECASE)
    try:
        json.loads(bare)
    except ValueError:
        return False
    return True


def _quoted(reply: str, asked: Arguments) -> bool:
    text = reply.strip()
    return len(text) > 1 and text[-1] == _QUOTES.get(text[0])


def _ends_with(reply: str, asked: Arguments) -> bool:
    return bool(reply.strip().strip("\"'”」").lower().endswith(asked["end_phrase"].strip().strip("\"'”」").lower()))


def _repeats_prompt(reply: str, asked: Arguments) -> bool:
    return bool(reply.strip().lower().startswith(asked["prompt_to_repeat"].strip().lower()))


def _two_responses(reply: str, asked: Arguments) -> bool:
    parts = [part.strip() for part in reply.split("******") if part.strip()]
    return len(parts) == 2 and parts[0] != parts[1]


def _constrained(reply: str, asked: Arguments) -> bool:
    return any(answer in reply for answer in ("My answer is yes.", "My answer is no.", "My answer is maybe."))


def _in_language(reply: str, asked: Arguments) -> bool:
    from feedback.curate.looks import language_of

    return language_of(reply) == str(asked["language"]).lower()


CHECKS: dict[str, Check] = {
    "keywords:existence": lambda reply, asked: all(_has(reply, word) for word in asked["keywords"]),
    "keywords:forbidden_words": lambda reply, asked: not any(_has(reply, word) for word in asked["forbidden_words"]),
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "length_constraints:number_words": _number_of_words,
    "length_constraints:number_sentences": _number_of_sentences,
    "length_constraints:number_paragraphs": _number_of_paragraphs,
    "length_constraints:nth_paragraph_first_word": _first_word_of_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda reply, asked: len(_BULLET.findall(reply)) == asked["num_bullets"],
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:title": lambda reply, asked: re.search(r"<<[^<>\n]+>>", reply) is not None,
    "detectable_format:json_format": _is_json,
    "detectable_format:constrained_response": _constrained,
    "change_case:english_lowercase": lambda reply, asked: reply == reply.lower(),
    "change_case:english_capital": lambda reply, asked: reply == reply.upper(),
    "change_case:capital_word_frequency": _capital_words,
    "punctuation:no_comma": lambda reply, asked: not any(comma in reply for comma in ",，"),
    "startend:quotation": _quoted,
    "startend:end_checker": _ends_with,
    "combination:repeat_prompt": _repeats_prompt,
    "combination:two_responses": _two_responses,
    "language:response_language": _in_language,
}
