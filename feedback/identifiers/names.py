"""People's names, by Presidio and a spaCy model: `pip install 'burnish[names]'`. Nothing else needs either.

A model recognises names, no check digit does: it misses some and takes others for one. "Ada Lovelace" and "Ada" are two
values; which words mean one person isn't resolved.
"""

from pathlib import Path

from feedback.errors import InvalidInput
from feedback.identifiers.find import Found, Kind, find
from feedback.identifiers.redactor import Finder

_SURE = 0.5
"""Presidio's score from which a name counts; spaCy's names have 0.85."""
_LABELS = {"PERSON": "PERSON", "PER": "PERSON"}
# what spaCy's models find beside people; Presidio warns of each that it isn't told to leave
_OTHER_LABELS = (
    "CARDINAL DATE EVENT FAC GPE LANGUAGE LAW LOC MISC MONEY NORP ORDINAL ORG PERCENT PRODUCT QUANTITY TIME WORK_OF_ART"
)


def finder(language: str = "en", model: str = "en_core_web_sm") -> Finder:
    """Finds names beside everything else: `Redactor(names.finder())`. Loads the model: once a process is enough.

    `model` is a spaCy package or a folder with one, of the same language.
    """
    try:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError as missing:
        raise InvalidInput(
            f"Names need Presidio, and {missing.name} isn't installed: run `pip install 'burnish[names]'`."
        ) from missing
    if not _is_installed(model):
        raise InvalidInput(f"spaCy's model {model} isn't installed: run `python -m spacy download {model}`.")
    settings = {
        "nlp_engine_name": "spacy",
        "models": [{"lang_code": language, "model_name": model}],
        "ner_model_configuration": {
            "model_to_presidio_entity_mapping": _LABELS,
            "labels_to_ignore": _OTHER_LABELS.split(),
        },
    }
    engine = NlpEngineProvider(nlp_configuration=settings).create_engine()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.add_nlp_recognizer(engine)  # and none of those that look for what `find` finds
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])

    def names(text: str) -> list[Found]:
        found = find(text)
        for one in analyzer.analyze(text, language=language, entities=["PERSON"], score_threshold=_SURE):
            if not any(one.start < other.end and other.start < one.end for other in found):
                value = " ".join(text[one.start : one.end].casefold().split())
                found.append(Found(Kind.NAME, one.start, one.end, value))
        return sorted(found, key=lambda one: one.start)

    return names


def _is_installed(model: str) -> bool:
    """By name or as a folder. Asked before Presidio is, which would download a model without asking."""
    from spacy.util import is_package

    return bool(is_package(model)) or Path(model).is_dir()
