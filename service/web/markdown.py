"""Markdown from people and models → HTML that can't do anything: the only place that makes markup of their words.

HTML in it is shown as text, images become links to nothing (fetching one would tell its server who reads), and links
go to http, https and mailto alone, without telling where from. Code is coloured by class names, for `site.css`.
"""

import re
from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock, table
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

LONGEST = 100_000
"""Characters; what is longer is shown as it was written."""
LONGEST_COLOURED = 10_000
"""Characters of a text whose code is coloured: what is longer stays plain."""
_COLOURED = (
    "bash sh shell python py pycon javascript js jsx typescript ts tsx json yaml html xml css scss sql kotlin c cpp "
    "go rust swift php ruby toml ini diff"
)
"""Languages whose lexers take no long time over anything: some others take hours over a screenful of spaces, and while
a regular expression is at work nothing else is."""
_TANGLED = re.compile(r"[^\n]{400}|\s{200}")
"""Code that nobody writes, and over which these lexers take long too."""
MOST_CELLS = 5_000
"""Of a text's tables: a table's row of one letter is as wide as its heading."""
_SCHEMES = ("http://", "https://", "mailto:")


def render(text: str) -> Markup:
    """
    >>> print(render("**Hi** <b>there</b>"))
    <p><strong>Hi</strong> &lt;b&gt;there&lt;/b&gt;</p>
    <BLANKLINE>
    """
    if len(text) > LONGEST:
        return Markup("<pre>{}</pre>\n").format(text)
    return Markup(_parser(len(text) <= LONGEST_COLOURED).render(text))  # noqa: S704  markdown-it escapes all that isn't its own


@cache
def _parser(coloured: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _coloured if coloured else None, "breaks": True})
    parser.enable(["table", "strikethrough"]).disable("image")
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.validateLink = lambda url: url.strip().lower().startswith(_SCHEMES)  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    return parser


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, environment: EnvType
) -> str:
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    tokens[place].attrSet("target", "_blank")
    return renderer.renderToken(tokens, place, options, environment)


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    columns = state.src.count("|", state.bMarks[start], state.eMarks[start]) + 1
    left = state.env.setdefault("cells", MOST_CELLS)
    if columns * (state.lineMax - start) > left or not table(state, start, end, silent):
        return False
    if not silent:
        state.env["cells"] = left - columns * (state.line - start)
    return True


def _coloured(code: str, language: str, attributes: str) -> str:
    """ "" leaves the block to markdown-it, which escapes it."""
    if language.lower() not in _COLOURED.split() or _TANGLED.search(code):
        return ""
    return str(highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True, classprefix="tok-")))
