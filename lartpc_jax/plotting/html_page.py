"""One HTML page of interactive figures that needs no other file."""
import html
from collections.abc import Sequence
from typing import NamedTuple

STYLE = """:root{color-scheme:light}
body{font:16px/1.5 system-ui,"DejaVu Sans",sans-serif;color:#1b1b1b;margin:0}
main{max-width:1240px;margin:0 auto;padding:1rem}h1{font-size:1.5rem}h2{font-size:1.2rem;margin:2rem 0 .2rem}
p{max-width:46rem;margin:.3rem 0 .6rem}.row{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr))}.wide{overflow-x:auto}.wide>div{min-width:680px}
nav a{margin-right:1.2em}a{color:#0b5394}"""
CDN = "https://cdn.plot.ly/plotly-{}.min.js"


class Section(NamedTuple):
  """A heading, a caption, and figures side by side where there is room."""
  title: str
  caption: str
  figures: Sequence
  wide: bool = False  # one figure that is scrolled sideways on a narrow screen


def html_page(title: str, about: str, sections: Sequence[Section], *, plotlyjs: str) -> str:
  """The page as text.

  Args:
    title: its heading.
    about: a sentence below.
    sections: in their order.
    plotlyjs: "inline" puts the library (4.8 MB) into the page; "cdn" names its place in the network.
  Raises:
    ValueError: for another `plotlyjs`.
  """
  escape = html.escape
  parts = ["<!doctype html><html lang=en><head><meta charset=utf-8>",
           "<meta name=viewport content='width=device-width, initial-scale=1'>",
           f"<title>{escape(title)}</title><style>{STYLE}</style>{_library(plotlyjs)}</head><body><main>",
           f"<h1>{escape(title)}</h1><p>{escape(about)}</p><nav>",
           *(f"<a href=#s{i}>{escape(section.title)}</a>" for i, section in enumerate(sections)), "</nav>"]
  for i, section in enumerate(sections):
    parts.append(f"<h2 id=s{i}>{escape(section.title)}</h2><p>{escape(section.caption)}</p>"
                 f"<div class={'wide' if section.wide else 'row'}>")
    parts += [figure.to_html(full_html=False, include_plotlyjs=False, auto_play=False, div_id=f"f{i}_{j}",
                             config=dict(responsive=True, displaylogo=False))
              for j, figure in enumerate(section.figures)]
    parts.append("</div>")
  return "\n".join([*parts, "</main></body></html>"])


def _library(plotlyjs: str) -> str:
  from plotly.offline import get_plotlyjs, get_plotlyjs_version
  if plotlyjs == "inline":
    return f"<script>{get_plotlyjs()}</script>"
  if plotlyjs == "cdn":
    return f"<script src='{CDN.format(get_plotlyjs_version())}'></script>"
  raise ValueError(f"plotlyjs must be inline or cdn; got {plotlyjs!r}.")
