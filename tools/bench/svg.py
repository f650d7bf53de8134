# SPDX-License-Identifier: Apache-2.0
"""Bar charts as SVG, without a library: groups of bars with their spread, a legend, light and dark by the reader's own preference."""
import html
import math

WIDTH, BAR, GAP, LEFT, TOP, PLOT_HEIGHT, BELOW = 860, 26, 22, 70, 78, 240, 46
# Distinct for the colour-blind too (Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a8a00", "#666666")
STYLE = """text{font:13px sans-serif;fill:#222}.t{font-size:16px;font-weight:600}.g{stroke:#ccc}.w{stroke:#222;stroke-width:1.5}
@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#ddd}.g{stroke:#444}.w{stroke:#ddd}}"""


def _step(top):
    """A round distance between lines, four to ten of them up to top."""
    if top <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(top / 4))
    return next(power * n for n in (1, 2, 5, 10) if top / (power * n) <= 10)


def _number(value):
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def bars(title, unit, groups):
    """The chart as text. groups: [(label, [(name, (low, middle, high))])]; a name has one colour throughout."""
    names = list(dict.fromkeys(name for _, part in groups for name, _ in part))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    high = max((spread[2] for _, part in groups for _, spread in part), default=0) or 1
    step = _step(high)
    top = math.ceil(high / step) * step
    width = max(WIDTH, LEFT + sum(len(part) * BAR + GAP for _, part in groups) + GAP)
    height = TOP + PLOT_HEIGHT + BELOW

    def y(value):
        return TOP + PLOT_HEIGHT * (1 - value / top)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(title)}">',
           f"<style>{STYLE}</style>", f'<text class="t" x="12" y="24">{html.escape(title)}, {html.escape(unit)}</text>']
    at = 12
    for name in names:
        out.append(f'<rect x="{at}" y="40" width="12" height="12" fill="{colour[name]}"/><text x="{at + 17}" y="51">{html.escape(name)}</text>')
        at += 34 + 8 * len(name)
    for i in range(round(top / step) + 1):
        out.append(f'<path class="g" d="M{LEFT} {y(i * step):.1f}H{width - 8}"/>'
                   f'<text x="{LEFT - 6}" y="{y(i * step) + 4:.1f}" text-anchor="end">{_number(i * step)}</text>')
    at = LEFT + GAP
    for label, part in groups:
        middle_of_group = at + len(part) * BAR / 2
        for name, (low, middle, upper) in part:
            out.append(f'<rect x="{at + 2}" y="{y(middle):.1f}" width="{BAR - 4}" height="{TOP + PLOT_HEIGHT - y(middle):.1f}" fill="{colour[name]}">'
                       f"<title>{html.escape(f'{label}, {name}: {_number(middle)} {unit} ({_number(low)} to {_number(upper)})')}</title></rect>"
                       f'<path class="w" d="M{at + BAR / 2} {y(low):.1f}V{y(upper):.1f}"/>')
            at += BAR
        out.append(f'<text x="{middle_of_group:.1f}" y="{TOP + PLOT_HEIGHT + 20}" text-anchor="middle">{html.escape(label)}</text>')
        at += GAP
    return "\n".join([*out, "</svg>"]) + "\n"
