"""Each snippet of README.md runs as it stands."""

import pathlib
import re
import textwrap

import pytest
import tensorflow.compat.v1 as tf
from support import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = [
    pytest.param(textwrap.dedent(code), id="line {}".format(README.count("\n", 0, place) + 2))
    for code, place in (
        (found.group(2), found.start()) for found in re.finditer(r"^( *)```python\n(.*?)^\1```$", README, re.M | re.S)
    )
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_runs_when_pasted(snippet):
    if "from tf2 import" in snippet:
        if tf.__version__.startswith("1."):
            pytest.skip("examples/tf2.py needs TensorFlow 2")
        # As if tf2.py stood beside the program.
        snippet = "import sys\nsys.path.append({!r})\n".format(str(ROOT / "examples")) + snippet
    programs.run(snippet)
