"""How the web page looks: wide, at 400 pixels and on paper; and how verdicts are picked, without a script."""

from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, PARTLY, REPRODUCED

FILTERED = {REPRODUCED: "reproduced", PARTLY: "partly", NOT_REPRODUCED: "not-reproduced", INCONCLUSIVE: "inconclusive"}
FILTERS = (("all", "all", " checked"), *((name, verdict, "") for verdict, name in FILTERED.items()))
PICKED = "\n".join(
    f"#only-{name}:checked ~ main .claims tbody tr:not(.group, .{name}), "
    f"#only-{name}:checked ~ main .claims:not(:has(tr.{name})), "
    f"#only-{name}:checked ~ main .claims tbody:not(:has(tr.{name})) {{ display: none; }}"
    for name in FILTERED.values()
)
MARKED = "\n".join(
    f"#only-{name}:checked ~ nav label[for=only-{name}] {{ background: #1a1a1a; color: #fff; }}\n"
    f"#only-{name}:focus-visible ~ nav label[for=only-{name}] {{ outline: 2px solid #1F5FA8; }}"
    for name, _, _ in FILTERS
)
STYLE = f"""
html {{ scroll-padding-top: 6rem; }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0; }}
body > input {{ position: fixed; opacity: 0; pointer-events: none; }}
main, nav > div {{ max-width: 1180px; margin: 0 auto; padding: 0 1rem; }}
nav {{ position: sticky; top: 0; background: #fff; border-bottom: 1px solid #ccc; z-index: 1; font-size: .85rem; }}
nav > div {{ display: flex; gap: .2rem 1rem; align-items: center; overflow-x: auto; white-space: nowrap; padding: .35rem 1rem; }}
nav label {{ border: 1px solid #999; border-radius: .3rem; padding: 0 .4rem; cursor: pointer; font-size: .75rem; }}
nav .filter {{ gap: .4rem; }}
a {{ color: #1F5FA8; }}
h1 {{ font-size: 1.6rem; margin-bottom: .2rem; }}
h2 {{ font-size: 1.3rem; margin: 3rem 0 .3rem; }}
h3 {{ font-size: 1rem; margin: 2rem 0 .5rem; }}
.headline {{ font-size: 1.1rem; font-weight: 600; }}
.question {{ font-style: italic; margin: 0; }}
.question span, .small, small {{ color: #555; font-size: .8rem; font-style: normal; font-weight: 400; }}
small {{ display: block; }}
.about, .answer, figcaption, li {{ max-width: 60rem; }}
.about, figcaption, li {{ color: #444; font-size: .9rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid #ddd; }}
thead th {{ border-bottom: 2px solid #444; white-space: nowrap; }}
tbody th {{ font-weight: 400; }}
.claims thead th:first-child {{ width: 30%; }}
.group th {{ font-weight: 600; padding-top: .9rem; }}
tr:target {{ background: #FFF6D6; }}
.chip {{ border: 1px solid; border-radius: .3rem; padding: 0 .35rem; white-space: nowrap; font-size: .75rem; }}
.chip.reproduced {{ color: #0B6E3B; }}
.chip.partly {{ color: #1F5FA8; }}
.chip.not-reproduced {{ color: #A8261C; }}
.chip.inconclusive {{ color: #7A5A00; }}
.chip.not-run {{ color: #666; }}
td[data-label=n], td[data-label=q] {{ white-space: nowrap; }}
figure {{ margin: 0; }}
figcaption {{ margin-top: .4rem; }}
img {{ width: 100%; max-width: var(--width); height: auto; }}
code {{ background: #f3f3f3; padding: .05rem .25rem; overflow-wrap: anywhere; }}
{PICKED}
{MARKED}
@media screen and (max-width: 700px) {{
  .claims thead, .headlines thead {{ display: none; }}
  .claims tr, .headlines tr {{ display: grid; grid-template-columns: 1fr; padding: .5rem 0; border-bottom: 1px solid #ccc; }}
  .claims th, .claims td, .headlines th, .headlines td {{ border: 0; padding: .1rem 0; }}
  .claims tbody th, .headlines tbody th {{ font-weight: 600; }}
  .claims td::before, .headlines td::before {{ content: attr(data-label) ": "; color: #555; }}
  .scroll img {{ min-width: calc(.7 * var(--width)); }}
}}
@media print {{
  body {{ font-size: 10pt; }}
  table {{ font-size: 8pt; }}
  th, td {{ padding: .2rem .3rem; }}
  .chip {{ border: 0; padding: 0; white-space: normal; font-size: 7pt; }}
  nav {{ position: static; border: 0; }}
  nav .filter, body > input {{ display: none; }}
  nav .contents {{ flex-wrap: wrap; }}
  a {{ color: inherit; }}
  tr, figure {{ break-inside: avoid; }}
  h2, h3, .question, .answer, .group {{ break-after: avoid; }}
  .scroll {{ overflow: visible; }}
}}
""".strip()
