"""Tiny random models of several families, adapters of theirs, and a scheduler over one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from service.engines.adapter_format import TENSOR_FILE, AdapterFormat, read_adapter
from service.engines.base import BASE
from service.engines.local.decoder import Decoder, open_decoder
from service.engines.local.scheduler import Scheduler, Step

VOCABULARY = 97
EOS = 3
FAMILIES = ["llama", "llama-bfloat16", "mistral", "qwen2", "qwen3", "gpt2"]
"""llama-bfloat16: weights that bfloat16 holds exactly, computed in float32."""

WAYS = [
    *(
        pytest.param((family, "compiled"), marks=pytest.mark.compiled, id=f"{family}-compiled")
        for family in FAMILIES[:-1]
    ),
    pytest.param(("llama-bfloat16", "compiled for avx2"), marks=pytest.mark.compiled, id="llama-bfloat16-avx2"),
    *(pytest.param((family, "transformers"), id=f"{family}-transformers") for family in ("llama", "gpt2")),
]


def tiny_model(family: str) -> PreTrainedModel:
    """Random weights, large enough for clear winners among the tokens."""
    if family == "llama-bfloat16":
        return tiny_model("llama").bfloat16().float()
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": EOS, "pad_token_id": 0}
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        **ends,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape)).eval()
    if family == "mistral":
        return MistralForCausalLM(MistralConfig(**shape, sliding_window=2048)).eval()
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape)).eval()
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=32)).eval()
    gpt2 = GPT2Config(
        vocab_size=VOCABULARY, n_embd=48, n_layer=2, n_head=4, n_positions=1024, initializer_range=0.3, **ends
    )
    return GPT2LMHeadModel(gpt2).eval()


def save_adapter(family: str, folder: Path, seed: int, r: int = 4, **options: Any) -> Path:
    torch.manual_seed(seed)
    lora = LoraConfig(**{"lora_alpha": 2 * r, "target_modules": "all-linear", **options}, r=r, task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model(family), lora)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    return folder


def read(folder: Path) -> tuple[AdapterFormat, dict[str, torch.Tensor]]:
    return read_adapter(folder), load_file(folder / TENSOR_FILE)


def add(decoder: Decoder, version: str, folder: Path) -> None:
    decoder.add(version, decoder.prepare(*read(folder)))


def tokens(count: int, seed: int) -> list[int]:
    return torch.randint(4, VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def spell(ids: list[int]) -> str:
    """A decoder that shows which tokens were picked."""
    return "".join(f"<{id}>" for id in ids)


@dataclass
class House:
    """A scheduler over a tiny model with two adapters of different rank, and PEFT's models of the same."""

    scheduler: Scheduler
    decoder: Decoder
    models: dict[str, PreTrainedModel]

    def greedy(self, version: str, prompt: list[int], count: int) -> str:
        output = self.models[version].generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=count,
            do_sample=False,
        )[0, len(prompt) :]
        return spell([token for token in output.tolist() if token != EOS])

    def log_probabilities(self, version: str, ids: list[int], first: int) -> list[float]:
        with torch.no_grad():
            logits = self.models[version](torch.tensor([ids])).logits[0].float().log_softmax(-1)
        return [float(logits[place - 1, ids[place]]) for place in range(first, len(ids))]


class Tokenless:
    """Stands where a tokenizer does; the probe prompt is all that the decoder asks of one."""

    all_special_tokens: tuple[str, ...] = ()
    added_tokens_decoder: dict[int, Any] = {}

    def apply_chat_template(self, *_: Any, **__: Any) -> list[int]:
        return tokens(12, seed=99)


def make_house(family: str, way: str, folder: Path) -> House:
    torch.set_num_threads(
        2 if (family, way) == ("llama", "compiled") else 1
    )  # threads cost such small models more than they give
    few = {"target_modules": ["c_attn"] if family == "gpt2" else ["q_proj", "down_proj"], "layers_to_transform": [1]}
    folders = {
        "one": save_adapter(family, folder / "one", seed=1),
        "two": save_adapter(family, folder / "two", seed=2, r=2, use_rslora=True, **few),
    }
    decoder = open_decoder(tiny_model(family), Tokenless(), context_tokens=1024, compiled=way != "transformers")
    assert decoder.name.startswith(way.split()[0])
    for version, path in folders.items():
        add(decoder, version, path)
    peft = {version: PeftModel.from_pretrained(tiny_model(family), path).eval() for version, path in folders.items()}
    scheduler = open_scheduler(decoder)
    return House(scheduler, decoder, {BASE: tiny_model(family), **peft})


def open_scheduler(decoder: Decoder, **options: Any) -> Scheduler:
    chosen: dict[str, Any] = {"slots": 4, "kv_cache_tokens": 16_384, "prefix_cache_bytes": 1 << 18, **options}
    return Scheduler(
        decoder,
        context_tokens=1024,
        stop_tokens=frozenset({EOS}),
        decode=spell,
        describe=lambda picked: None,
        **chosen,
    )


def run(scheduler: Scheduler, steps: int = 10_000) -> tuple[dict[int, str], dict[int, str | None], Step]:
    """Step until all is done (or `steps` are): texts and finish reasons by request, and everything scored."""
    texts: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    total = Step()
    while scheduler.busy and steps:
        steps -= 1
        step = scheduler.step()
        total.scored += step.scored
        for id, delta in step.deltas:
            texts[id] = texts.get(id, "") + delta.text
            reasons[id] = delta.finish_reason
    return texts, reasons, total
