"""Pages, served by the service itself: chat (`/`), the console (`/console`) and what the public may read.

Promises that they read without JavaScript, that nothing a model or a person wrote is ever HTML (markdown.py is the only
place that makes some), and that every deed a page offers is open to programs under `/v1` too. A page is a handler that
guards, makes one domain call and renders a template; its words are in `words/`, English being the key.
"""
