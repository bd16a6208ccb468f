"""Bar charts in two colours, with a title and a caption; and figures as PNG files."""

from loupe_examples import files

COLORS = ["#9ecae1", "#08519c"]


def bars(bottom, top, title, caption):
    """A figure and its axes, which are to get the bars, `labelled`.

    Args:
      bottom, top: the axes' edges, parts of the figure's height.
      title, caption: lines above them.
    """
    from matplotlib.figure import Figure

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


def labelled(axes, bars, digits):
    """Writes each bar's value above it, with so many decimals."""
    axes.bar_label(bars, fmt=f"%.{digits}f", padding=2, fontsize=9)


def legend(axes):
    """Puts a legend of what has been drawn above the axes, on the right."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.02), ncol=2, frameon=False)


def write(path, figure):
    """Writes the figure as PNG, whole or not at all."""
    with files.whole(path) as partial:
        figure.savefig(partial, format="png")
