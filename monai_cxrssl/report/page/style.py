# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""How the page of a report looks: its style sheet, on screens of any width and on paper, and the shapes of verdicts."""

from __future__ import annotations

__all__ = ["SHAPES", "STYLE", "shape"]

STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #525252; --line: #c9c9c9; --shade: #f4f5f6;
  --pass: #00614a; --fail: #a3160b; --caution: #7d4a00; --unknown: #4a4f57; --link: #00528c; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff; overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
header, main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); scroll-margin-top: .5rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p, ul, dl { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
a:focus-visible, .scroll:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.soft, .created { color: var(--soft); }
td.verdict-cell { white-space: nowrap; }
svg.shape { width: 1.15em; height: 1.15em; vertical-align: -.2em; flex: none; }
.pass, .good { color: var(--pass); } .fail, .bad { color: var(--fail); }
.warning { color: var(--caution); } .unknown { color: var(--unknown); }
.word { font-weight: 600; white-space: nowrap; }

.verdict { border: 2px solid currentColor; border-left-width: .6rem; border-radius: .3rem;
  padding: .75rem 1rem 1rem; margin: 1.25rem 0; }
.verdict > * { color: var(--ink); }
.verdict h2 { border: 0; margin: 0; padding: 0; }
.verdict .sentence { font-size: 1.1rem; font-weight: 600; }
.counts { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; list-style: none; }

.flags { list-style: none; padding: 0; max-width: 50rem; }
.flags li { display: flex; gap: .6rem; align-items: flex-start; padding: .45rem .7rem; margin: .35rem 0;
  background: var(--shade); border-left: .3rem solid currentColor; }
.flags svg { margin-top: .2em; }
.flags .says { color: var(--ink); min-width: 0; }
.contents ol { columns: 17rem; padding-left: 1.6rem; margin: .5rem 0; }
.contents li { break-inside: avoid; padding: .1rem 0; }

.tabled { margin: 1.25rem 0; }
.scroll { overflow: auto; max-width: 100%; border: 1px solid var(--line); }
.long { max-height: 80vh; }
table { border-collapse: separate; border-spacing: 0; font-size: .9rem; width: 100%; }
.name { font-weight: 600; margin: 0 0 .35rem; max-width: none; }
th, td { text-align: left; vertical-align: top; padding: .35rem .65rem; border-bottom: 1px solid #e3e3e3;
  overflow-wrap: break-word; max-width: 24rem; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; z-index: 2; background: #e9ecef; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 600; min-width: 6.5rem; position: sticky; left: 0; z-index: 1; background: #fff; }
thead th:first-child { left: 0; z-index: 3; }
tbody tr:nth-child(even) > * { background: #f8f9fa; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.interval, .mark { white-space: nowrap; }
.wide { min-width: 15rem; }
.none { color: var(--soft); text-decoration: none; cursor: help; }
.not-stated { color: var(--soft); font-style: italic; }
.note { font-size: .88rem; color: var(--soft); margin: .35rem 0 0; }

figure { margin: 1.25rem 0; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid #e3e3e3; }
figcaption { font-size: .9rem; margin-top: .35rem; max-width: 46rem; }
.missing { padding: .7rem .9rem; margin: 0; max-width: 46rem; background: var(--shade);
  border: 1px dashed var(--soft); }
footer { margin-top: 3rem; padding-top: 1rem; padding-bottom: 2rem; border-top: 2px solid var(--ink); }

@media (max-width: 40rem) {
  h1 { font-size: 1.4rem; } h2 { font-size: 1.2rem; }
  th, td { padding: .3rem .5rem; max-width: 16rem; }
  tbody th { max-width: 9rem; min-width: 5.5rem; }
  .verdict { padding: .6rem .7rem .8rem; }
  .stack table, .stack tbody, .stack tr, .stack th, .stack td { display: block; max-width: none; min-width: 0; }
  .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stack tr { padding: .35rem 0; border-bottom: 1px solid var(--line); }
  .stack tbody tr:nth-child(even) > *, .stack tbody th { background: none; position: static; }
  .stack tbody th, .stack tbody td { border: 0; padding: .1rem .6rem; text-align: left; }
  .stack td::before { content: attr(data-label) ": "; color: var(--soft); }
}
@media print {
  @page { margin: 15mm 12mm; }
  body { font-size: 10pt; }
  header, main, footer { max-width: none; padding: 0; }
  .scroll { overflow: visible; max-height: none; border: 0; }
  table { font-size: 8pt; }
  .many table { font-size: 6.5pt; }
  th, td { padding: 2pt 4pt; max-width: none; min-width: 0 !important; overflow-wrap: normal; hyphens: auto; }
  tbody th, td.wide { overflow-wrap: anywhere; }
  tbody th { min-width: 7.5em !important; }
  .interval { display: inline-block; white-space: normal; }
  thead { display: table-header-group; }
  thead th, tbody th { position: static; }
  tr, figure, .flags li, .missing { break-inside: avoid; }
  h2, h3, .name { break-after: avoid; }
  figure img { max-height: 21cm; }
  a[href^="http"]::after { content: " (" attr(href) ")"; }
  a { color: inherit; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

# Told apart by outline, not by colour alone: a disc, an octagon, a triangle, a ring.
SHAPES = """<svg width="0" height="0" aria-hidden="true" style="position:absolute"><defs>
<symbol id="shape-good" viewBox="0 0 20 20"><circle cx="10" cy="10" r="9" fill="currentColor"/>
<path d="M5.5 10.5l3 3 6-7" fill="none" stroke="#fff" stroke-width="2.4"/></symbol>
<symbol id="shape-bad" viewBox="0 0 20 20"><path d="M6.3 1h7.4L19 6.3v7.4L13.7 19H6.3L1 13.7V6.3z" fill="currentColor"/>
<path d="M6.3 6.3l7.4 7.4M13.7 6.3l-7.4 7.4" fill="none" stroke="#fff" stroke-width="2.4"/></symbol>
<symbol id="shape-warning" viewBox="0 0 20 20"><path d="M10 1l9.5 17.5H.5z" fill="currentColor"/>
<path d="M10 7v6M10 14.6v2.2" fill="none" stroke="#fff" stroke-width="2.2"/></symbol>
<symbol id="shape-unknown" viewBox="0 0 20 20"><circle cx="10" cy="10" r="8" fill="#fff" stroke="currentColor"
stroke-width="2" stroke-dasharray="3.2 2"/>
<path d="M6 10h8" fill="none" stroke="currentColor" stroke-width="2.4"/></symbol>
</defs></svg>"""


def shape(level: str) -> str:
    """The shape of a level, ``"good"``, ``"bad"``, ``"warning"`` or ``"unknown"``, as markup; hidden from readers."""
    return f'<svg class="shape" aria-hidden="true" focusable="false"><use href="#shape-{level}"/></svg>'
