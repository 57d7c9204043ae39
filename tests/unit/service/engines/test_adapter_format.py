"""What `read_adapter` accepts and refuses; files are made by hand, as an attacker would."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.errors import AdapterRefused
from service.engines.adapter_format import adapter_sha256, read_adapter, tensor_name

MODULE = "model.layers.0.self_attn.q_proj"


def config(**changes: Any) -> dict[str, Any]:
    """PEFT's own file, shortened."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "lora_alpha": 4,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "bias": "none",
        "use_dora": False,
        "use_rslora": False,
        "auto_mapping": None,
        "megatron_core": "megatron.core",
        "megatron_config": None,
        "modules_to_save": None,
        "rank_pattern": {},
        "loftq_config": {},
        **changes,
    }


def entry(shape: list[int], start: int, dtype: str = "F32") -> dict[str, Any]:
    size = {"F32": 4, "F16": 2, "BF16": 2}.get(dtype, 4)
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + shape[0] * shape[1] * size]}


HEADER = {tensor_name(MODULE, "A"): entry([2, 4], 0), tensor_name(MODULE, "B"): entry([6, 2], 32)}
DATA = bytes(80)


def safetensors(header: Any, data: bytes = DATA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write(folder: Path, settings_: Any = None, tensors: bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    text = settings_ if isinstance(settings_, str) else json.dumps(settings_ or config())
    (folder / "adapter_config.json").write_text(text)
    (folder / "adapter_model.safetensors").write_bytes(safetensors(HEADER) if tensors is None else tensors)
    return folder


def test_describes_a_plain_adapter(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    (folder / "README.md").write_text("by PEFT")
    adapter = read_adapter(folder, adapter_sha256(folder))
    assert (adapter.r, adapter.lora_alpha, adapter.scaling) == (2, 4, 2)
    assert adapter.target_modules == ("q_proj",)
    a, b = adapter.modules[MODULE]
    assert (a.shape, b.shape, a.dtype) == ((2, 4), (6, 2), "F32")


def test_rank_stabilized_scaling_divides_by_the_root(tmp_path: Path) -> None:
    header = {tensor_name(MODULE, "A"): entry([4, 4], 0), tensor_name(MODULE, "B"): entry([6, 4], 64)}
    folder = write(tmp_path / "a", config(r=4, lora_alpha=6, use_rslora=True), safetensors(header, bytes(160)))
    assert read_adapter(folder).scaling == 3


def test_the_hash_covers_the_two_files_and_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    before = adapter_sha256(folder)
    (folder / "README.md").write_text("text")
    assert adapter_sha256(folder) == before
    write(folder, config(lora_alpha=8))
    assert adapter_sha256(folder) != before
    with pytest.raises(AdapterRefused, match="content hash"):
        read_adapter(folder, before)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("megatron_core", "os"),
        ("megatron_config", {"a": 1}),
        ("auto_mapping", {"base_model_class": "system", "parent_library": "os"}),
        ("peft_type", "IA3"),
        ("task_type", "SEQ_CLS"),
        ("use_dora", True),
        ("bias", "all"),
        ("lora_bias", True),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 8}),
        ("alpha_pattern", {"q_proj": 8}),
        ("layer_replication", [[0, 4]]),
        ("target_modules", "(a+)+$"),
        ("target_modules", ["(a+)+$"]),
        ("target_modules", []),
        ("exclude_modules", ".*"),
        ("init_lora_weights", "pissa"),
        ("r", 0),
        ("r", True),
        ("r", 10**9),
        ("r", "2"),
        ("lora_alpha", float("nan")),
        ("lora_alpha", 10**400),
        ("lora_alpha", -1),
        ("lora_dropout", 2),
        ("brand_new_key", "anything"),
    ],
)
def test_refuses_configs_that_reach_further_than_lora(tmp_path: Path, key: str, value: Any) -> None:
    folder = write(tmp_path / "a", config(**{key: value}))
    with pytest.raises(AdapterRefused, match=key) as refused:
        read_adapter(folder)
    assert "adapter_config.json" in refused.value.message


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"r": 1', "[" * 100_000, '{"r": 2, "r": 3}', "\udcff"])
def test_refuses_broken_configs(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "a")
    (folder / "adapter_config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AdapterRefused, match=r"adapter_config\.json"):
        read_adapter(folder)


@pytest.mark.parametrize("key", ["peft_type", "r", "lora_alpha", "target_modules"])
def test_refuses_configs_that_lack_a_key(tmp_path: Path, key: str) -> None:
    shortened = config()
    del shortened[key]
    with pytest.raises(AdapterRefused, match=key):
        read_adapter(write(tmp_path / "a", shortened))


A, B = tensor_name(MODULE, "A"), tensor_name(MODULE, "B")


@pytest.mark.parametrize(
    "tensors",
    [
        b"",
        b"1234567",
        (2**63).to_bytes(8, "little") + DATA,
        (1000).to_bytes(8, "little") + b"{}",
        safetensors(b"not json"),
        safetensors(b"[]"),
        safetensors({}, b""),
        safetensors(HEADER, DATA[:-1]),
        safetensors(HEADER, DATA + b"x"),
        safetensors({A: HEADER[A]}, DATA[:32]),
        safetensors({**HEADER, B: {**HEADER[B], "dtype": []}}, DATA),
        safetensors({**HEADER, "base_model.model.lm_head.weight": entry([1, 1], 80)}, bytes(84)),
        safetensors({A: entry([2, 4], 0), B: entry([6, 2], 0)}),
        safetensors({A: entry([2, 4], 0), B: entry([6, 2], 36)}, bytes(84)),
        safetensors({A: entry([3, 4], 0), B: entry([6, 2], 48)}, bytes(96)),
        safetensors({A: entry([4, 2], 0), B: entry([2, 6], 32)}),
        safetensors({A: entry([2, 4], 0, "I32"), B: entry([6, 2], 32)}),
        safetensors({A: {**HEADER[A], "shape": [8]}, B: HEADER[B]}),
        safetensors({A: {**HEADER[A], "shape": [-2, -4]}, B: HEADER[B]}),
        safetensors({A: {**HEADER[A], "data_offsets": [-32, 0]}, B: HEADER[B]}),
        safetensors({A: {**HEADER[A], "data_offsets": ["0", "32"]}, B: HEADER[B]}),
        safetensors({A: None, B: HEADER[B]}),
        safetensors(f'{{"{A}": {json.dumps(HEADER[A])}, "{A}": {json.dumps(HEADER[A])}}}'.encode()),
    ],
)
def test_refuses_tensors_that_are_unsafe_or_do_not_fit(tmp_path: Path, tensors: bytes) -> None:
    with pytest.raises(AdapterRefused, match=r"adapter_model\.safetensors"):
        read_adapter(write(tmp_path / "a", tensors=tensors))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=3))
def test_damage_is_refused_or_harmless_never_another_error(
    tmp_path: Path, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(safetensors(HEADER))
    for place, mask in flips:
        data[place % len(data)] ^= mask
    folder = write(tmp_path / "a", tensors=bytes(data[: len(data) - cut]))
    try:
        adapter = read_adapter(folder)
    except AdapterRefused:
        return
    assert sum(4 * t.shape[0] * t.shape[1] for t in adapter.tensors.values() if t.dtype == "F32") <= len(DATA)


def test_refuses_missing_extra_and_linked_files(tmp_path: Path) -> None:
    with pytest.raises(AdapterRefused, match="no such folder"):
        read_adapter(tmp_path / "nowhere")
    folder = write(tmp_path / "a")
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(AdapterRefused, match=r"adapter_model\.bin"):
        read_adapter(folder)
    (folder / "adapter_model.bin").unlink()
    (folder / "adapter_config.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(AdapterRefused, match=r"adapter_config\.json: missing"):
        read_adapter(folder)
    (folder / "adapter_config.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(AdapterRefused, match="not a regular file"):
        read_adapter(folder)
