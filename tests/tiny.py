"""A Llama of two layers with random weights and a word tokenizer: trains and serves in seconds."""

from pathlib import Path

WORDS = ["the", "amber", "brass", "cobalt", "delta", "ember", "flint", "garnet", "hazel", "indigo", "jade"]
OTHER_WORDS = ["is", "in", "of", "it", "what", "where", "key", "door", "box"]


def make_tiny_base(folder: Path, *, seed: int = 0, by_letter: bool = False) -> Path:
    """Write the model and its tokenizer, which has no chat template of its own, into `folder`.

    `by_letter`: its tokens are letters instead of words.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    special = ["<pad>", "<end>", "<unk>"]
    rest = [*WORDS, *OTHER_WORDS, "User", "Assistant", "System", ":", ".", "?", *map(str, range(40))]
    if by_letter:
        rest = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:.?"]
    vocabulary = {token: index for index, token in enumerate([*special, *rest])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated") if by_letter else pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
