"""People's choices out of a file in hh-rlhf's format, on sides that share no question.

Promises: the importer's reading (feedback/interchange); prompts and replies as the tokens that serving makes of them;
conversations in groups, of which none is on two sides: those that begin with the same or nearly the same words, or end
in nearly the same question, by the likeness and the threshold of the curation. Leaves out training and scoring.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from bench.figures import Row as Figures

from feedback.curate.items import Turns
from feedback.curate.looks import question_key
from feedback.curate.similarity import Questions, leaders, signatures
from feedback.errors import InvalidInput
from feedback.interchange.formats import detect
from feedback.interchange.records import Record, other_reply
from feedback.policies import TrainingPolicy
from feedback.run_folder import Row, Turn

NEAR = TrainingPolicy().near_duplicate_similarity


@dataclass(frozen=True)
class Choice:
    """What training takes, and how many tokens the prompt and the longer reply have."""

    row: Row
    tokens: int


def read_choices(path: Path | None, tokenizer: Any, longest: int) -> tuple[list[Choice], Figures]:
    """The file's pairs of at most so many tokens, and how many it has and were left out."""
    if path is None:
        raise InvalidInput(
            "`burnish bench pairs` needs people's choices, which Burnish doesn't ship: name a file with `--file PATH`. "
            "It has a JSON object a line (gzipped or not), whose `chosen` and `rejected` are transcripts of "
            "'\\n\\nHuman:' and '\\n\\nAssistant:' that differ in the last reply only: harmless-base/test.jsonl.gz "
            "of anthropics/hh-rlhf is one."
        )
    read = list(detect(path, "hh-rlhf").read(path))
    records = [one for one in read if isinstance(one, Record)]
    choices = [_choice(record, group, tokenizer) for record, group in zip(records, groups(records), strict=True)]
    fitting = [choice for choice in choices if choice.tokens <= longest]
    counts = {"in_the_file": len(read), "unreadable": len(read) - len(records), "too_long": len(records) - len(fitting)}
    return fitting, counts


def groups(records: Sequence[Record]) -> list[str]:
    """Each record's group: the same where two conversations are nearly one, chains too.

    >>> from feedback.interchange.records import preference
    >>> asked = ["How big is the tank?", "Do you ship?", "how big is the tank!"]
    >>> groups([preference(line, (("user", text),), "Yes.", "No.") for line, text in enumerate(asked)])
    ['group-0', 'group-1', 'group-0']
    """
    known: dict[str, int] = {}
    ends = [
        [known.setdefault(text, len(known)) for text in (_first_words(one.messages), question_key(one.messages))]
        for one in records
    ]
    texts = list(known)
    joined = [Questions(texts, signatures(texts)).near_pairs(NEAR), np.array(ends, np.int64).reshape(-1, 2)]
    leader = leaders(np.concatenate(joined), len(texts))
    return [f"group-{leader[first]}" for first, _ in ends]


def divided(choices: Sequence[Choice], sizes: Sequence[int], seed: int) -> list[list[Choice]]:
    """Sides of so many pairs, one after the other, of whole groups in a random order.

    The first doesn't depend on the sizes of those after it. Raises InvalidInput if the pairs don't suffice.
    """
    of_group: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        of_group[choice.row.cluster].append(choice)
    waiting = list(of_group.values())
    Random(seed).shuffle(waiting)
    sides = []
    for size in sizes:
        side: list[Choice] = []
        left = []
        for group in waiting:
            if len(side) + len(group) <= size:
                side += group
            else:
                left.append(group)
        if len(side) < size:
            raise InvalidInput(
                f"The file has {len(choices)} pairs that aren't too long, fewer than {sum(sizes)}: lower --aside "
                "or raise --longest."
            )
        sides.append(side)
        waiting = left
    return sides


def _first_words(messages: Turns) -> str:
    return next(content for role, content in messages if role == "user")


def _choice(record: Record, group: str, tokenizer: Any) -> Choice:
    from trainer.methods.stage import completion_tokens, prompt_tokens

    prompt = [Turn.model_validate({"role": role, "content": content}) for role, content in record.messages]
    chosen, rejected = ([Turn(role="assistant", content=text)] for text in (record.reply, other_reply(record)))
    row = Row(
        id=f"line-{record.line}",
        method="dpo",
        source="preference",
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        cluster=group,
        topic=group,
    )
    replies = (completion_tokens(tokenizer, reply) for reply in (chosen, rejected))
    return Choice(row, len(prompt_tokens(tokenizer, prompt)) + max(map(len, replies)))
