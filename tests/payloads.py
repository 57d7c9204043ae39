"""A hundred ways to have a page run what somebody wrote: none of them may ever do anything but be read."""

_DEEDS = (
    "<script>window.hit=1</script>",
    "<script src=//127.0.0.1:9/x.js></script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "<svg><script>window.hit=1</script></svg>",
    "<body onload=window.hit=1>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<iframe src=javascript:parent.hit=1></iframe>",
    "<object data=javascript:window.hit=1></object>",
    "<embed src=javascript:window.hit=1>",
    "<details open ontoggle=window.hit=1><summary>x</summary></details>",
    "<input autofocus onfocus=window.hit=1>",
    "<video><source onerror=window.hit=1></video>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hit=1></style></mglyph></table></mtext></math>",
    "<style>@import '//127.0.0.1:9/x.css';</style>",
    "<link rel=stylesheet href=//127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content='0;url=javascript:window.hit=1'>",
    "<base href=//127.0.0.1:9/>",
    "<form action=javascript:window.hit=1><button autofocus>x</button></form>",
    "<a href=javascript:window.hit=1 id=x>x</a>",
    "<div hx-get=//127.0.0.1:9/ hx-trigger=load hx-on:load=window.hit=1>x</div>",
    "<button data-key=1 onclick=window.hit=1>x</button>",
    "<template><script>window.hit=1</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=window.hit=1>'></noscript>",
    "<xmp><script>window.hit=1</script></xmp>",
)
_PLACES = (
    "{}",
    "\"'>{}",
    "</textarea></title></option></script>{}",
    "**{}** `{}` [{}](javascript:window.hit=1) ![{}](javascript:window.hit=1)\n\n```html\n{}\n```\n\n<{}",
)
_OTHERS = (
    "{{ 7 * 7 }}{% raw %}${7*7}#{7*7}",
    "javascript:window.hit=1//",
    "data:text/html,<script>parent.hit=1</script>",
    "\u202e<script>window.hit=1</script>",
    "＜script＞window.hit=1＜/script＞",
    "<scr<script>ipt>window.hit=1</scr</script>ipt>",
    "[x](JaVaScRiPt:window.hit=1) [y](&#106;avascript:window.hit=1) [z](vbscript:x) <javascript:window.hit=1>",
    "[x]: javascript:window.hit=1\n[x] [x][x]",
    '[x](https://x.example/"onmouseover="window.hit=1) <https://x.example/"onclick="window.hit=1>',
    "```\"onmouseover=window.hit=1 x='\ncode\n```",
)
PAYLOADS = tuple(place.replace("{}", deed) for deed in _DEEDS for place in _PLACES)[:90] + _OTHERS
"""A hundred; each would set `window.hit`, or fetch from another host."""
