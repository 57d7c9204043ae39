"""The compiled steps of a layer in bfloat16, against torch's own in float32."""

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from service.engines.local.native.library import BUILDS, processor_features
from trainer.compute.native import library
from trainer.compute.native.steps import CompiledSteps, compiled_steps, softmax_in_place
from trainer.compute.prefix_tree import prefix_tree
from trainer.compute.steps import Heads, TorchSteps

if not BUILDS[library.BUILD] <= processor_features():
    pytest.skip("this processor has no bfloat16 products (AVX-512 BF16)", allow_module_level=True)

SYSTEM = list(range(10, 60))
TREES = {
    "one row": [[5, 6, 7]],
    "one token": [[5]],
    "a shared system prompt": [[*SYSTEM, 1, *range(100, 160)], [*SYSTEM, 1, 200, 201], [*SYSTEM, 3]],
    "a row within a row, one twice": [[*SYSTEM, 1], SYSTEM, [7, 8, 9], [7, 8, 9], [*SYSTEM, 1, 4]],
    "long ones": [list(range(500)), [*range(300), *range(1000, 1130)], list(range(600, 617))],
}
HEADS = {"grouped": Heads(9, 3, 64, 0.125), "alone": Heads(4, 4, 16, 0.25), "one key, wide": Heads(14, 1, 128, 0.088)}


def ours(heads: Heads = HEADS["grouped"]) -> CompiledSteps:
    found = compiled_steps(torch.bfloat16, heads, [64])
    assert found is not None, "not built: pip install -e . compiles it"
    return found


def near(found: Tensor, right: Tensor) -> None:
    assert found.dtype == torch.bfloat16
    assert float((found.float() - right).abs().max()) < 0.01 * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("rows", TREES)
def test_attention_over_a_tree_and_its_slopes(rows: str, shape: str) -> None:
    torch.manual_seed(1)
    heads, tree = HEADS[shape], prefix_tree(TREES[rows])
    tokens = len(tree.tokens)
    qkv = torch.randn(tokens, heads.queries + 2 * heads.keys, heads.width).bfloat16()
    upstream = torch.randn(tokens, heads.queries * heads.width).bfloat16()
    angles = torch.randn(tokens, heads.width // 2)
    cos, sin = angles.cos(), angles.sin()

    steps, plain = ours(heads), TorchSteps()
    places, plain_places = steps.places(tree, cos, sin), plain.places(tree, cos, sin)
    context, kept = steps.attend(qkv, heads, places)
    right, plain_kept = plain.attend(qkv.float(), heads, plain_places)
    near(context, right)
    slope = steps.attend_backward(kept, upstream, heads, places)
    near(slope, plain.attend_backward(plain_kept, upstream.float(), heads, plain_places))
    assert torch.equal(slope, steps.attend_backward(kept, upstream, heads, places)), "the same each time"


@pytest.mark.parametrize("added", [None, torch.randn(37, 3, 64).bfloat16()], ids=["alone", "and a slope"])
def test_norms_and_their_slopes(added: Tensor | None) -> None:
    torch.manual_seed(2)
    weight, x, upstream = (torch.randn(shape).bfloat16() for shape in ((64,), (37, 3, 64), (37, 3, 64)))
    module, exact = (SimpleNamespace(weight=one, variance_epsilon=1e-5) for one in (weight, weight.float()))
    steps, plain = ours(), TorchSteps()
    normed, scale = steps.norm(x, module)
    right, right_scale = plain.norm(x.float(), exact)
    near(normed, right)
    torch.testing.assert_close(scale, right_scale)
    near(
        steps.norm_backward(upstream, x, scale, module, added),
        plain.norm_backward(upstream.float(), x.float(), right_scale, exact, None if added is None else added.float()),
    )


def test_gates_and_their_slopes() -> None:
    torch.manual_seed(3)
    gate_up, upstream = (torch.randn(37, 128) * 4).bfloat16(), torch.randn(37, 64).bfloat16()
    near(ours().gated(gate_up), TorchSteps().gated(gate_up.float()))
    near(ours().gated_backward(upstream, gate_up), TorchSteps().gated_backward(upstream.float(), gate_up.float()))


def test_log_probabilities_of_labels_and_the_softmax_left_in_place() -> None:
    torch.manual_seed(4)
    logits = (torch.randn(5, 48) * 3).bfloat16()
    labels = torch.cat([logits[:2].argmax(-1), logits[2:].argmin(-1)])
    right = logits.float().log_softmax(-1)

    place = logits.clone()
    found = softmax_in_place(place, labels, keep=False)
    assert found is not None
    torch.testing.assert_close(found[0], right.gather(-1, labels[:, None])[:, 0])
    assert found[1].tolist() == [True, True, False, False, False]
    assert torch.equal(place, logits)
    softmax_in_place(place, labels, keep=True)
    near(place, right.exp())


def test_what_the_build_does_not_know_is_left_to_torch() -> None:
    heads = HEADS["grouped"]
    assert compiled_steps(torch.float32, heads, [64]) is None
    assert compiled_steps(torch.bfloat16, heads, [64, 72]) is None
    assert compiled_steps(torch.bfloat16, Heads(9, 3, 24, 1.0), [64]) is None
    assert softmax_in_place(torch.randn(2, 48), torch.tensor([1, 2]), keep=False) is None
    assert softmax_in_place(torch.randn(2, 47).bfloat16(), torch.tensor([1, 2]), keep=False) is None


@pytest.mark.parametrize("broken", ["garbage", "another interface"])
def test_a_broken_or_stale_build_is_passed_over(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(library.__file__).with_name(library.BUILD + EXTENSION_SUFFIXES[0])
    assert library._opened(path) is not None
    if broken == "garbage":
        (path := tmp_path / path.name).write_bytes(b"no library")
    else:
        monkeypatch.setattr(library, "INTERFACE", library.INTERFACE + 1)
    assert library._opened(path) is None
