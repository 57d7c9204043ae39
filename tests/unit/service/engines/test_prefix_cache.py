"""The prefix cache gives back what was computed for exactly these tokens, and stays within its limit."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engines.local.decoder import BLOCK_TOKENS
from service.engines.local.prefix_cache import PrefixCache
from service.engines.local.slot_cache import CacheSlot, SlotCache

BLOCK_BYTES = 2 * BLOCK_TOKENS * 4
"""One layer's keys and values, one head of one float32."""


def states_of(version: str, tokens: list[int]) -> torch.Tensor:
    """What a model would compute: a number for each position that depends on all tokens up to it (2, 1, 1, T)."""
    numbers = [float(hash((version, *tokens[: end + 1])) % 1_000_003) for end in range(len(tokens))]
    return torch.tensor([numbers, numbers]).view(2, 1, 1, -1)


def filled(version: str, tokens: list[int]) -> CacheSlot:
    slot = SlotCache(1).slots[0]
    slot.write(0, states_of(version, tokens))
    return slot


def restored(cache: PrefixCache, version: str, tokens: list[int], key: str = "") -> int:
    """How many tokens were known; what came back must be theirs."""
    slot = SlotCache(1).slots[0]
    count = cache.restore((version, key), tokens, slot)
    assert count < len(tokens) or not tokens
    if count:
        assert torch.equal(slot.read(0, count), states_of(version, tokens)[..., :count])
    return count


def prompt(*blocks: int, rest: int = 1) -> list[int]:
    """Whole blocks of one token each, and a few tokens more."""
    return [token for token in blocks for _ in range(BLOCK_TOKENS)] + [99] * rest


def test_shares_beginnings_and_nothing_else() -> None:
    cache = PrefixCache(1 << 20)
    cache.keep(("a", ""), prompt(1, 2, 3), filled("a", prompt(1, 2, 3)))
    assert restored(cache, "a", prompt(1, 2, 3)) == 3 * BLOCK_TOKENS
    assert restored(cache, "a", prompt(1, 2, 3, 4)) == 3 * BLOCK_TOKENS
    assert restored(cache, "a", prompt(1, 2, 5)) == 2 * BLOCK_TOKENS
    assert restored(cache, "a", prompt(2, 3)) == 0
    assert restored(cache, "b", prompt(1, 2, 3)) == 0
    assert restored(cache, "a", prompt(1, 2, 3), key="another") == 0


def test_the_last_token_is_always_read() -> None:
    cache = PrefixCache(1 << 20)
    tokens = prompt(1, 2, rest=0)
    cache.keep(("a", ""), tokens, filled("a", tokens))
    assert restored(cache, "a", tokens) == 2 * BLOCK_TOKENS - 1


def test_shares_a_block_in_part() -> None:
    cache = PrefixCache(1 << 20)
    for tokens in ([*range(40)], [*range(25), *range(60, 75)], [*range(20), *range(80, 100)]):
        cache.keep(("a", ""), tokens, filled("a", tokens))
    assert restored(cache, "a", [*range(28), 7, 7, 7, 7, 7]) == 28
    assert restored(cache, "a", [*range(25), 60, 61, 7]) == 27
    assert restored(cache, "a", [*range(5), 7, 7]) == 5
    assert restored(cache, "a", [7, *range(20)]) == 0


def test_a_forgotten_version_leaves_nothing() -> None:
    cache = PrefixCache(4 * BLOCK_BYTES)
    for version in ("a", "b"):
        cache.keep((version, ""), prompt(1, 2), filled(version, prompt(1, 2)))
    cache.forget("a")
    assert restored(cache, "a", prompt(1, 2)) == 0
    assert restored(cache, "b", prompt(1, 2)) == 2 * BLOCK_TOKENS
    cache.keep(("b", ""), prompt(3, 4), filled("b", prompt(3, 4)))  # into what a left
    assert restored(cache, "b", prompt(1, 2)) == 2 * BLOCK_TOKENS


def test_the_longest_unused_goes_first() -> None:
    cache = PrefixCache(4 * BLOCK_BYTES)
    cache.keep(("a", ""), prompt(1, 2), filled("a", prompt(1, 2)))
    cache.keep(("a", ""), prompt(3, 4), filled("a", prompt(3, 4)))
    restored(cache, "a", prompt(1, 2))
    cache.keep(("a", ""), prompt(5), filled("a", prompt(5)))
    assert restored(cache, "a", prompt(1, 2)) == 2 * BLOCK_TOKENS
    assert restored(cache, "a", prompt(3, 4)) == BLOCK_TOKENS  # its end went, its beginning stayed


texts = st.lists(st.integers(0, 1), max_size=4).map(lambda blocks: prompt(*blocks))
actions = st.tuples(st.sampled_from(["keep", "restore", "forget"]), st.sampled_from(["a", "b"]), texts)


@settings(max_examples=150, deadline=None)
@given(st.lists(actions, max_size=40), st.integers(0, 8))
def test_whatever_happens_what_comes_back_is_right_and_small(done: list[tuple[str, str, list[int]]], room: int) -> None:
    cache = PrefixCache(room * BLOCK_BYTES)
    for action, version, tokens in done:
        if action == "keep":
            cache.keep((version, ""), tokens, filled(version, tokens))
        elif action == "restore":
            assert cache.match((version, ""), tokens) == restored(cache, version, tokens)
        else:
            cache.forget(version)
        assert cache.kept_bytes <= room * BLOCK_BYTES
