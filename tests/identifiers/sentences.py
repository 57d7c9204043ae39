"""Where identifiers stand: sentences of two languages, lists, tables, code, quotes; at times in odd characters."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Made:
    text: str
    frame: str = "{}"
    """What stands around it because of what it is: `password: {}`, `Call me on {}`."""
    disguise: bool = True
    """Whether odd characters may stand for its own."""


@dataclass(frozen=True)
class Sentence:
    kind: str
    text: str
    start: int
    end: int


ENGLISH = (
    "{}", "{}.", "{} is what they gave me.", "I found {} in the old file.", "Is it {}?", "Please use {}!",
    "It was {}, wasn't it?", "They wrote {}; nobody answered.", "Sorry ({}) for that.", "Look at this ({}).",
    'It said "{}" on the form.', "It said '{}' on the form.", "It said “{}” on the form.", "Here: {}",
    "Here it is:\n{}\nThanks a lot", "- {}\n- something else", "1. {}\n2. another one", "| first | {} | third |",
    "`{}`", "**{}**", "<td>{}</td>", '{{"field": "{}", "other": 3}}', "field={} other=3", "first,{},third",
    "old\t{}\tnew", "From 2019 to 2023 it was {} and 15 people knew.", "Dear all,\n\nplease note {}.\n\nBest regards",
    "Can you rewrite this letter for me? It has {} in it and costs $1,299.99...", "[{}]", "> {}",
    "Either {} or nothing", "{}: that's all I know", "Who is behind {}…", "hey so {} ok", "yes {}, thx", "{} 😀",
    "👉 {}", "My details → {}", "_{}_ was in the footer", "* {}\n* 42", "Row 7; {}; 3.5; yes",
    "```\nvalue = '{}'\n```", "print(\"{}\")", "# {}", "2024-01-31 10:15:02 INFO got {} from 3 of 5",
    "Order 48213, {}, 2 items", "<a>{}</a>", "data: {}\n\n", "({})", "“{}”", "a/b testing of 20 people, see {}",
    "{}\n12/27\n123", "{} — the last one", "{} – the last one", "…{}…", "{}\r\nnext", "Q: Is this it?\nA: {}",
    "user={};role=admin", "--value {}", "key1: 1\nkey2: {}\nkey3: 3", "No. 7: {}",
)  # fmt: skip
CHINESE = (
    "请看{}，谢谢。", "资料：{}。", "资料如下：{}", "（{}）", "“{}”已经登记了", "「{}」", "《{}》", "请把{}记下来",
    "{}是我的", "我填的是{}吗？", "内容为{}！", "一共3个，其中有{}、还有别的", "他写了{}；没有人回答", "【{}】",
    "第1条：{}\n第2条：没有", "都写在这里了，{}，别忘了", "我的是{}谢谢", "2023年3月5日收到{}一份",
    "帮我看看{}对不对", "就是{}啦", "备注:{}", "｜{}｜",
)  # fmt: skip
FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
OTHER_DIGITS = ("٠", "۰", "०", "𝟎", "𝟬")  # the zeros of scripts and of styles; the other nine follow each
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


def set_in_sentence(made: Made, kind: str, random: Random) -> Sentence:
    written = disguised(made.text, random) if made.disguise and random.random() < 0.06 else made.text
    before, after = random.choice(ENGLISH if random.random() < 0.6 else CHINESE).format("\0").split("\0")
    frame_before, frame_after = made.frame.split("{}")
    start = len(before + frame_before)
    return Sentence(kind, before + frame_before + written + frame_after + after, start, start + len(written))


def disguised(text: str, random: Random) -> str:
    how = random.randrange(4)
    if how == 0:
        return text.translate(FULLWIDTH)
    if how == 1:
        at = random.randrange(1, len(text))
        return text[:at] + random.choice(UNSEEN) + text[at:]
    if how == 2:
        zero = ord(random.choice(OTHER_DIGITS))
        return text.translate({ord("0") + digit: zero + digit for digit in range(10)})
    return text.replace(" ", random.choice("\u00a0\u2009\u202f")).replace("-", random.choice("\u2010\u2011\u2013"))


def filled(pattern: str, random: Random) -> str:
    """`#`: any digit, `N`: 2 to 9, `A`: a capital letter; anything else stands for itself.

    >>> filled("(NA) 12", Random(1))
    '(3I) 12'
    """
    choices = {"#": "0123456789", "N": "23456789", "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    return "".join(random.choice(choices.get(sign, sign)) for sign in pattern)
