"""What the seam itself promises, whatever computes behind it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from families import VOCABULARY, Tokenless, add, read, save_adapter, tiny_model
from peft import LoraConfig, get_peft_model

from feedback.errors import AdapterRefused
from service.engines.local.decoder import Chunk, Decoder, open_decoder
from service.engines.local.native import library


@pytest.fixture(params=[pytest.param("compiled", marks=pytest.mark.compiled), "transformers"])
def way(request: pytest.FixtureRequest) -> str:
    library.load.cache_clear()
    if request.param == "compiled" and library.load() is None:
        pytest.skip("compiled: the decoder wasn't built, or this processor can't run it")
    return str(request.param)


def open_tiny(way: str, context_tokens: int = 64) -> Decoder:
    decoder = open_decoder(
        tiny_model("llama"), Tokenless(), context_tokens=context_tokens, compiled=way != "transformers"
    )
    assert decoder.name.startswith(way)
    return decoder


def test_the_probe_fits_a_context_shorter_than_itself(way: str, tmp_path: Path) -> None:
    decoder = open_tiny(way, context_tokens=5)
    add(decoder, "one", save_adapter("llama", tmp_path, seed=1))
    assert decoder.versions == {"one"}
    assert decoder.vocabulary == VOCABULARY


@pytest.mark.parametrize("failure", [MemoryError, KeyboardInterrupt])
def test_an_adapter_whose_trial_fails_in_any_way_isnt_there(
    failure: type[BaseException], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = open_tiny(way)
    prepared = decoder.prepare(*read(save_adapter("llama", tmp_path, seed=1)))

    def fail(chunks: Sequence[Chunk]) -> torch.Tensor:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(decoder._backend, "forward", fail)
        with pytest.raises(failure):
            decoder.add("one", prepared)
    assert decoder.versions == set()
    decoder.add("one", prepared)
    assert decoder.versions == {"one"}


@pytest.mark.compiled
def test_an_adapter_of_the_head_is_refused_with_what_can_be_adapted(tmp_path: Path) -> None:
    library.load.cache_clear()
    if library.load() is None:
        pytest.skip("compiled: the decoder wasn't built, or this processor can't run it")
    lora = LoraConfig(target_modules=["q_proj", "lm_head"], r=4, task_type="CAUSAL_LM")
    get_peft_model(tiny_model("llama"), lora).save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(AdapterRefused, match=r"lm_head.*model\.layers\.0.*without lm_head in `target_modules`"):
        open_tiny("compiled").prepare(*read(tmp_path))
