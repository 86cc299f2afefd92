"""The page of the documentation that tells what was measured, and its plot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from .contenders import BLUEPRINT, CONTENDERS
from .growth import BUILDS, Growth
from .in_process import InProcess
from .over_http import OverHTTP
from .report import Table
from .turns import Quartiles

#: What stands between these comments is written by the command.
MEASURED = re.compile(r"(<!-- measured -->\n).*(<!-- /measured -->\n)", re.DOTALL)

COLORS = {"sqlite": "#86b6d9", "postgresql": "#336791"}
NAMES = [contender.name for contender in CONTENDERS]


def write(
    page: Path,
    tables: list[Table],
    in_process: list[InProcess],
    over_http: OverHTTP,
    growth: list[Growth],
) -> None:
    """Put the tables between the comments of the page, and the plot beside it."""
    plot = page.with_suffix(".svg")
    image = f"![The times and rates of all contenders, as in the tables below]({plot.name})"
    measured = "\n\n".join([image, *(table.markdown() for table in tables)])
    text = MEASURED.sub(lambda found: f"{found[1]}\n{measured}\n\n{found[2]}", page.read_text())
    page.write_text(text)
    # The same figures give the same file, with text that can be searched.
    with rc_context({"svg.hashsalt": page.stem, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(12, 4), layout="constrained")
        times, rates, grown = figure.subplots(1, 3)
        _draw_times(times, in_process)
        _draw_rates(rates, over_http)
        _draw_growth(grown, growth)
        figure.savefig(plot, metadata={"Date": None})


def _draw_times(axes: Any, in_process: list[InProcess]) -> None:
    height = 0.4
    for number, measured in enumerate(in_process):
        _draw_bars(
            axes,
            [place + (number - 0.5) * height for place in range(len(NAMES))],
            [measured.update.of(name).scaled(1000) for name in NAMES],
            height=height,
            color=COLORS[measured.server.name],
            label=measured.server.title,
        )
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.set_title("In process: ms per update")
    axes.legend()


def _draw_rates(axes: Any, over_http: OverHTTP) -> None:
    rates = [over_http.turns.of(name) for name in NAMES]
    _draw_bars(axes, range(len(NAMES)), rates, height=0.6, color=COLORS["postgresql"])
    axes.set_yticks([])
    axes.set_title("Over HTTP: updates per second")


def _draw_bars(axes: Any, places: Any, quartiles: list[Quartiles], **style: Any) -> None:
    medians = [median for _, median, _ in quartiles]
    below = [median - low for low, median, _ in quartiles]
    above = [high - median for _, median, high in quartiles]
    axes.barh(places, medians, xerr=[below, above], **style)
    axes.set_ylim(len(medians) - 0.5, -0.5)  # the first at the top


def _draw_growth(axes: Any, growth: list[Growth]) -> None:
    for measured in growth:
        if measured.axis is BUILDS:
            times = [measured.turns.of((BLUEPRINT.name, size)) for size in measured.sizes]
            axes.plot(
                measured.sizes,
                [1000 * time.median for time in times],
                marker="o",
                color=COLORS[measured.server.name],
                label=measured.server.title,
            )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{BLUEPRINT.name}: ms per update\nby the {BUILDS.title}")
    axes.legend()
