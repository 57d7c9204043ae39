"""Training files in OpenAI's format, in the tiny model's words; ways to bring them in, and to be refused."""

import json
from collections.abc import Iterable
from typing import Any

import openai
import pytest
from tiny import WORDS


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def taught(number: int, asked: str = "where is the {} {} key {} ?") -> dict[str, Any]:
    """A key's place; under a hundred no two questions are nearly the same."""
    word, other = WORDS[1 + number % 10], WORDS[1 + number // 10 % 10]
    return {
        "messages": [
            said("user", asked.format(word, other, number)),
            said("assistant", f"the {word} key is in box {number % 10} ."),
        ]
    }


def preferred(number: int) -> dict[str, Any]:
    return {
        "input": {"messages": taught(number)["messages"][:1]},
        "preferred_output": [said("assistant", f"it is in box {number % 10} .")],
        "non_preferred_output": [said("assistant", "what ?")],
    }


def jsonl(lines: Iterable[Any]) -> bytes:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines).encode()


CONTENT = jsonl(map(taught, range(12)))


def upload(client: openai.OpenAI, name: str = "keys.jsonl", content: Any = CONTENT) -> Any:
    return client.files.create(file=(name, content), purpose="fine-tune")


def refused(status: int, deed: Any, *words: str) -> dict[str, Any]:
    with pytest.raises(openai.APIStatusError) as refusal:
        deed()
    assert refusal.value.status_code == status
    body = refusal.value.body
    assert isinstance(body, dict)
    assert all(word in body["message"] for word in words), body["message"]
    return body
