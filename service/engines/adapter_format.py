"""What the folder of an adapter version may contain, checked before anything loads it.

Promises: a folder that `read_adapter` accepts is a plain LoRA in PEFT's format whose config reaches no import and
no download, and whose tensors lie inside their file, have floating types and come in A/B pairs of one rank.
Every refusal is an `AdapterRefused` that names the file and the remedy.

Leaves out what only the base model can tell: whether the modules exist, the shapes fit, the numbers are finite
and the adapter changes anything. The engine checks that when it loads one. No torch here: the registry and the
trainer's control machine check adapters too.
"""

import json
import math
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from feedback.errors import AdapterRefused
from feedback.files import MANIFEST, folder_sha256

CONFIG_FILE = "adapter_config.json"
TENSOR_FILE = "adapter_model.safetensors"
ADAPTER_FILES = (CONFIG_FILE, TENSOR_FILE)
"""What an adapter is; its content hash covers exactly these."""

ALLOWED_FILES = frozenset({*ADAPTER_FILES, "README.md", MANIFEST})

MAX_CONFIG_BYTES = 1 << 20
MAX_HEADER_BYTES = 4 << 20
MAX_RANK = 512
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}

_MODULE = re.compile(r"\w+(?:\.\w+)*", re.ASCII)
_TENSOR = re.compile(r"base_model\.model\.(?P<module>\w+(?:\.\w+)*)\.lora_(?P<half>[AB])\.weight", re.ASCII)


@dataclass(frozen=True)
class TensorFormat:
    dtype: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class AdapterFormat:
    """An adapter as its files describe it. `modules` maps a module's name in the base to its (A, B)."""

    r: int
    lora_alpha: float
    use_rslora: bool
    target_modules: tuple[str, ...]
    tensors: dict[str, TensorFormat]
    sha256: str

    @property
    def scaling(self) -> float:
        """What B·A is multiplied by: lora_alpha/r, or lora_alpha/√r with rank-stabilized scaling."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def modules(self) -> dict[str, tuple[TensorFormat, TensorFormat]]:
        return {
            match["module"]: (self.tensors[name], self.tensors[tensor_name(match["module"], "B")])
            for name in self.tensors
            if (match := _TENSOR.fullmatch(name)) and match["half"] == "A"
        }


def tensor_name(module: str, half: str) -> str:
    """PEFT's name of one half of a module's LoRA.

    >>> tensor_name("model.layers.0.mlp.up_proj", "A")
    'base_model.model.model.layers.0.mlp.up_proj.lora_A.weight'
    """
    return f"base_model.model.{module}.lora_{half}.weight"


def adapter_sha256(folder: Path) -> str:
    """The content hash that names a version: sha256 over its two files."""
    _check_files(folder)
    return folder_sha256(folder, ADAPTER_FILES)


def read_adapter(folder: Path, expected_sha256: str | None = None) -> AdapterFormat:
    """Check an adapter's folder and say what is in it. Raises AdapterRefused."""
    _check_files(folder)
    sha256 = folder_sha256(folder, ADAPTER_FILES)
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise AdapterRefused(
            f"{folder}: its content hash is {sha256}, not {expected_sha256}. The files changed after the version "
            "was named, or it is named wrongly: a version's name is adapter_sha256(folder); restore the files "
            "or register them as a new version."
        )
    config = _read_config(folder / CONFIG_FILE)
    r = config["r"]
    return AdapterFormat(
        r=r,
        lora_alpha=float(config["lora_alpha"]),
        use_rslora=bool(config.get("use_rslora")),
        target_modules=tuple(sorted(config["target_modules"])),
        tensors=_read_tensors(folder / TENSOR_FILE, r),
        sha256=sha256,
    )


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise AdapterRefused(f"{folder}: no such folder. Give the folder that holds {' and '.join(ADAPTER_FILES)}.")
    names = set(os.listdir(folder))
    for name in ADAPTER_FILES:
        if name not in names:
            raise AdapterRefused(
                f"{folder / name}: missing. Save the adapter with PEFT's save_pretrained(safe_serialization=True)."
            )
    for name in sorted(names):
        if name not in ALLOWED_FILES:
            raise AdapterRefused(
                f"{folder / name}: not part of an adapter. Remove it; allowed: {', '.join(sorted(ALLOWED_FILES))}."
            )
        if not stat.S_ISREG((folder / name).lstat().st_mode):
            raise AdapterRefused(f"{folder / name}: not a regular file. Replace links and folders by plain files.")


