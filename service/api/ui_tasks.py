"""What a chat client asks for itself: titles, tags, follow-up questions, search queries, half-typed words.

Nobody wrote these requests and nobody reads the replies as such, so they must never become data. They are told by how
Open WebUI's and LibreChat's prompts for them begin, or by the name that Open WebUI gives them in `metadata.task`.
Leaves out prompts that an administrator there wrote anew: those have to send `"store": false`.
"""

from collections.abc import Sequence
from typing import Any

from service.engines.base import ChatMessage

NAMES = (
    "title_generation",
    "tags_generation",
    "follow_up_generation",
    "query_generation",
    "image_prompt_generation",
    "autocomplete_generation",
    "emoji_generation",
    "moa_response_generation",
    "function_calling",
)
"""Open WebUI's words for them."""

OPENINGS = (
    # Open WebUI
    "Create a concise, 3-5 word phrase as a header for the following query",
    "Create a concise, 3-5 word title with an emoji",
    "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
    "You have been provided with a set of responses from various models to the latest user query",
    # LibreChat
    "Provide a concise, 5-word-or-less title for the conversation",
    "Analyze this conversation and provide:\n1. The detected language of the conversation",
    "Please generate a concise, 5-word-or-less title for the conversation",
    "Please generate a concise title (max 40 characters) for a conversation that starts with",
)
_TASK, _HISTORY, _DOCUMENTS = "### Task:", "<chat_history>", "<context>"
_TOOLS = ("Available Tools: ", "Your task is to choose and return the correct tool(s)")


def is_ui_task(messages: Sequence[ChatMessage], metadata: dict[str, Any] | None) -> bool:
    """Whether a request is a client's own.

    >>> is_ui_task([{"role": "user", "content": "### Task:\\nSuggest a title.\\n<chat_history>\\n…"}], None)
    True
    >>> is_ui_task([{"role": "user", "content": "Suggest a title for my book."}], {"task": "title_generation"})
    True
    """
    if metadata is not None and metadata.get("task") in NAMES:
        return True
    said = [message["content"].lstrip() for message in messages if message["role"] != "system"]
    if len(said) != 1:  # these prompts carry the chat inside them
        return False
    rules = [message["content"] for message in messages if message["role"] == "system"]
    return _asks_like_one(said[0]) or any(_TOOLS[0] in rule and _TOOLS[1] in rule for rule in rules)


def _asks_like_one(text: str) -> bool:
    if not text.startswith(_TASK):
        return text.startswith(OPENINGS)
    # Open WebUI's questions about documents begin likewise, and those are people's own
    history, documents = text.find(_HISTORY), text.find(_DOCUMENTS)
    return history >= 0 and not 0 <= documents < history
