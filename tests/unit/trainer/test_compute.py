"""The layers that training computes itself, against transformers' and PEFT's own, forward and backward."""

from typing import Any

import pytest
import torch
from families import VOCABULARY, tiny_model
from peft import LoraConfig, get_peft_model
from torch import Tensor

from trainer.compute import llama_layers
from trainer.compute.attention import attend, attend_backward
from trainer.compute.log_probs import Compute, install
from trainer.compute.lora_product import Unsupported

ROWS = [[1, 5, 6, 7, 8, 9], [1, 5, 6, 20, 21], [1, 5, 7], [30, 31, 32, 33, 34, 35, 36, 37], [4]]
"""Some begin alike, one is alone, one is a single token."""


def adapted(family: str, **changed: Any) -> Any:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **changed)
    return get_peft_model(tiny_model(family), config)


def plain_hidden(model: Any, rows: list[list[int]]) -> Tensor:
    """transformers' own, one row after the other."""
    decoder = model.get_base_model().base_model
    return torch.cat([decoder(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state[0] for row in rows])


def slopes(model: Any, hidden: Tensor) -> list[Tensor]:
    torch.manual_seed(2)
    (hidden * torch.randn(hidden.shape)).sum().backward()
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]
    model.zero_grad()
    return found


@pytest.mark.parametrize("kept_bytes", [1 << 40, 0], ids=["kept", "computed again"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_layers_and_their_slopes_are_transformers(
    family: str, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_layers, "MOST_KEPT_BYTES", kept_bytes)
    model = adapted(family, use_rslora=True)
    expected = plain_hidden(model, ROWS)
    of_plain = slopes(model, expected)
    compute = Compute(model)
    assert next(name for name, _ in compute._ways) == "layers of its own"

    hidden = compute.hidden(ROWS)
    torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=1e-4)
    for ours, plain in zip(slopes(model, hidden), of_plain, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-3, rtol=1e-3)
    with torch.no_grad(), model.disable_adapter():
        torch.testing.assert_close(compute.hidden(ROWS), plain_hidden(model, ROWS), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kept_bytes", [1 << 40, 0], ids=["kept", "computed again"])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_of_batches_that_come_together_the_first_alone_learns(
    family: str, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_layers, "MOST_KEPT_BYTES", kept_bytes)
    model = adapted(family)
    first, second = [ROWS[0], ROWS[2]], [ROWS[1], ROWS[3], ROWS[0]]
    expected = plain_hidden(model, first)
    of_plain = slopes(model, expected)
    compute = Compute(model)
    compute.expect(first, second, gradients=True)
    hidden = compute.hidden(first)
    with torch.no_grad():
        other = compute.hidden(second)
        torch.testing.assert_close(other, plain_hidden(model, second), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=1e-4)
    for ours, plain in zip(slopes(model, hidden), of_plain, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-3, rtol=1e-3)


def test_a_second_adapter_is_computed_when_it_is_the_active_one() -> None:
    model = adapted("llama")
    model.add_adapter("ref", LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    compute = Compute(model)
    before = compute.hidden(ROWS).detach()
    model.set_adapter("ref")
    with torch.no_grad():
        torch.testing.assert_close(compute.hidden(ROWS), plain_hidden(model, ROWS), atol=1e-4, rtol=1e-4)
    model.set_adapter("default")
    torch.testing.assert_close(compute.hidden(ROWS).detach(), before)


@pytest.mark.parametrize(
    ("family", "changed"),
    [("gpt2", {}), ("llama", {"use_dora": True}), ("llama", {"lora_dropout": 0.5}), ("qwen2", {"bias": "all"})],
    ids=["another family", "dora", "dropout", "biases"],
)
def test_what_it_does_not_know_is_left_to_transformers(family: str, changed: dict[str, Any]) -> None:
    model = adapted(family, **changed).eval()
    with pytest.raises(Unsupported):
        llama_layers.Layers(model.get_base_model())
    with torch.no_grad():
        torch.testing.assert_close(Compute(model).hidden(ROWS), plain_hidden(model, ROWS), atol=1e-4, rtol=1e-4)


def test_rows_longer_than_a_sliding_window_are_left_to_transformers() -> None:
    model = adapted("mistral")
    model.get_base_model().config.sliding_window = 4
    compute = Compute(model)
    compute._checked = True  # the first batch would tell the difference, a later one is the danger
    long = [list(range(10, 26))]
    with torch.no_grad():
        torch.testing.assert_close(compute.hidden(long), compute._by_rows(long, 1))


def test_a_way_that_disagrees_with_padded_rows_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    model = adapted("llama")
    compute = Compute(model)
    compute._layers.norm.weight.data *= 3  # transformers' model has it, too
    broken = compute._layers.layers[0].down
    broken.weight = broken.weight + 1
    with caplog.at_level("INFO", logger="trainer"), torch.no_grad():
        hidden = compute.hidden(ROWS)
        torch.testing.assert_close(hidden, plain_hidden(model, ROWS), atol=1e-4, rtol=1e-4)
    assert "doesn't compute with layers of its own" in caplog.text


@pytest.mark.parametrize("length", [1, 7, 64, 130])
def test_bfloat16_slopes_of_attention_are_those_of_float32(length: int) -> None:
    torch.manual_seed(3)
    shape = (3, 4, length, 16)
    query, key, value, upstream = (torch.randn(shape).bfloat16() for _ in range(4))
    exact = [part.float().requires_grad_() for part in (query, key, value)]
    torch.nn.functional.scaled_dot_product_attention(*exact, is_causal=True, scale=0.25).backward(upstream.float())

    attended, log_sum = attend(query, key, value, 0.25)
    for ours, right in zip(attend_backward(upstream, query, key, value, attended, log_sum, 0.25), exact, strict=True):
        assert right.grad is not None
        assert (ours.float() - right.grad).abs().max() < 0.03 * max(1.0, float(right.grad.abs().max()))


def test_the_head_gives_log_probabilities_their_slopes_and_what_was_likeliest() -> None:
    model = adapted("llama")
    install(model)
    assert install(model) is install(model), "once is enough"
    ids = torch.tensor([ROWS[0], [*ROWS[1], 0]])
    mask = torch.tensor([[1] * 6, [1] * 5 + [0]])
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :2] = -100
    logits = torch.cat([model.get_output_embeddings()(plain_hidden(model, [row])) for row in ROWS[:2]])
    assert logits.shape == (11, VOCABULARY)
    expected = logits.log_softmax(-1)[[1, 2, 3, 4, 7, 8, 9], [6, 7, 8, 9, 6, 20, 21]]

    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    torch.testing.assert_close(output.log_probs[output.label_mask], expected, atol=1e-4, rtol=1e-4)
    likeliest = logits.argmax(-1)[[1, 2, 3, 4, 7, 8, 9]] == torch.tensor([6, 7, 8, 9, 6, 20, 21])
    assert output.is_top1[output.label_mask].tolist() == likeliest.tolist()
