"""Continuous batching against transformers and PEFT, token for token, on tiny random models of three families."""

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
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from feedback.errors import AdapterRefused
from service.engines.adapter_format import TENSOR_FILE, read_adapter
from service.engines.base import BASE, SamplingParams
from service.engines.local.adapters import Adapters
from service.engines.local.decoder import Decoder
from service.engines.local.scheduler import PREFILL_TOKENS, Scheduler, Step
from service.engines.local.scoring import ScoreJob

VOCABULARY = 97
EOS = 3
FAMILIES = ["llama", "qwen2", "gpt2"]


def tiny_model(family: str) -> PreTrainedModel:
    """Random weights, large enough for clear winners among the tokens."""
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": EOS, "pad_token_id": 0}
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        **ends,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape)).eval()
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape)).eval()
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


def add(adapters: Adapters, version: str, folder: Path) -> None:
    adapters.add(version, read_adapter(folder), load_file(folder / TENSOR_FILE))


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


@pytest.fixture(scope="module", params=FAMILIES)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> House:
    torch.set_num_threads(1)  # threads cost such small models more than they give
    family = request.param
    folder = tmp_path_factory.mktemp(family)
    few = {"target_modules": ["c_attn"] if family == "gpt2" else ["q_proj", "down_proj"], "layers_to_transform": [1]}
    folders = {
        "one": save_adapter(family, folder / "one", seed=1),
        "two": save_adapter(family, folder / "two", seed=2, r=2, use_rslora=True, **few),
    }
    decoder = Decoder(tiny_model(family), Tokenless())
    for version, path in folders.items():
        add(decoder.adapters, version, path)
    peft = {version: PeftModel.from_pretrained(tiny_model(family), path).eval() for version, path in folders.items()}
    scheduler = Scheduler(
        decoder,
        slots=4,
        context_tokens=1024,
        stop_tokens=frozenset({EOS}),
        decode=spell,
        describe=lambda picked: None,
    )
    return House(scheduler, decoder, {BASE: tiny_model(family), **peft})


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


def test_greedy_equals_generate_alone_and_in_a_mixed_batch(house: House) -> None:
    # More requests than slots, short prompts and ones that are read in pieces, versions side by side.
    requests = [
        (id, version, tokens(length, seed=id), 12 + id)
        for id, (version, length) in enumerate(
            [(BASE, 5), ("one", 300), ("two", 9), (BASE, 600), ("one", 4), ("two", 257), (BASE, 256), ("one", 31)]
        )
    ]
    expected = {id: house.greedy(version, prompt, count) for id, version, prompt, count in requests}
    assert len(set(expected.values())) == len(expected)
    for id, version, prompt, count in requests[:3]:
        house.scheduler.submit(id, version, prompt, SamplingParams(count, temperature=0))
        assert run(house.scheduler)[0][id] == expected[id]
    together: dict[int, str] = {}
    for id, version, prompt, count in requests:
        house.scheduler.submit(id, version, prompt, SamplingParams(count, temperature=0))
        for number, text in run(house.scheduler, steps=2)[0].items():  # the next joins while the others are under way
            together[number] = together.get(number, "") + text
    for number, text in run(house.scheduler)[0].items():
        together[number] = together.get(number, "") + text
    assert together == expected


def test_scores_equal_pefts_while_replies_are_written(house: House) -> None:
    shapes = [(BASE, 7, 3), ("one", 40, 1), ("two", 2, 1), ("one", 700, 650), (BASE, 258, 257), ("two", 513, 200)]
    jobs = [
        ScoreJob(1, index, version, tokens(length, seed=index), first)
        for index, (version, length, first) in enumerate(shapes)
    ]
    prompt = tokens(20, seed=50)
    expected_text = house.greedy("one", prompt, 30)
    house.scheduler.submit(2, "one", prompt, SamplingParams(30, temperature=0))
    house.scheduler.score(jobs)
    texts, _, total = run(house.scheduler)
    assert texts[2] == expected_text
    assert {job.index for job in total.scored} == set(range(len(jobs)))
    for job in total.scored:
        expected = house.log_probabilities(job.version, job.tokens, job.first)
        assert job.scores == pytest.approx(expected, abs=1e-4)


def test_completions_of_one_prompt_score_as_each_does_alone(house: House) -> None:
    prompts = [tokens(30, seed=1), tokens(300, seed=2)]
    jobs = [
        ScoreJob(1, index, version, [*prompt, *tokens(length, seed=index)], len(prompt))
        for index, (version, prompt, length) in enumerate(
            (version, prompt, length) for version in (BASE, "one") for prompt in prompts for length in (1, 5, 280)
        )
    ]
    house.scheduler.score(jobs)
    _, _, total = run(house.scheduler)
    assert len(total.scored) == len(jobs)
    for job in total.scored:
        expected = house.log_probabilities(job.version, job.tokens, job.first)
        assert job.scores == pytest.approx(expected, abs=1e-4)


