"""What our pages of figures have in common: one head, one style, light or dark as the reader likes it."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2129; --faint: #6a7482; --paper: #f7f8fa; --card: #fff;
  --line: #dfe3e8; --mark: #2563c9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --faint: #97a1b0; --paper: #15181d;
  --card: #1d2127; --line: #333a44; --mark: #7db0ff } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 2rem 1.2rem;
  color: var(--ink); background: var(--paper) }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p, li { max-width: 60rem } .faint { color: var(--faint) }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line);
  font-size: .9rem }
th, td { text-align: left; padding: .3rem .6rem; border-top: 1px solid var(--line); vertical-align: middle }
th { border-top: 0; font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.scroll { overflow-x: auto } figure { margin: 0 }
figcaption { font-size: .78rem; color: var(--faint); max-width: 9rem; overflow-wrap: anywhere }
.row { display: flex; gap: .7rem; align-items: flex-start; margin: .3rem 0 .9rem; flex-wrap: wrap }
.row > b { width: 5.5rem; font-weight: 600 }
img { display: block; border: 1px solid var(--line); background: var(--card) }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif }
details { margin: .8rem 0 } code { font-size: .85em; overflow-wrap: anywhere }
"""


def page_head(title: str, more_style: str = "") -> str:
    """The beginning of a page, up to its body."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}{more_style}</style>"
    )
