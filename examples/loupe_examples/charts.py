"""Bar charts in two colours, with a title and a caption; and figures as PNG files."""

from loupe_examples import files
from matplotlib.figure import Figure

COLORS = ["#9ecae1", "#08519c"]


def bars(bottom, top, title, caption):
    """An empty chart: a figure and its axes.

    Args:
      bottom, top: the axes' edges, as fractions of the figure's height.
      title, caption: lines above the axes.
    """
    figure = Figure(figsize=(8, 4.5), dpi=150)
    axes = figure.add_axes([0.09, bottom, 0.89, top - bottom])
    axes.tick_params(length=0)
    axes.yaxis.grid(True, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.text(0.02, 0.93, title, fontsize=14, fontweight="bold")
    figure.text(0.02, 0.87, caption, fontsize=10, color="#555555")
    return figure, axes


def labelled(axes, bars, digits, fontsize=9):
    """Writes each bar's value above it, with `digits` decimals."""
    axes.bar_label(bars, fmt=f"%.{digits}f", padding=2, fontsize=fontsize)


def legend(axes):
    """Adds a legend above the axes, on the right."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.02), ncol=2, frameon=False)


def write(path, figure):
    """Writes the figure as PNG; if this fails, an older file stays as it was."""
    with files.whole(path) as partial:
        figure.savefig(partial, format="png")
