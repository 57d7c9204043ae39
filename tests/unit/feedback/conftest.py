"""A deployment on SQLite alone, for what doesn't depend on the kind of database; `house` runs on both."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from feedback.testing import House, open_house

hypothesis.settings.register_profile("noisy machines", deadline=None)
hypothesis.settings.load_profile("noisy machines")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    """A deployment on SQLite alone, for what doesn't depend on the kind of database."""
    with open_house(tmp_path) as house:
        yield house
