"""The documentation's table is the generated one."""

import re
from pathlib import Path

from feedback.hyperparameters import hyperparameters_table

DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"


def test_the_table_is_the_generated_one() -> None:
    table = re.search(r"<!-- hyperparameters -->\n(.*?)\n<!-- hyperparameters end -->", DOCUMENT.read_text(), re.DOTALL)
    assert table is not None
    assert table.group(1) == hyperparameters_table(), "run `burnish doctor --hyperparameters` and paste its output"
