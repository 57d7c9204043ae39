"""Why something was left out: the curation's reasons, which are stored in English, told so that other languages can say
them.

Whole sentences, ours and a reviewer's, are told as they are. Leaves out making the reasons (curate/).
"""

import re

from feedback.review.opinions import WITHOUT_NOTE
from feedback.sentences import Told

WITH_VALUES = (
    "a new fact that fewer than {n} people told us",
    "more than {n} pieces of feedback by one contributor in an hour",
    "the same text was given to more than {n} different questions",
    "older than {n} days",
    "shorter than {n} characters",
    "longer than {n} tokens",
    "{n} words or more are an evaluation text's",
    "nearly the same question is held out ({n}), so training on it would leak",
    "a rating of what is learned elsewhere ({n}) judges nothing",
    "more than {n} times as much trust praised the reply that it corrects",
    "over {n} rows on nearly the same question",
    "over {n} tokens on nearly the same question",
    "over {n} rows of one contributor",
    "over {n} tokens of one contributor",
    "fewer choices and corrections than min_preference_pairs ({n}) to train on pairs",
    "fewer ratings than min_ratings ({n}) to train on them",
)
"""Those that differ in a number, or in the side that something is on, alone."""
_VALUE = re.compile(r"\d+(?:\.\d+)?|(?<=\()(?:train|dev|gate|sealed)(?=\))")


def told(stored: str) -> Told:
    """
    >>> told("the reply is empty").template, told("the reply is empty.").template
    ('the reply is empty', '{why}.')
    >>> told("shorter than 12 characters").values, told("It is red.").template
    ({'n': '12'}, 'It is red.')
    """
    if stored[:1].isupper() or stored == WITHOUT_NOTE:
        return stored if isinstance(stored, Told) else Told(stored)
    why = stored.removesuffix(".")
    value, template = _VALUE.search(why), _VALUE.sub("{n}", why)
    known = Told(template, n=Told(value[0])) if value and template in WITH_VALUES else Told(why)
    return Told("{why}.", why=known) if stored.endswith(".") else known
