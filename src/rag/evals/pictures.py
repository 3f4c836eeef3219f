"""Numbers -> figures, and figures -> SVG that a page holds as it is.

Colours are Okabe & Ito's, which colour-blind readers tell apart; a second sign, a shape or a hatch, says the same. In
SVG they become CSS variables, so that a page may have them lighter in the dark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from rag.errors import UserError

if TYPE_CHECKING:
    from rag.evals.calibration import Bin
    from rag.evals.report import Estimate

INK, FAINT, BLUE, ORANGE = "#1c1c1e", "#8c8c93", "#0072b2", "#d55e00"
VARIABLES = {INK: "currentColor", FAINT: "var(--faint)", BLUE: "var(--blue)", ORANGE: "var(--orange)"}

_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
}


def require_matplotlib() -> None:
    """Raises UserError, which says how to get it, where it is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("pictures need matplotlib; get it with: pip install 'podcast-rag[build]'") from None


def svg(figure: Any, name: str, alt: str) -> str:
    """One element <svg>, the same for the same figure; `alt` says in words what it shows.

    Ids start with `name`, so that one page can hold several.
    """
    import matplotlib

    out = StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue()[out.getvalue().index("<svg") :], flags=re.S)
    text = re.sub(r"<!--.*?-->\n?|<defs>\s*<style.*?</defs>", "", text, flags=re.S)
    text = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", text).replace("xlink:href", "href")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    kept = {one or other for one, other in used}

    def renamed(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in kept else ""

    text = re.sub(r' id="([^"]*)"', renamed, text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    head = f'<svg role="img" aria-label="{escape(alt)}" stroke-linejoin="round"'
    return text.replace("<svg", head, 1).replace(">", f"><title>{escape(alt)}</title>", 1).strip()


def _axes(
    width: float, height: float, columns: int = 1, *, sharey: bool = False, ratios: Sequence[float] = ()
) -> tuple[Any, list[Any]]:
    """A figure in inches, and its axes from left to right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(
        1, columns, squeeze=False, sharey=sharey, gridspec_kw={"width_ratios": ratios} if ratios else None
    )
    return figure, list(axes[0])


def _styled(function: Any) -> Any:
    from functools import wraps

    @wraps(function)
    def inside(*arguments: Any, **options: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context(dict(_STYLE)):
            return function(*arguments, **options)

    return inside


@_styled
def whiskers(rows: Sequence[tuple[str, Mapping[str, Estimate], Mapping[str, bool]]], measures: Sequence[str]) -> Any:
    """A panel a measure: the mean of every row (name, estimates, whether beyond chance) with its interval.

    The first row, what the others are compared with, is at the top, with a line down from it.
    """
    figure, panels = _axes(9.6, 1.0 + 0.27 * len(rows), len(measures), sharey=True)
    for axes, measure in zip(panels, measures, strict=True):
        axes.axvline(rows[0][1][measure].mean, color=BLUE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        for y, (_, estimates, beyond) in enumerate(rows):
            estimate = estimates[measure]
            colour, marker = (BLUE, "D") if y == 0 else (ORANGE, "s") if beyond.get(measure) else (INK, "o")
            axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.3, solid_capstyle="butt")
            axes.plot(estimate.mean, y, marker, color=colour, markersize=5.5 if y else 6)
        axes.set_title(measure)
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(range(len(rows)), [name for name, _, _ in rows])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.supxlabel("mean over questions, 95% interval (0 to 1)", fontsize=10, color=INK)
    return figure


@_styled
def type_bars(types: Mapping[str, Mapping[str, Estimate]], measures: Mapping[str, str]) -> Any:
    """A panel a measure (name -> what it is called): its mean for every type of question, with interval and n."""
    figure, panels = _axes(9.6, 0.9 + 0.34 * len(types), len(measures), sharey=True)
    for axes, (measure, title) in zip(panels, measures.items(), strict=True):
        for y, row in enumerate(types.values()):
            if measure not in row:
                axes.text(0.02, y, "does not apply", va="center", color=INK, fontsize=8)
                continue
            of = row[measure]
            axes.barh(y, of.mean, height=0.62, color=BLUE, alpha=0.45, linewidth=0)
            axes.plot([of.low, of.high], [y, y], color=INK, linewidth=1.2)
            axes.text(1.04, y, f"{of.mean:.2f}, n {of.n}", va="center", fontsize=8, color=INK)
        axes.set_title(title)
        axes.set_xlim(0, 1.55)
        axes.set_xticks([0, 0.5, 1])
        axes.grid(axis="x")
        axes.tick_params(length=0)
    panels[0].set_yticks(range(len(types)), list(types))
    panels[0].set_ylim(len(types) - 0.4, -0.6)
    figure.supxlabel("mean over questions of the type, 95% interval", fontsize=10, color=INK)
    return figure


@_styled
def risk_coverage_curve(coverage: Sequence[float], risk: Sequence[float], base: float) -> Any:
    """What is risked at every coverage, beside `base`, the share of errors where all are answered at random."""
    figure, (axes,) = _axes(4.8, 3.4)
    axes.axhline(base, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "in random order", (1, base), xytext=(0, 3), textcoords="offset points", ha="right", color=INK, fontsize=8.5
    )
    axes.plot(coverage, risk, color=BLUE, linewidth=1.8, drawstyle="steps-mid")
    axes.set(xlim=(0, 1), ylim=(0, max(0.05, *risk, base) * 1.15))
    axes.set_xlabel("coverage: share answered, surest first")
    axes.set_ylabel("risk: share of these not right")
    axes.grid()
    return figure


@_styled
def reliability_diagram(bins: Sequence[Bin], said: str, came_true: str) -> Any:
    """Mean confidence against the share that came true, with Wilson's interval and the number in each bin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1]})
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(0.97, 0.04, "dashed: as often as said", ha="right", color=INK, fontsize=8.5)
    for one in bins:
        if one.mean is not None and one.share is not None:
            axes.plot([one.mean, one.mean], [one.low_share, one.high_share], color=BLUE, linewidth=1.3)
            axes.plot(one.mean, one.share, "o", color=BLUE, markersize=5.5)
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.set_ylabel(came_true)
    axes.grid()
    widths = [one.high - one.low for one in bins]
    counts.bar([one.low for one in bins], [one.n for one in bins], widths, align="edge", color=BLUE, alpha=0.45,
               edgecolor=BLUE, linewidth=0.8)  # fmt: skip
    for one in bins:
        if one.n:
            counts.annotate(str(one.n), ((one.low + one.high) / 2, one.n), xytext=(0, 1.5),
                            textcoords="offset points", ha="center", fontsize=7.5, color=INK)  # fmt: skip
    counts.set_ylim(0, 1.3 * max(1, *(one.n for one in bins)))
    counts.set_ylabel("count")
    counts.set_xlabel(said)
    counts.locator_params(axis="y", nbins=3, integer=True)
    return figure


@_styled
def distributions(yes: Sequence[float], no: Sequence[float], names: tuple[str, str], label: str, bins: int = 20) -> Any:
    """Two histograms over 0..1, one filled and one hatched, as shares of each kind, so that 30 compare with 300."""
    figure, (axes,) = _axes(4.8, 3.4)
    edges = [at / bins for at in range(bins + 1)]
    filled = {"facecolor": BLUE, "alpha": 0.4, "edgecolor": BLUE}
    hatched = {"facecolor": "none", "edgecolor": ORANGE, "hatch": "////"}
    for values, name, colour, style in ((yes, names[0], BLUE, filled), (no, names[1], ORANGE, hatched)):
        if values:
            weights = [1 / len(values)] * len(values)
            axes.hist(values, edges, weights=weights, histtype="stepfilled", label=f"{name} ({len(values)})", **style)
            axes.hist(values, edges, weights=weights, histtype="step", color=colour, linewidth=1.5)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
    axes.set_xlabel(label)
    axes.set_ylabel("share of each kind")
    axes.grid(axis="y")
    axes.legend(loc="best", fontsize=9)
    return figure


@_styled
def latency_histogram(milliseconds: Sequence[float], quantiles: Mapping[str, float], bins: int = 30) -> Any:
    """How long a question took, with its quantiles; what took longer than 1.5 times the last quantile counts there."""
    figure, (axes,) = _axes(4.8, 3.4)
    top = min(max(milliseconds), 1.5 * max(quantiles.values(), default=max(milliseconds))) or 1.0
    edges = [top * at / bins for at in range(bins + 1)]
    axes.hist([min(value, top) for value in milliseconds], edges, color=BLUE, alpha=0.45, edgecolor=BLUE, linewidth=0.8)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.18)
    for name, value in quantiles.items():
        axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"{name}\n{value:.1f} ms", (value, axes.get_ylim()[1]), xytext=(4, -2),
                      textcoords="offset points", va="top", fontsize=8.5, color=INK)  # fmt: skip
    axes.set_xlim(0, top)
    axes.set_xlabel("time to answer a question, milliseconds")
    axes.set_ylabel("questions")
    axes.grid(axis="y")
    return figure
