"""Runs programs of this directory one after the other: together.py DIRECTORY NAME=CHECKPOINT..., or NAME= to train."""

from __future__ import print_function

import importlib
import sys

import tensorflow as tf

directory = sys.argv[1]
for argument in sys.argv[2:]:
    name, checkpoint = argument.split("=")
    print("program", name, checkpoint and "restored")
    tf.reset_default_graph()
    program = importlib.import_module(name)
    if name == "flags_app":
        paths = ["--train_dir=" + directory] + ["--checkpoint_path=" + checkpoint] * bool(checkpoint)
        program.FLAGS.unparse_flags()
        program.FLAGS(["flags_app"] + paths)
        program.main(None)
    else:
        program.main([directory, checkpoint] if checkpoint else [directory])
    sys.stdout.flush()