def test_cancelling_frees_the_slot_and_disturbs_nobody(house: House) -> None:
    prompts = {id: tokens(10 + id, seed=id) for id in range(6)}
    versions = [BASE, "one", "two", BASE, "one", "two"]
    for id, prompt in prompts.items():
        house.scheduler.submit(id, versions[id], prompt, SamplingParams(400 if id < 2 else 9, temperature=0))
    run(house.scheduler, steps=3)
    house.scheduler.cancel(0)
    house.scheduler.cancel(1)
    house.scheduler.cancel(1)
    assert not house.scheduler.uses("one") or versions[4] == "one"
    texts, reasons, _ = run(house.scheduler)
    assert not ({0, 1} & texts.keys())
    assert texts[4] == house.greedy("one", prompts[4], 9)
    assert texts[5] == house.greedy("two", prompts[5], 9)
    assert reasons[5] in {"stop", "length"}


def test_a_seed_gives_the_same_reply_in_any_company(house: House) -> None:
    sampling = SamplingParams(20, temperature=1.2, top_p=0.9, seed=11)
    house.scheduler.submit(1, "one", tokens(6, seed=1), sampling)
    alone = run(house.scheduler)[0][1]
    for id in (5, 6, 7):
        house.scheduler.submit(id, BASE, tokens(9, seed=id), SamplingParams(30, temperature=1.0))
    house.scheduler.submit(1, "one", tokens(6, seed=1), sampling)
    assert run(house.scheduler)[0][1] == alone
    house.scheduler.submit(1, "one", tokens(6, seed=1), SamplingParams(20, temperature=1.2, top_p=0.9, seed=12))
    assert run(house.scheduler)[0][1] != alone


def test_stops_at_stop_strings_the_token_limit_and_the_context(house: House) -> None:
    prompt = tokens(20, seed=3)
    greedy = house.greedy(BASE, prompt, 12)
    stop = spell([int(token) for token in greedy[1:-1].split("><")][4:6])
    at = greedy.index(stop)
    house.scheduler.submit(1, BASE, prompt, SamplingParams(12, temperature=0, stop=(stop,)))
    house.scheduler.submit(2, BASE, prompt, SamplingParams(2, temperature=0))
    house.scheduler.submit(3, BASE, tokens(1020, seed=4), SamplingParams(100, temperature=0))
    texts, reasons, _ = run(house.scheduler)
    assert (texts[1], reasons[1]) == (greedy[:at], "stop")
    assert (greedy.startswith(texts[2]), texts[2].count("<"), reasons[2]) == (True, 2, "length")
    assert texts[3].count("<") <= 4


def test_a_long_prompt_holds_replies_up_by_one_piece_at_most(house: House) -> None:
    house.scheduler.submit(1, BASE, tokens(5, seed=5), SamplingParams(60, temperature=0))
    house.scheduler.step()
    house.scheduler.submit(2, "one", tokens(900, seed=6), SamplingParams(5, temperature=0))
    for _ in range(900 // PREFILL_TOKENS):
        step = house.scheduler.step()
        assert all(id == 1 for id, _ in step.deltas)
        if not house.scheduler.uses(BASE):
            break
        assert step.deltas
    run(house.scheduler)


def test_probe_accepts_what_changes_something_and_refuses_the_rest(house: House, tmp_path: Path) -> None:
    with torch.inference_mode():
        house.decoder.probe("one")
        family = house.models[BASE].config.model_type
        zero = save_adapter(family, tmp_path / "zero", seed=3)
        described, tensors = read_adapter(zero), load_file(zero / TENSOR_FILE)
        idle = {name: weight * ("lora_A" in name) for name, weight in tensors.items()}
        house.decoder.adapters.add("idle", described, idle)
        with pytest.raises(AdapterRefused, match="changes nothing"):
            house.decoder.probe("idle")
        house.decoder.adapters.remove("idle")
        wild = {name: weight * 1e18 for name, weight in tensors.items()}
        house.decoder.adapters.add("wild", described, wild)
        with pytest.raises(AdapterRefused, match="finite"):
            house.decoder.probe("wild")
        house.decoder.adapters.remove("wild")
        broken = {name: weight / 0 for name, weight in tensors.items()}
        with pytest.raises(AdapterRefused, match="finite"):
            house.decoder.adapters.add("broken", described, broken)
    assert house.decoder.adapters.versions == ("one", "two")
    prompt = tokens(8, seed=8)
    house.scheduler.submit(1, "two", prompt, SamplingParams(8, temperature=0))
    assert run(house.scheduler)[0][1] == house.greedy("two", prompt, 8)


def test_refuses_adapters_of_another_base(house: House, tmp_path: Path) -> None:
    family = house.models[BASE].config.model_type
    other = "llama" if family == "gpt2" else "gpt2"
    with pytest.raises(AdapterRefused, match="another base model"):
        house.decoder.adapters.check(read_adapter(save_adapter(other, tmp_path / "other", seed=4)))
