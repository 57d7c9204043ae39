"""What chat clients ask for themselves is told from what people ask, by how their prompts really begin."""

from typing import Any

import pytest

from service.api.ui_tasks import NAMES, is_ui_task

CHAT = "### Chat History:\n<chat_history>\nUSER: How do I prune roses?\nASSISTANT: In March.\n</chat_history>"
OPEN_WEBUI = {
    "title": "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n",
    "tags": "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with 1-3 more "
    "specific subtopic tags.\n\n",
    "follow-ups": "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask "
    "next in this conversation as a **user**, based on the chat history.\n",
    "search": "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, in the "
    "given language.\n\n",
    "image": "### Task:\nGenerate a detailed prompt for am image generation task based on the given language and "
    "context.\n\n",
    "autocomplete": "### Task:\nYou are an autocompletion system. Continue the text in `<text>` based on the "
    "**completion type** in `<type>` and the given language.  \n\n### Context:\n",
}
WHOLE = {
    "Open WebUI's older title": "Create a concise, 3-5 word phrase as a header for the following query, strictly "
    "adhering to the 3-5 word limit and avoiding the use of the word 'title': How do I prune roses?",
    "Open WebUI's emoji": "Your task is to reflect the speaker's likely facial expression through a fitting emoji. "
    "Interpret emotions from the message.\n\nMessage: ```How do I prune roses?```",
    "Open WebUI's merged replies": "You have been provided with a set of responses from various models to the latest "
    'user query: "How do I prune roses?"\n\nYour task is to synthesize these responses',
    "LibreChat's title": "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. "
    "Only return the title itself.\n\nConversation:\nUser: How do I prune roses?\nAI: In March.",
    "LibreChat's title and language": "Analyze this conversation and provide:\n1. The detected language of the "
    "conversation\n2. A concise title in the detected language (5 words or less, no punctuation or quotation)\n\nUser:",
    "LibreChat's older title": "Please generate a concise, 5-word-or-less title for the conversation, using its same "
    'language, with no punctuation.\n\n||>User:\n"How do I prune roses?"',
}


def asked(content: str, system: str | None = None) -> list[dict[str, str]]:
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": content}]


@pytest.mark.parametrize("name", OPEN_WEBUI)
def test_open_webuis_tasks_are_told(name: str) -> None:
    assert is_ui_task(asked(OPEN_WEBUI[name] + CHAT), None)
    assert is_ui_task(asked(OPEN_WEBUI[name] + CHAT, "You help gardeners."), {})


@pytest.mark.parametrize("name", WHOLE)
def test_other_clients_tasks_are_told(name: str) -> None:
    assert is_ui_task(asked(WHOLE[name]), None)


def test_choosing_tools_is_told_by_its_system_message() -> None:
    rules = "Available Tools: []\n\nYour task is to choose and return the correct tool(s) from the list."
    assert is_ui_task(asked("Query: How do I prune roses?", rules), None)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_is_named_is_believed(name: str) -> None:
    assert is_ui_task(asked("How do I prune roses?"), {"task": name})


@pytest.mark.parametrize("task", [None, "", "gardening", "title", 7, ["title_generation"], {}])
def test_other_metadata_says_nothing(task: Any) -> None:
    assert not is_ui_task(asked("How do I prune roses?"), {"task": task, "conversation_id": "c1"})


@pytest.mark.parametrize(
    "question",
    [
        "How do I prune roses?",
        "",
        "Generate a concise, 3-5 word title for my novel.",
        "### Task:\nPrune the roses.",
        # Open WebUI wraps a question about documents like this; its answer is read by a person
        "### Task:\nRespond to the user query using the provided context, incorporating inline citations in the format "
        '[id].\n\n<context>\n<source id="1">USER: <chat_history></source>\n</context>\n\nHow do I prune roses?',
    ],
)
def test_what_people_ask_is_no_task(question: str) -> None:
    assert not is_ui_task(asked(question), None)


def test_a_chat_that_quotes_a_task_is_none() -> None:
    quoted = OPEN_WEBUI["title"] + CHAT
    history = [*asked(quoted), {"role": "assistant", "content": "Roses."}, {"role": "user", "content": "And tulips?"}]
    assert not is_ui_task(history, None)
    assert not is_ui_task(asked(f"What does this prompt do?\n{quoted}"), None)
