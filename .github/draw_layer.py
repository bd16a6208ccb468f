"""Draws what a pooling layer does, with NetVLAD's numbers for one small list: python .github/draw_layer.py

Writes layer.png beside this file. It needs numpy and matplotlib, which the extra "examples" installs.
"""

import pathlib

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

SAMPLES, FEATURES, CLUSTERS, OUTPUTS = 8, 4, 3, 5
CLUSTER_COLORS = ["#1b7837", "#b35806", "#7b3294"]
INK, FAINT = "#1f2933", "#66737f"
SIGNED = ["#c0392b", "#ffffff", "#2166ac"]
CELL = 0.235  # inches, as are all coordinates below
WIDTH, HEIGHT, MIDDLE = 10.0, 3.4, 1.93


def main():
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=180, facecolor="white")
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.axis("off")
    draw(axes, *netvlad())
    path = pathlib.Path(__file__).resolve().with_name("layer.png")
    figure.savefig(str(path), metadata={"Software": None})
    print(path)


def netvlad():
    """A list of samples near the centres of clusters, and the result of each step of NetVLAD."""
    random = np.random.RandomState(3)
    c = np.array([[1.0, 0.8, -0.7, -0.9], [-0.9, 0.9, 0.9, -0.6], [0.2, -1.0, 0.2, 1.1]]).T  # [D, K]
    x = c.T[[0, 1, 1, 2, 0, 2, 1, 0]] + random.normal(0, 0.35, [SAMPLES, FEATURES])
    a = np.exp(0.62 * (x @ c))
    a /= a.sum(axis=1, keepdims=True)  # [N, K]
    v = np.einsum("nk,ndk->dk", a, x[:, :, np.newaxis] - c)  # [D, K]
    flat = v / np.linalg.norm(v, axis=0)
    flat = flat.reshape(-1) / np.linalg.norm(flat)
    projected = flat @ random.normal(0, 1, [FEATURES * CLUSTERS, OUTPUTS])
    gates = 1 / (1 + np.exp(-projected @ random.normal(0, 2.2, [OUTPUTS, OUTPUTS])))
    return x, a, v, flat, projected, gates


def draw(axes, x, a, v, flat, projected, gates):
    clusters = [LinearSegmentedColormap.from_list("", ["#ffffff", color]) for color in CLUSTER_COLORS]
    signed = LinearSegmentedColormap.from_list("", SIGNED)
    grays = LinearSegmentedColormap.from_list("", ["#ffffff", "#4d5a66"])

    def by_sign(values):
        return signed(0.5 + 0.5 * values / np.abs(values).max())

    def by_cluster(values):
        """Values [..., K], each cluster in its color."""
        colors = [clusters[k](values[..., k]) for k in range(CLUSTERS)]
        return np.stack(colors, axis=-2)

    strength = 0.12 + 0.88 * np.abs(v) / np.abs(v).max()
    flat_strength = 0.12 + 0.88 * np.abs(flat.reshape(FEATURES, CLUSTERS)) / np.abs(flat).max()

    title(axes, 0.85, "Samples")
    _, right = grid(axes, 0.85, by_sign(x))
    label(axes, 0.85, "x", "[N, D]", "one row for each\nframe or patch")
    arrow(axes, right, 1.93, "")

    title(axes, 2.4, "Soft assignment")
    left, right = grid(axes, 2.4, by_cluster(a))
    for k, color in enumerate(CLUSTER_COLORS):
        axes.plot(left + (k + 0.5) * CELL, MIDDLE + (SAMPLES / 2 + 0.45) * CELL, "o", color=color, markersize=4)
    label(axes, 2.4, "a = softmax(norm(x W))", "[N, K]", "how much each sample\nbelongs to each cluster")
    arrow(axes, right, 3.68, "")

    title(axes, 4.15, "Aggregation")
    _, right = grid(axes, 4.15, by_cluster(strength))
    label(axes, 4.15, r"v = $\Sigma$ a (x $-$ c)", "[D, K]", "for each cluster, a sum\nover the samples")
    arrow(axes, right, 5.52, "normalise,\nflatten")

    title(axes, 5.75, "Descriptor")
    _, right = grid(axes, 5.75, by_cluster(flat_strength).reshape(-1, 1, 4), cell=0.75 * CELL)
    label(axes, 5.75, "v / |v|", "[D * K]", "one vector,\nhowever long the list")
    arrow(axes, right, 6.93, "project")

    title(axes, 7.17, "Projection")
    grid(axes, 7.17, by_sign(projected)[:, np.newaxis])
    label(axes, 7.17, "y", "[O]", "as wide as\nyou ask for")

    axes.text(7.74, MIDDLE, r"$\times$", ha="center", va="center", fontsize=13, color=FAINT)
    title(axes, 8.36, "Context gating")
    grid(axes, 8.36, grays(0.08 + 0.92 * gates)[:, np.newaxis])
    label(axes, 8.36, "sigmoid(norm(y G))", "[O]", "which outputs matter,\ngiven all the others")

    axes.text(8.97, MIDDLE, "=", ha="center", va="center", fontsize=13, color=FAINT)
    title(axes, 9.53, "Output")
    grid(axes, 9.53, by_sign(projected * gates)[:, np.newaxis])
    label(axes, 9.53, "for the list", "[O]", "")


def grid(axes, center, colors, cell=CELL):
    """Draws colors [rows, columns, 4] as cells, and returns the x of the grid's left and right edges."""
    rows, columns = colors.shape[:2]
    left, top = center - columns * cell / 2, MIDDLE + rows * cell / 2
    for row in range(rows):
        for column in range(columns):
            corner = left + column * cell, top - (row + 1) * cell
            axes.add_patch(
                Rectangle(corner, cell, cell, facecolor=colors[row, column], edgecolor="#9aa5b1", linewidth=0.7)
            )
    return left, left + columns * cell


def title(axes, center, text):
    axes.text(center, HEIGHT - 0.3, text, ha="center", fontsize=10.5, fontweight="bold", color=INK)


def label(axes, center, formula, shape, words):
    bottom = MIDDLE - SAMPLES * CELL / 2
    axes.text(center, bottom - 0.29, formula, ha="center", fontsize=9.5, color=INK)
    axes.text(center, bottom - 0.52, shape, ha="center", fontsize=9.5, color=INK, family="monospace")
    axes.text(center, bottom - 0.66, words, ha="center", va="top", fontsize=8.5, color=FAINT, linespacing=1.25)


def arrow(axes, start, end, text):
    style = {"arrowstyle": "-|>", "color": FAINT, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (end, MIDDLE), (start + 0.1, MIDDLE), arrowprops=style)
    axes.text((start + end) / 2 + 0.03, MIDDLE + 0.09, text, ha="center", fontsize=8.5, color=FAINT, linespacing=1.1)


if __name__ == "__main__":
    main()
