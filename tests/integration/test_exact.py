"""Replies of the engine in float32 are transformers' own, token for token: a small part of `burnish bench exact`."""

from pathlib import Path

import pytest
from bench.exact import TOLERANCE_NATS, compare

pytestmark = pytest.mark.model


def test_replies_are_the_references_alone_and_in_mixed_batches(models_folder: Path) -> None:
    result = compare(models_folder, prompts=12, max_tokens=24, every_version=False)
    assert result["mismatches"] == []
    assert sum(row["replies"] for row in result["rows"]) == 24
    assert sum(row["tokens"] for row in result["rows"]) > 12 * 24
    assert 0 < result["largest_logprob_difference_nats"] <= TOLERANCE_NATS
