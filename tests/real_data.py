"""Data that others wrote: the project doesn't ship it, and what needs it skips where it is missing."""

import os
from pathlib import Path

import pytest


def real_data(name: str) -> Path:
    """A file in the folder that BURNISH_TEST_DATA names, else in `shared/data` beside the checkout; maybe missing."""
    beside_the_checkout = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("BURNISH_TEST_DATA", beside_the_checkout), name)


def real_data_or_skip(name: str) -> Path:
    path = real_data(name)
    if not path.exists():
        pytest.skip(f"BURNISH_TEST_DATA names no folder with {name}")
    return path
