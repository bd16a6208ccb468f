"""Settings of small YouTube-8M models, and those of the golden models."""

import json
import pathlib

from yt8m.settings import of_preset

GOLDENS = pathlib.Path(__file__).resolve().parents[1] / "goldens" / "youtube8m"
MODELS = json.loads((GOLDENS / "models.json").read_text())


def golden_settings(name, flags=None, num_classes=20, **values):
    """The settings of a golden model, or of another model with these flags of the 2017 program."""
    flags = flags or MODELS[name]["flags"]

    def flag(end, default=None):
        """The value of the flag with this name, or with the model's name and this name."""
        return next((value for key, value in flags.items() if ("_" + key).endswith("_" + end)), default)

    preset = {"gated_soft_dbow_gatedmoe": "gated_soft_dbow", "netvlad_relu": "netvlad"}.get(name, name)
    return of_preset(
        preset.replace("_", "-"),
        num_classes=num_classes,
        clusters=flag("cluster_size"),
        hidden_size=flag("hidden_size"),
        relu=flag("relu", False),
        gating=flags.get("gating", False),
        probability_gating=flags.get("moe_prob_gating", False),
        cells=flag("cells"),
        moe_l2=flags["moe_l2"],
        **values,
    )
