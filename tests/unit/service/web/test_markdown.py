"""Markdown that somebody made to keep us busy is shown all the same, and soon; what it looks like: tests/e2e."""

import time

import pytest

from service.web.markdown import LONGEST, render


def test_code_is_coloured_and_tables_are_tables() -> None:
    assert 'class="tok-' in render("```python\nprint(1)\n```")
    assert "<td>1</td>" in render("|a|b|\n|-|-|\n|1|2|")


@pytest.mark.parametrize(
    "text",
    [
        "```autoit\n" + " " * 4000 + "\n```",
        "```autohotkey\n" + "\n \t" * 1300 + "\n```",
        "```c\n" + "\n \t" * 3000 + "\n```",
        "```csharp\n" + "a\n" * 4000 + "```",
        "```java\n" + "\n".join(["a " * 150] * 30) + "\n```",
        "|".join("a" * 1600) + "\n" + "|".join("-" * 1600) + "\n" + "a\n" * 1600,
        ("|".join("a" * 50) + "\n" + "|".join("-" * 50) + "\n" + "a\n" * 50 + "\n") * 100,
        "|" * LONGEST + "\n|-|\n",
    ],
)
def test_what_is_made_to_take_long_does_not(text: str) -> None:
    began = time.monotonic()
    assert render(text).startswith("<")
    assert time.monotonic() - began < 2
