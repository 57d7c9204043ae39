"""Duplicates in other words, by the real model2vec with a model of a few words."""

import sys
from pathlib import Path

import numpy as np
import pytest

from feedback.curate.datasheet import datasheet
from feedback.curate.items import Item
from feedback.curate.pipeline import Curated, curate
from feedback.errors import InvalidInput
from feedback.policies import Policies
from feedback.states import Side
from feedback.testing import about, item

SYNONYMS = [
    "how what",
    "big large",
    "is",
    "the",
    "tank reservoir",
    "it holds has",
    "lots much",
    "red",
    "blue",
    "not",
    "5",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words on one line of SYNONYMS mean the same; those on different lines have nothing in common."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    words = [word for line in SYNONYMS for word in line.split()]
    meaning = [place for place, line in enumerate(SYNONYMS) for _ in line.split()]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate([*words, "[UNK]"])}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    vectors = np.concatenate(
        [np.eye(len(SYNONYMS), dtype=np.float32)[meaning], np.zeros((1, len(SYNONYMS)), np.float32)]
    )
    folder = tmp_path_factory.mktemp("model")
    StaticModel(vectors, tokenizer).save_pretrained(folder)
    return folder


def curated(items: list[Item], model: Path | str, similarity: float | None = 0.95) -> Curated:
    policies = Policies.model_validate(
        {
            "trust": {"min_voices": 1},
            "duplicates": {"semantic_similarity": similarity, "semantic_model": str(model)},
            "training": {"min_preference_pairs": 1},
        }
    )
    return curate(items, policies, "opt_out", as_of=0)


def says(number: int, question: str, right: str, **more: object) -> Item:
    return item(number, question, "?", **{"correction": right, "contributor": f"person {number}", **more})


def kept(result: Curated) -> list[tuple[int, ...]]:
    return sorted({planned.feedback_ids for planned in result.rows})


def test_the_same_in_other_words_counts_once_with_the_oldest(model: Path) -> None:
    said = [
        says(3, "What big is the reservoir?", "It has lots."),
        says(1, "How large is the tank?", "It holds lots."),
        says(2, "how LARGE is the tank", "it holds lots"),
        says(4, "Is the tank red?", "It is blue."),
    ]
    result = curated(said, model)
    assert kept(result) == [(1, 2, 3), (4,)]
    assert {(out.id, out.reason) for out in result.dropped if out.stage == "duplicates"} == {
        (2, "somebody said the same; it counts with theirs"),
        (3, "somebody said the same in other words; it counts with theirs"),
    }
    assert datasheet(result, about(), "cafe")["policy"]["duplicates"]["semantic_model"]
    assert kept(curated(said, model, None)) == [(1, 2), (3,), (4,)]


def test_what_embeddings_cannot_tell_apart_is_not_the_same(model: Path) -> None:
    said = [
        says(1, "How big is the tank?", "It holds 5 lots."),
        says(2, "What large is the reservoir?", "It holds 15 lots."),
        says(3, "What big is the reservoir?", "It holds not 5 lots."),
        says(4, "What big is the reservoir?", "It has 5 lots.", key_facts=("5 lots",)),
    ]
    assert kept(curated(said, model)) == [(1,), (2,), (3,), (4,)]


def test_what_is_held_out_stays_and_sides_stay_apart(model: Path) -> None:
    said = [
        says(1, "How large is the tank?", "It holds lots.", side=Side.GATE),
        says(2, "What big is the reservoir?", "It has lots.", side=Side.GATE),
        says(3, "What large is the reservoir?", "It holds much.", side=Side.TRAIN),
    ]
    assert {number for numbers in kept(curated(said, model)) for number in numbers} >= {1, 2}
    assert (1, 2) not in kept(curated(said, model))
    assert not any(3 in numbers and len(numbers) > 1 for numbers in kept(curated(said, model)))


def test_without_the_extra_or_the_model_it_says_what_to_do(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [says(1, "How large is the tank?", "It holds lots."), says(2, "Is the tank red?", "It is blue.")]
    with pytest.raises(InvalidInput, match=r"duplicates\.semantic_model: .* can't be loaded"):
        curated(said, tmp_path / "none")
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(InvalidInput, match=r"pip install 'burnish\[semantic\]'"):
        curated(said, model)
