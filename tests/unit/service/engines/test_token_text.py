"""Tokens' own bytes, on the bundled model's tokenizer and on one that spells bytes as Llama's does."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, CanineTokenizer, PreTrainedTokenizerFast

from feedback.config import BUNDLED_MODEL
from service.engines.base import TokenLogprob
from service.engines.local.sampling import Picked
from service.engines.local.token_text import TokenText

TEXTS = ["The quick  brown fox.\n\n", " 你好，世界", "😀🎉👩‍👩‍👧", "naïve café — \t tab", '{"a": [1, null]}']


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Words with ▁ for the space, and a token for each byte that has none."""
    pieces = ["<unk>", "<end>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁Hello", "b", "▁b"]
    raw = Tokenizer(models.BPE(vocab={piece: id for id, piece in enumerate(pieces)}, merges=[], byte_fallback=True))
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", unk_token="<unk>")


@pytest.mark.model
def test_the_bytes_of_tokens_make_up_the_text(models_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models_folder / BUNDLED_MODEL)
    text = TokenText(tokenizer)
    for original in TEXTS:
        tokens = tokenizer.encode(original, add_special_tokens=False)
        assert b"".join(text.token_bytes(token) for token in tokens) == original.encode()
        assert text.decode(tokens) == tokenizer.decode(tokens, skip_special_tokens=True) == original
    assert any(text.token_bytes(token) == b"\xe4\xbd" for token in tokenizer.encode("你"))
    assert text.decode([tokenizer.eos_token_id]) == ""
    assert text.token_bytes(tokenizer.eos_token_id) == tokenizer.eos_token.encode()


def test_a_leading_space_belongs_to_its_token_even_where_the_text_drops_it() -> None:
    tokenizer = llama_tokenizer()
    text = TokenText(tokenizer)
    hello, word = (int(tokenizer.convert_tokens_to_ids(piece)) for piece in ("▁Hello", "▁b"))
    assert text.decode([hello, word]) == "Hello b"
    assert [text.token_bytes(token) for token in (hello, word)] == [b" Hello", b" b"]
    assert [text.token_bytes(2 + byte) for byte in "你".encode()] == [b"\xe4", b"\xbd", b"\xa0"]


def test_a_slow_tokenizer_decodes_too() -> None:
    text = TokenText(CanineTokenizer())
    assert text.decode([ord(letter) for letter in "hello"]) == "hello"
    assert text.token_bytes(ord("你")) == "你".encode()


def test_a_pick_is_described_only_if_somebody_asked() -> None:
    text = TokenText(CanineTokenizer())
    assert text.describe(Picked(97)) is None
    described = text.describe(Picked(97, -0.5, ((97, -0.5), (0x4F60, -2.0))))
    top = (TokenLogprob("a", -0.5, (97,)), TokenLogprob("你", -2.0, (0xE4, 0xBD, 0xA0)))
    assert described == TokenLogprob("a", -0.5, (97,), top)
