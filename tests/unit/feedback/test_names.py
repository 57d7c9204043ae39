"""Names beside identifiers. No test downloads a model: Presidio's place is taken by a stand-in, or, where the extra is
installed, the real one gets a small model made of rules.
"""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from feedback.errors import InvalidInput
from feedback.identifiers import names
from feedback.identifiers.redactor import Redactor


class Analyzer:
    """Every capitalised word but a sentence's first is a name."""

    def __init__(self, **settings: Any) -> None:
        assert settings["supported_languages"] == ["en"]

    def analyze(
        self, text: str, *, language: str, entities: list[str], score_threshold: float
    ) -> list[SimpleNamespace]:
        assert (language, entities) == ("en", ["PERSON"])
        spans = [match.span() for match in re.finditer("(?<=[a-z] )[A-Z][a-z]+(?: [A-Z][a-z]+)?", text)]
        return [SimpleNamespace(start=start, end=end) for start, end in spans]


def installed(monkeypatch: pytest.MonkeyPatch, models: tuple[str, ...]) -> None:
    def module(name: str, **content: Any) -> None:
        made = ModuleType(name)
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, name, made)

    provider = SimpleNamespace(create_engine=lambda: None)
    registry = SimpleNamespace(add_nlp_recognizer=lambda engine: None)
    module("presidio_analyzer", AnalyzerEngine=Analyzer, RecognizerRegistry=lambda supported_languages: registry)
    module("presidio_analyzer.nlp_engine", NlpEngineProvider=lambda nlp_configuration: provider)
    module("spacy")
    module("spacy.util", is_package=lambda model: model in models)


def test_names_are_taken_out_beside_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, ("en_core_web_sm",))
    redactor = Redactor(names.finder())
    redacted, counts = redactor.redact(["I am Ada Lovelace, ada@example.org", "Hello, dear Ada!", "nobody"])
    assert redacted == ["I am [NAME_1], [EMAIL_1]", "Hello, dear [NAME_2]!", "nobody"]
    assert counts == {"name": 2, "email": 1}
    assert redactor.redact(redacted)[0] == redacted


def test_presidio_itself_with_a_model_of_two_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("presidio_analyzer", reason="the extra `names` isn't installed")
    spacy = pytest.importorskip("spacy")
    model = spacy.blank("en")
    patterns = {"Ada Lovelace": "PERSON", "Ada": "PERSON", "Acme": "ORG", "seven": "CARDINAL"}
    model.add_pipe("entity_ruler").add_patterns([{"label": label, "pattern": name} for name, label in patterns.items()])
    model.to_disk(tmp_path)

    redactor = Redactor(names.finder(model=str(tmp_path)))
    texts = ["I am Ada Lovelace of Acme, ada@example.org, all seven days", "Ada, dial +44 20 7946 0958", "nobody"]
    redacted, counts = redactor.redact(texts)
    assert redacted == ["I am [NAME_1] of Acme, [EMAIL_1], all seven days", "[NAME_2], dial [PHONE_1]", "nobody"]
    assert counts == {"name": 2, "email": 1, "phone": 1}
    assert not caplog.records


def test_without_presidio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(InvalidInput, match=r"pip install 'burnish\[names\]'"):
        names.finder()


def test_without_the_model_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, ())
    with pytest.raises(InvalidInput, match="spacy download en_core_web_sm"):
        names.finder()
