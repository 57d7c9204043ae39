"""What the benchmarks ask: text made for them, the same in every run.

Promises: two numbers never give the same prompt, and their prompts differ from the first words on, so that no cache
helps where it shouldn't. Leaves out meaning: nobody reads the replies.
"""

import random
from collections.abc import Callable, Iterator

from service.engines.base import ChatMessage


def _listed(words: str) -> list[str]:
    return words.split()


NAMES = _listed("Ada Bo Carla Dev Emre Fatou Gus Hana Ivo Jun Kim Lena Mateo Nia Omar Priya Quin Rosa Sven Tara")
TOWNS = _listed("Aarhus Bergen Cusco Dakar Evora Fukuoka Graz Hobart Izmir Jaipur Kigali Leeds Malmo Nantes Oslo Porto")
THINGS = _listed("kettle bicycle lamp radio piano camera stove clock drone printer violin tent pump ladder scooter")
TROUBLES = _listed("rattles stops leaks smells hums flickers sticks overheats squeaks drifts wobbles freezes")
PARTS = _listed("handle hinge valve belt switch cable filter spring bearing screen plug wheel")
WORDS = _listed(
    "river stone morning paper window garden market bridge winter summer letter doctor school kitchen music "
    "forest island harbor station village engine picture number question answer story teacher weather season "
    "mountain valley ocean desert city street corner table chair mirror candle pocket button basket blanket"
)


def user(text: str) -> list[ChatMessage]:
    return [{"role": "user", "content": text}]


def ticket(number: int) -> list[ChatMessage]:
    """A question of about 40 tokens, the chat template's own aside.

    >>> ticket(7)[0]["content"][:53]
    '7: Kim from Evora writes that the stove wobbles in wi'
    """
    chance = random.Random(number)
    name, town, thing, trouble, part = map(chance.choice, (NAMES, TOWNS, THINGS, TROUBLES, PARTS))
    return user(
        f"{number}: {name} from {town} writes that the {thing} {trouble} in "
        f"{chance.choice(('winter', 'summer', 'spring', 'autumn'))} and its {part} is loose. "
        "What is to check first, which tools does that take, and for how long?"
    )


def words(number: int, count: int) -> str:
    """So many words, each of about one token.

    >>> words(3, 4), len(words(3, 100).split())
    ('3 forest chair street', 100)
    """
    chance = random.Random(number)
    return " ".join([str(number), *(chance.choice(WORDS) for _ in range(count - 1))])


def diverse(count: int) -> list[list[ChatMessage]]:
    """Conversations of many kinds: languages, code, emoji, lengths, several turns, odd spaces."""
    makers = _kinds()
    return [makers[number % len(makers)](number, random.Random(number)) for number in range(count)]


def questions() -> Iterator[list[ChatMessage]]:
    """One `ticket` after the other, without end."""
    number = 0
    while True:
        yield ticket(number)
        number += 1


Maker = Callable[[int, random.Random], list[ChatMessage]]


def _kinds() -> list[Maker]:
    return [
        _short, _fact, _chinese, _code, _emoji, _turns, _long, _system, _sums, _scripts, _structured, _spaces, _rewrite,
    ]  # fmt: skip


def _short(number: int, chance: random.Random) -> list[ChatMessage]:
    return user(f"{chance.choice(('Hi', 'Why', 'Name', 'List', 'Define', 'Sing'))} {chance.choice(WORDS)}{number % 7}")


def _fact(number: int, chance: random.Random) -> list[ChatMessage]:
    about = chance.choice(("capital", "largest river", "best-known dish", "climate", "history", "flag"))
    country = chance.choice(("Peru", "Kenya", "Japan", "Norway"))
    return user(f"What should I know about the {about} of {country}? {number}")


