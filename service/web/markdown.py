"""Markdown from people and models → HTML that can't do anything: the only place that makes markup of their words.

HTML in it is shown as text, images become links to nothing (fetching one would tell its server who reads), and links
go to http, https and mailto alone, without telling where from. Code is coloured by class names, for `site.css`.
"""

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

LONGEST_COLOURED = 20_000
"""Characters of code; longer blocks stay plain."""
_SCHEMES = ("http://", "https://", "mailto:")


def render(text: str) -> Markup:
    """
    >>> print(render("**Hi** <b>there</b>"))
    <p><strong>Hi</strong> &lt;b&gt;there&lt;/b&gt;</p>
    <BLANKLINE>
    """
    return Markup(_parser().render(text))  # noqa: S704  markdown-it escapes all that isn't its own


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _coloured, "breaks": True})
    parser.enable(["table", "strikethrough"]).disable("image")
    parser.validateLink = lambda url: url.strip().lower().startswith(_SCHEMES)  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    return parser


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, environment: EnvType
) -> str:
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    tokens[place].attrSet("target", "_blank")
    return renderer.renderToken(tokens, place, options, environment)


def _coloured(code: str, language: str, attributes: str) -> str:
    """ "" leaves the block to markdown-it, which escapes it."""
    if not language or len(code) > LONGEST_COLOURED:
        return ""
    try:
        lexer = get_lexer_by_name(language[:40])
    except ClassNotFound:
        return ""
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="tok-")))