def _read_config(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise AdapterRefused(f"{path}: larger than {MAX_CONFIG_BYTES} bytes. Save the adapter with PEFT again.")
    try:
        config = _parse_json(path.read_bytes())
    except ValueError as error:
        raise AdapterRefused(f"{path}: not readable JSON ({error}). Save the adapter with PEFT again.") from None
    if not isinstance(config, dict):
        raise AdapterRefused(f"{path}: must hold a JSON object. Save the adapter with PEFT again.")
    for key in ("peft_type", "r", "lora_alpha", "target_modules"):
        if key not in config:
            raise AdapterRefused(f"{path}: `{key}` is missing. Save the adapter with PEFT again.")
    for key, value in config.items():
        if (complaint := _complaint(key, value)) is not None:
            raise AdapterRefused(f"{path}: `{key}` {complaint}")
    return config


def _complaint(key: str, value: Any) -> str | None:
    """Why this key may not have this value, with the remedy; None when it may. Unknown keys must be off."""
    match key:
        case "peft_type":
            return None if value == "LORA" else "must be LORA. Train a LoRA adapter."
        case "task_type":
            return None if value in (None, "CAUSAL_LM") else 'must be "CAUSAL_LM".'
        case "r":
            fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_RANK
            return None if fits else f"must be a whole number from 1 to {MAX_RANK}."
        case "lora_alpha":
            return None if _is_number(value) and 0 < value <= 1e5 else "must be a number above 0 and at most 100000."
        case "lora_dropout":
            return None if _is_number(value) and 0 <= value < 1 else "must be a number from 0 to below 1."
        case "target_modules":
            return None if value and _are_modules(value) else "must list modules by name, not by a pattern."
        case "exclude_modules" | "layers_pattern":
            return None if value is None or _are_modules(value) else "must be null or list names, not a pattern."
        case "layers_to_transform":
            fits = value is None or isinstance(value, int) or _are_integers(value)
            return None if fits else "must be null or list layers by number."
        case "bias":
            return None if value == "none" else 'must be "none": biases are not served. Train with bias="none".'
        case "use_dora":
            return None if value is False else "must be false: DoRA is not served. Train with use_dora=False."
        case "init_lora_weights":
            fits = value in (True, False, "gaussian")
            return None if fits else "must be true, false or gaussian: other ways change the base model's weights."
        case "megatron_core":  # PEFT writes its default; it is imported only if megatron_config is set
            return None if value in (None, "megatron.core") else "must be null: it names a module to import."
        case "fan_in_fan_out" | "inference_mode" | "use_rslora" | "ensure_weight_tying":
            return None if isinstance(value, bool) else "must be true or false."
        case "base_model_name_or_path" | "revision" | "peft_version":
            return None if value is None or isinstance(value, str) else "must be null or text."
        case "qalora_group_size":
            return None if isinstance(value, int) else "must be a whole number."
        case _:
            inert = value is None or value is False or value == {} or value == []
            return None if inert else "is not allowed here. Train a plain LoRA without it, or set it to null."


def _read_tensors(path: Path, r: int) -> dict[str, TensorFormat]:
    size = path.stat().st_size
    with path.open("rb") as file:
        header, data_bytes = _read_header(path, file, size)
    tensors: dict[str, TensorFormat] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        tensors[name], span = _read_entry(path, name, entry, r)
        spans.append(span)
    if not tensors:
        raise AdapterRefused(f"{path}: holds no tensors. Save a trained adapter with PEFT.")
    for name in tensors:
        other = name.replace(".lora_A.", ".lora_B.") if ".lora_A." in name else name.replace(".lora_B.", ".lora_A.")
        if other not in tensors:
            raise AdapterRefused(f"{path}: {name} lacks its other half. Save the adapter with PEFT again.")
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise AdapterRefused(f"{path}: tensors overlap or leave gaps. Save the adapter with PEFT again.")
        end = stop
    if end != data_bytes:
        raise AdapterRefused(
            f"{path}: tensors take {end} bytes, the file holds {data_bytes}: cut short or padded. Copy it again."
        )
    return tensors


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """A safetensors file is 8 bytes of header length (little endian), a JSON header, the tensors' bytes."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        raise AdapterRefused(f"{path}: its header length is impossible: not safetensors, or cut short. Copy it again.")
    try:
        header = _parse_json(file.read(length))
    except ValueError as error:
        raise AdapterRefused(f"{path}: its header is broken ({error}). Save the adapter with PEFT again.") from None
    if not isinstance(header, dict):
        raise AdapterRefused(f"{path}: its header is not an object. Save the adapter with PEFT again.")
    header.pop("__metadata__", None)
    return header, size - 8 - length


def _read_entry(path: Path, name: str, entry: Any, r: int) -> tuple[TensorFormat, tuple[int, int]]:
    match = _TENSOR.fullmatch(name)
    if match is None:
        raise AdapterRefused(
            f"{path}: {name!r} is no LoRA weight. Only base_model.model.<module>.lora_A/lora_B.weight are served: "
            "train without modules_to_save, lora_bias and embedding targets."
        )
    if not isinstance(entry, dict) or entry.get("dtype") not in list(DTYPE_BYTES):
        raise AdapterRefused(f"{path}: {name} must have one of the types {', '.join(DTYPE_BYTES)}. Save it as float.")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not (_are_integers(shape) and _are_integers(offsets) and len(shape) == len(offsets) == 2 and min(shape) > 0):
        raise AdapterRefused(f"{path}: {name} must be a matrix with two offsets. Save the adapter with PEFT again.")
    if offsets[0] < 0 or offsets[1] - offsets[0] != shape[0] * shape[1] * DTYPE_BYTES[entry["dtype"]]:
        raise AdapterRefused(f"{path}: {name} has offsets that don't fit its shape. Save the adapter with PEFT again.")
    rank = shape[0] if match["half"] == "A" else shape[1]  # A is (r, in), B is (out, r)
    if rank != r:
        raise AdapterRefused(f"{path}: {name} has rank {rank}, {CONFIG_FILE} says r = {r}. Train with one rank.")
    return TensorFormat(entry["dtype"], (shape[0], shape[1])), (offsets[0], offsets[1])


def _parse_json(data: bytes) -> Any:
    """Strict JSON: a key given twice could mean one thing here and another to the library that loads the file."""

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key is given twice")
        return result

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=no_duplicates)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)  # a whole number may be too big for isfinite


def _are_integers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)


def _are_modules(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and _MODULE.fullmatch(item) for item in value)
