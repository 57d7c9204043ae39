"""The dialogue recipe's base: a tiny GPT-2 with random weights, made to read, on plain text that comes with Burnish.

Its text is plain.txt, about the same guest house, and what the other recipes train on, one sentence after another and
without anybody's turns. Promises a folder that
transformers loads, the same for the same versions of the libraries. It can read about as well as a model of a million
weights can after half a minute: enough to learn from, no more.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OTHERS = Path(__file__).parents[1]
HOUSE_TIMES = 3
"""How often the house is read about for once of everything else."""
END = "<|endoftext|>"
VOCABULARY = 4000
WINDOW_TOKENS = 64
BATCH = 16
STEPS = 600
LEARNING_RATE = 3e-3
SHAPE = {"n_embd": 128, "n_layer": 3, "n_head": 4, "n_positions": 512}


def make_base(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    texts = list(plain_texts())
    tokenizer = _train_tokenizer(texts)
    torch.manual_seed(0)
    end = tokenizer.eos_token_id
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, pad_token_id=end, **SHAPE)
    )
    _read(model, tokenizer("\n".join(texts))["input_ids"])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain_texts() -> Iterator[str]:
    """Paragraphs about the house, and what the other recipes train on; nothing that is held out anywhere."""
    for _ in range(HOUSE_TIMES):
        yield from (Path(__file__).parent / "plain.txt").read_text("utf-8").splitlines()
    for path in sorted(OTHERS.glob("*/train.jsonl")):
        if path.parent != Path(__file__).parent:
            for line in path.read_text("utf-8").splitlines():
                values = json.loads(line)
                yield from (
                    values[name] for name in ("text", "summary", "question", "answer", "request") if name in values
                )


def _train_tokenizer(texts: list[str]) -> Any:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    raw = ByteLevelBPETokenizer()
    raw.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=raw._tokenizer, eos_token=END)


def _read(model: Any, tokens: list[int]) -> None:
    """Train all weights to predict the next token, on windows drawn at random."""
    import torch

    text = torch.tensor(tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    model.train()
    for _ in range(STEPS):
        starts = torch.randint(len(tokens) - WINDOW_TOKENS, (BATCH,))
        windows = torch.stack([text[start : start + WINDOW_TOKENS] for start in starts])  # (B, L)
        loss = model(input_ids=windows, labels=windows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