def _chinese(number: int, chance: random.Random) -> list[ChatMessage]:
    what = chance.choice(("春天的花园", "一座古老的桥", "雨夜的火车站", "山里的小学", "海边的灯塔"))
    saying = chance.choice(("温故知新", "画蛇添足", "水滴石穿"))
    return user(f"第{number}题：请用三句话描写{what}，并解释“{saying}”的意思。")


def _code(number: int, chance: random.Random) -> list[ChatMessage]:
    name = f"{chance.choice(('merge', 'count', 'parse', 'rotate'))}_{chance.choice(WORDS)}"
    return user(
        f"```python\ndef {name}(items: list[int], limit: int = {number}) -> dict[str, int]:\n"
        f'    """Group by x % {chance.randint(2, 9)}."""\n    return {{}}\n```\nFinish this function and add a test.'
    )


def _emoji(number: int, chance: random.Random) -> list[ChatMessage]:
    signs = chance.sample(["😀", "🎉", "🚀", "👩‍🔬", "🏳️‍🌈", "🐍", "🍜", "🌍", "🤷🏽‍♂️", "✅"], 4)
    return user(
        f"{''.join(signs)} x{number}: repeat these signs in reverse order, then say what {signs[0]} stands for."
    )


def _turns(number: int, chance: random.Random) -> list[ChatMessage]:
    said: list[ChatMessage] = []
    for turn in range(1 + chance.randint(1, 3)):
        thing, part = chance.choice(THINGS), chance.choice(PARTS)
        said.append({"role": "user", "content": f"And the {thing} number {number + turn}? Its {part} is broken."})
        said.append({"role": "assistant", "content": f"Replace the {part}, then try the {thing} again."})
    return [*said, {"role": "user", "content": "Sum up all that in one sentence."}]


def _long(number: int, chance: random.Random) -> list[ChatMessage]:
    return user(f"Continue this list of words in the same manner: {words(number, chance.choice((150, 280, 420)))}")


def _system(number: int, chance: random.Random) -> list[ChatMessage]:
    manner = chance.choice(("Answer in rhyme.", "Answer with one word.", "You are a pirate.", "Reply in French."))
    return [
        {"role": "system", "content": f"{manner} Rule {number}."},
        *user(f"Tell me about a {chance.choice(THINGS)}."),
    ]


def _sums(number: int, chance: random.Random) -> list[ChatMessage]:
    a, b, c = (chance.randint(2, 9999) for _ in range(3))
    return user(
        f"{number}) Compute {a} + {b} * {c} - {a / 8:.3f}; show each step as LaTeX, such as $\\frac{{a}}{{b}}$."
    )


def _scripts(number: int, chance: random.Random) -> list[ChatMessage]:
    texts = (
        "Где находится библиотека?",
        "كيف حالك اليوم؟",
        "今日はいい天気ですね。",
        "오늘 저녁에 뭐 먹을까요?",
        "मुझे चाय पसंद है।",
    )
    return user(f"Translate into English ({number}): {chance.choice(texts)}")


def _structured(number: int, chance: random.Random) -> list[ChatMessage]:
    name, town = chance.choice(NAMES), chance.choice(TOWNS)
    return user(
        f'{{"id": {number}, "name": "{name}", "town": "{town}", "tags": []}}\nAdd three tags; answer in JSON alone.'
    )


def _spaces(number: int, chance: random.Random) -> list[ChatMessage]:
    a, b = chance.sample(WORDS, 2)
    return user(f"  {a}\t\t{b}\n\n\n   {number}   \n- {b.upper()}{a.title()}\n\n…  <|{a}|> \u200b fix my spacing!!!???")


def _rewrite(number: int, chance: random.Random) -> list[ChatMessage]:
    name, town, thing = chance.choice(NAMES), chance.choice(TOWNS), chance.choice(THINGS)
    return user(
        f"Rewrite politely, version {number}: “{name}! Bring back my {thing} from {town}, it isn't yours, and don't "
        f"you dare to say it {chance.choice(TROUBLES)}.”"
    )
