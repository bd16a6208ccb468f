"""Runs a TensorFlow 1 program unchanged, on TensorFlow 2.12 to 2.21, and on 1.15::

    python legacy.py [--loupe NAME] [--python3] program.py ARGUMENTS...
    python legacy.py [--loupe NAME] [--python3] -m package.module ARGUMENTS...

The program's files are all modules that are neither installed nor Python's own. For these files

- ``import tensorflow`` is TensorFlow 1's API with v2 behaviour off; tf.keras is Keras 2, which is the package tf_keras
  from TensorFlow 2.16 on; tf.contrib is made of tf-slim's and TensorFlow's own functions, and a name that neither has
  raises an AttributeError that says so;
- ``/`` of two integers rounds down, dicts and ranges give lists, and names such as xrange, iteritems and cPickle exist,
  as in Python 2. ``--python3`` turns this off, and so does syntax that Python 2 lacks, in the file or in the program's
  first one. ``from __future__ import division`` is respected;
- ``import loupe`` is the program's own copy where it has one, or what ``--loupe`` names.

Installed packages see TensorFlow as it is. ``import legacy`` as the first line of a program or notebook does the same,
but for the division, lists and methods of Python 2 in this first file, because Python has compiled it already.
"""

import argparse
import ast
import builtins
import collections.abc
import copy
import functools
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import multiprocessing.spawn
import os
import pickle
import re
import sys
import sysconfig
import time
import types

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FORKS = os.path.join(HERE, "forks")
COMMAND = "LOUPE_LEGACY_COMMAND"  # the environment variable that tells spawned processes what to run
PYTHON_IMPORT = builtins.__import__
OPTIONS = argparse.Namespace(loupe=None, python3=False, module=None, program=None)

# ---- TensorFlow ------------------------------------------------------------------------------------------------------
# Where the names of tf.contrib's packages are today; the first place that has a name counts.
CONTRIB = {
    "compiler.jit": ["tensorflow.python.compiler.xla.jit"],
    "compiler.xla": ["tensorflow.python.compiler.xla.xla"],
    "data": ["tensorflow.data.experimental"],
    "deprecated": ["tensorflow.python.ops.logging_ops"],
    "distributions": ["tensorflow.distributions"],
    "eager": ["tensorflow.python.eager.backprop", "tensorflow"],
    "feature_column": ["tensorflow.feature_column"],
    "framework": ["tf_slim.ops.arg_scope", "tf_slim.ops.variables", "tf_slim.ops.framework_ops", "tensorflow.train"]
    + ["tensorflow.python.framework.smart_cond", "tensorflow.python.util.deprecation", "tensorflow"],
    "framework.nest": ["tensorflow.python.util.nest"],
    "keras": ["tensorflow.keras"],
    "layers": ["tf_slim.layers"],
    "lookup": ["tensorflow.python.ops.lookup_ops"],
    "losses": ["tf_slim.losses"],
    "metrics": ["tf_slim.metrics", "tensorflow.sets", "tensorflow.math"],
    "nn": ["tensorflow.python.ops.nn_ops", "tensorflow.nn"],
    "rnn": ["tensorflow.nn.rnn_cell", "tensorflow.nn", "tensorflow.python.ops.rnn"],
    "signal": ["tensorflow.signal"],
    "slim": ["tf_slim"],
    "slim.nets": ["tf_slim.nets"],
    "staging": ["tensorflow.python.ops.data_flow_ops"],
    "stateless": ["tensorflow.random"],
    "summary": ["tensorflow.python.ops.summary_ops_v2"],
    "tensorboard.plugins.projector": ["tensorboard.plugins.projector"],
    "training": ["tf_slim.training.training", "tensorflow.train", "tensorflow.python.training.evaluation"],
    "util": ["tensorflow", "tensorflow.python.framework.meta_graph"],
}
INSTEAD = {
    "crf": "tensorflow_addons.text, on TensorFlow 2.15 and earlier",
    "data": "the methods of tf.data.Dataset",
    "distributions": "tensorflow_probability",
    "estimator": "tf.train.MonitoredTrainingSession around the model_fn",
    "image": "tensorflow_addons.image, on TensorFlow 2.15 and earlier",
    "layers": "tf.feature_column for columns, and tf.nn.embedding_lookup for embed_sequence",
    "learn": "tf.train.MonitoredTrainingSession around the model_fn",
    "opt": "the optimizers of tf.train and tf.keras.optimizers",
    "rnn": "a cell of tf.nn.rnn_cell, or a subclass of tf.nn.rnn_cell.RNNCell",
    "seq2seq": "tensorflow_addons.seq2seq, on TensorFlow 2.15 and earlier",
    "training": "a class of your own for HParams, and tf.data for batches of sequences",
}
# Modules that programs import by inner paths, such as tensorflow.contrib.layers.python.layers.initializers.
INNER = """layers initializers regularizers optimizers normalization utils summaries variables checkpoint_utils rnn
rnn_cell core_rnn core_rnn_cell core_rnn_cell_impl metric_ops loss_ops training hparam lookup_ops""".split()
KERAS = "the program needs Keras 2, which TensorFlow {0} leaves to tf_keras: python -m pip install tf_keras~={0}.0"


class KerasMissing(ImportError):
    """Says how to install tf_keras."""


def namespace(name, attribute):
    """A module whose attributes are what the function returns for their names."""
    module = types.ModuleType(name)
    module.__getattr__ = attribute
    return module


def member(path, name):
    """The attribute `name` of the module `path`, or the module of this name in it."""
    if path.startswith("tensorflow") and not path.startswith(("tensorflow.python.", "tensorflow.contrib.")):
        return getattr(functools.reduce(getattr, path.split(".")[1:], tensorflow()), name)
    module = importlib.import_module(path)
    return getattr(module, name) if hasattr(module, name) else importlib.import_module(path + "." + name)


def contrib(path):
    """The module that stands for tensorflow.contrib.PATH."""
    home = re.sub(r"\.python\.\w+", "", path)  # layers.python.layers.utils is layers.utils
    package, _, inner = home.partition(".")
    places = CONTRIB.get(home, CONTRIB.get(package, []))
    if inner and home not in CONTRIB:
        places = [place + "." + inner for place in places if place.startswith("tf_slim")] + places

    def attribute(name):
        child = (path + "." + name).lstrip(".")
        is_inner = name == "python" or path.endswith(".python") or ".python." in path and name in INNER
        if name.startswith("__"):
            raise AttributeError(name)
        if not path or is_inner or any((key + ".").startswith(child + ".") for key in CONTRIB):
            return contrib(child)
        for place in places + ["tensorflow.contrib." + path] * (version() < (2,)):
            try:
                return member(place, name)
            except (AttributeError, ImportError):
                pass
        instead = f"; use {INSTEAD[package]}" if package in INSTEAD else ""
        number = ".".join(str(part) for part in version())
        raise AttributeError(f"neither TensorFlow {number} nor tf-slim has tf.contrib.{child}{instead}")

    return namespace("tensorflow.contrib." + path, attribute)


def version():
    return tuple(int(part) for part in importlib.import_module("tensorflow").__version__.split(".")[:2])


@functools.lru_cache(maxsize=None)
def tensorflow():
    """What `import tensorflow` is for the program: TensorFlow 1's API, with v2 behaviour off, and tf.contrib."""
    tf = importlib.import_module("tensorflow")
    has_keras_2 = version() < (2, 16) or importlib.util.find_spec("tf_keras") is not None

    def attribute(name):
        if name == "contrib":
            return contrib("")
        if name in ("python", "core"):
            return importlib.import_module("tensorflow." + name)
        if name in ("keras", "layers") and not has_keras_2:
            raise KerasMissing(KERAS.format("{}.{}".format(*version())))
        if name in INSTEAD and not hasattr(tf, name):
            raise AttributeError(f"TensorFlow {tf.__version__} has no tf.{name}; use {INSTEAD[name]}")
        return getattr(tf, name)

    module = namespace("tensorflow", attribute)
    if version() < (2,):
        return module
    tf = tf.compat.v1
    tf.disable_v2_behavior()
    # AutoGraph would compile the program's functions anew, from their source, with Python 3's division.
    config = importlib.import_module("tensorflow.python.autograph.core.config")
    config.CONVERSION_RULES = [types.SimpleNamespace(get_action=lambda module: config.Action.DO_NOT_CONVERT)]
    for name in ("framework.ops", "ops.array_ops", "ops.control_flow_ops", "ops.variable_scope"):
        give_old_names(importlib.import_module("tensorflow.python." + name), tf)
    slim = importlib.import_module("tf_slim.layers.layers")
    if has_keras_2:
        # tf-slim looks for it in a module that tf_keras does not have.
        slim.normalization_layers.BatchNormalization = tf.layers.BatchNormalization
    else:
        tf.nn.rnn_cell = namespace("tensorflow.nn.rnn_cell", lambda name: attribute("layers"))
        # slim.batch_norm asks by `is` for this text, and for an equal one it needs no Keras.
        keys = type("GraphKeys", (tf.GraphKeys,), {"UPDATE_OPS": "".join(tf.GraphKeys.UPDATE_OPS)})
        slim.ops = types.SimpleNamespace(**dict(vars(slim.ops), Tensor=tf.Tensor, GraphKeys=keys))
    return module


def give_old_names(module, tf):
    """Gives an inner module of TensorFlow the names that it had in TensorFlow 1, for tf-slim and for programs."""

    def attribute(name):
        for place in (tf, tf.nn, tf.nn.rnn_cell):
            if not name.startswith("__") and hasattr(place, name):
                return getattr(place, name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    vars(module).setdefault("__getattr__", attribute)
    if module.__name__.endswith(".variable_scope"):
        vars(module).setdefault("variable", tf.Variable)


def import_tensorflow(name, fromlist):
    """The import of TensorFlow or of a module in it, by the program."""
    module, path = tensorflow(), "tensorflow"
    for part in name.split(".")[1:]:
        path += "." + part
        if path.startswith("tensorflow.contrib."):
            module = contrib(path[len("tensorflow.contrib.") :])
        elif path.startswith(("tensorflow.python", "tensorflow.core")) or not hasattr(module, part):
            module = importlib.import_module(path)
        else:
            module = getattr(module, part)
    if path.startswith("tensorflow.python.") and version() > (2,):
        give_old_names(module, tensorflow().compat.v1)
    if sys.modules.get(path) is module:
        importlib.__import__(path, fromlist=fromlist)  # imports the modules in `fromlist`
    for part in fromlist:
        try:
            getattr(module, part)
        except AttributeError as error:
            raise ImportError(str(error)) from None
    return module if fromlist else tensorflow()


# ---- Python 2 --------------------------------------------------------------------------------------------------------
def divide(a, b):
    """a / b as in Python 2."""
    for method, x, y in [("__div__", a, b), ("__rdiv__", b, a)]:
        quotient = getattr(type(x), method)(x, y) if hasattr(type(x), method) else NotImplemented
        if quotient is not NotImplemented:
            return quotient
    return a // b if is_integer(a) and is_integer(b) else a / b


def divided(a, b):
    """The new value of a, after a /= b."""
    if not isinstance(a, np.ndarray):
        return divide(a, b)
    return np.floor_divide(a, b, out=a) if is_integer(a) and is_integer(b) else np.true_divide(a, b, out=a)


def is_integer(x):
    return isinstance(x, int) or isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "iub"


def old_method(owner, name):
    """The method of a dict or an iterator that has this name in Python 2, or the attribute of another object."""
    method = re.sub("^(iter|view)", "", name)
    if hasattr(owner, name) and not (isinstance(owner, dict) and name == method):
        return getattr(owner, name)
    if name in ("has_key", "next"):
        return getattr(owner, {"has_key": "__contains__", "next": "__next__"}[name])
    return lambda: (iter if name.startswith("iter") else list)(getattr(owner, method)())


def list_of(function, *arguments):
    """What map, filter and zip return in Python 2, or an iterator if an argument may have no end."""
    has_end = all(hasattr(x, "__len__") for x in arguments[function is not zip :])
    return list(function(*arguments)) if has_end else function(*arguments)


def list_of_range(*arguments):
    """What range returns in Python 2, unless that is large."""
    return list(range(*arguments)) if len(range(*arguments)) <= 1000000 else range(*arguments)


def load(file, **arguments):
    """pickle.load, which takes files opened as text and Python 2's strings, too."""
    return pickle.load(getattr(file, "buffer", file), **dict({"encoding": "latin1"}, **arguments))


OLD_METHODS = "has_key next keys values items iterkeys itervalues iteritems viewkeys viewvalues viewitems".split()
OLD_BUILTINS = dict(basestring=str, file=open, intern=sys.intern, long=int, raw_input=input, reduce=functools.reduce)
OLD_BUILTINS.update(reload=importlib.reload, unichr=chr, unicode=str, xrange=range)
OLD_BUILTINS["cmp"] = lambda a, b: (a > b) - (a < b)
PYTHON_2 = {f.__name__: functools.partial(list_of, f) for f in (filter, map, zip)}
PYTHON_2.update(range=list_of_range, _divide=divide, _divided=divided, _old_method=old_method)
OLD_MODULES = dict(ConfigParser="configparser", Queue="queue", StringIO="io", cStringIO="io", commands="subprocess")
OLD_MODULES.update(Tkinter="tkinter", httplib="http.client", urllib2="urllib.request", urlparse="urllib.parse")
OLD_NAMES = {
    "collections": {name: getattr(collections.abc, name) for name in collections.abc.__all__},
    "inspect": {"getargspec": inspect.getfullargspec},
    "itertools": {"izip": zip, "imap": map, "ifilter": filter, "izip_longest": itertools.zip_longest},
    "numpy": dict(float=float, int=int, bool=bool, object=object, str=str, complex=complex, long=int, unicode=str),
    "sys": {"maxint": sys.maxsize, "setdefaultencoding": lambda name: None},
    "time": {"clock": time.perf_counter},
}
OLD_NAMES["numpy"].update(float_=np.float64, Inf=np.inf, NaN=np.nan, NAN=np.nan, product=np.prod)
OLD_PICKLE = types.ModuleType("pickle")
vars(OLD_PICKLE).update(vars(pickle), load=load, loads=functools.partial(pickle.loads, encoding="latin1"))


class Python2(ast.NodeTransformer):
    """Gives a file Python 2's division and methods, by calls of the functions above."""

    def __init__(self, division):
        self.division = division

    def visit_Attribute(self, node):
        self.generic_visit(node)
        is_old = node.attr in OLD_METHODS and isinstance(node.ctx, ast.Load)
        return call(node, "_old_method", node.value, ast.Constant(node.attr)) if is_old else node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        is_division = self.division and isinstance(node.op, ast.Div)
        return call(node, "_divide", node.left, node.right) if is_division else node

    def visit_AugAssign(self, node):
        self.generic_visit(node)
        if not self.division or not isinstance(node.op, ast.Div):
            return node
        old = copy.copy(node.target)
        old.ctx = ast.Load()
        return ast.copy_location(ast.Assign([node.target], call(node, "_divided", old, node.value)), node)


def call(node, function, *arguments):
    """The call of a function in place of a node, at whose line it stands."""
    done = ast.Call(ast.Name(function, ast.Load()), list(arguments), [])
    return ast.fix_missing_locations(ast.copy_location(done, node))


def is_python_3(tree):
    """Whether a file has syntax that Python 2 lacks."""
    only = (ast.JoinedStr, ast.AnnAssign, ast.AsyncFunctionDef, ast.MatMult, ast.Nonlocal, ast.YieldFrom)
    parts = ("annotation", "returns", "kwonlyargs", "cause")  # of arguments, functions and raise
    return any(isinstance(node, only) or any(getattr(node, part, None) for part in parts) for node in ast.walk(tree))


@functools.lru_cache(maxsize=None)
def compiled(source, path):
    """The code of one of the program's files, and its builtins, which are Python's with those of Python 2."""
    tree = ast.parse(source, path)
    if path == OPTIONS.program and is_python_3(tree):
        OPTIONS.python3 = True
    names = types.ModuleType("builtins")
    vars(names).update(vars(builtins), __import__=program_import, **OLD_BUILTINS)
    if not OPTIONS.python3 and not is_python_3(tree):
        futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        tree = Python2("division" not in [alias.name for node in futures for alias in node.names]).visit(tree)
        vars(names).update(PYTHON_2)
    return compile(tree, path, "exec", dont_inherit=True), names


# ---- The program's files ---------------------------------------------------------------------------------------------
OTHERS = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), FORKS]
OTHERS = tuple(os.path.realpath(path) + os.sep for path in OTHERS)
# What tells a copy of the toolbox from others, in its source.
FAMILIES = [("loupe_keras", "kernel_W1"), ("epcnet", "class G_VLAD"), ("cvmnet", "do_dim_reduction")]
FAMILIES += [("soccernet_multimodal", "suffix_tensor_name"), ("ficlnet", r"batch_normalization\([^)]*name=.bn.")]
FAMILIES += [("pointnetvlad", "scope=.bn."), ("loupe", "class NetFV")]


def is_program(path):
    """Whether a file is the program's: neither installed, nor Python's own, nor this project's."""
    path = os.path.realpath(path)
    is_installed = {"site-packages", "dist-packages"} & set(path.split(os.sep))
    return not is_installed and not path.startswith(OTHERS)


def program_import(name, globals=None, locals=None, fromlist=(), level=0):
    """The import statement of the program's files."""
    top = name.partition(".")[0]
    if level == 0 and top == "tensorflow":
        return import_tensorflow(name, fromlist or ())
    if level == 0 and top in ("cPickle", "pickle"):
        return OLD_PICKLE
    if level == 0 and name in OLD_MODULES and importlib.util.find_spec(name) is None:
        return importlib.import_module(OLD_MODULES[name])
    package = (globals or {}).get("__package__")
    if level == 0 and package and top not in sys.modules and importlib.util.find_spec(top) is None:
        level = int(importlib.util.find_spec("." + top, package) is not None)  # Python 2's import from the same package
    module = PYTHON_IMPORT(name, globals, locals, fromlist, level)
    for old, value in OLD_NAMES.get(top, {}).items() if level == 0 else ():
        vars(sys.modules[top]).setdefault(old, value)
    return module


class ProgramFinder:
    """Finds the program's modules, and the loupe that it is to have."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        is_loupe = name.rpartition(".")[2] in ("loupe", "loupe_keras")
        if is_loupe and OPTIONS.loupe not in (None, "own"):
            return importlib.machinery.ModuleSpec(name, LoupeLoader)
        # Each entry by itself, because the program's own loupe counts, wherever this project's is on the path.
        for entries in [[entry] for entry in path or sys.path] if is_loupe else [path]:
            spec = importlib.machinery.PathFinder.find_spec(name, entries)
            if spec and type(spec.loader) is importlib.machinery.SourceFileLoader and is_program(spec.origin):
                spec.loader = ProgramLoader(name, spec.origin)
                if not is_loupe or is_copy(spec.origin, spec.loader.get_source(name)):
                    return spec
        if name == "loupe" and OPTIONS.loupe == "own":
            raise ImportError("--loupe own: expected a loupe.py of the program's, found none")
        return None


class ProgramLoader(importlib.machinery.SourceFileLoader):
    """Loads one of the program's files, always from its source."""

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__builtins__ = compiled(self.get_data(self.path), self.path)[1]
        return module

    def get_code(self, fullname):
        return compiled(self.get_data(self.path), self.path)[0]


class LoupeLoader:
    """Loads what `--loupe` names, in place of the program's copy."""

    @staticmethod
    def create_module(spec):
        added = [os.path.dirname(HERE), HERE, FORKS]
        sys.meta_path.remove(ProgramFinder)
        sys.path[:0] = added
        try:
            sys.modules.pop(spec.name, None)
            importlib.import_module("loupe")  # which the modules of examples/forks import, too
            return importlib.import_module(OPTIONS.loupe)
        finally:
            del sys.path[: len(added)]
            sys.meta_path.insert(0, ProgramFinder)

    @staticmethod
    def exec_module(module):
        pass


def is_copy(path, source):
    """Whether a loupe.py is a program's copy. If it is of a known family, a line on stderr names the faster module."""
    if "__version__" in source:
        return False  # this project's module
    families = [name for name, mark in FAMILIES if re.search(mark, source)]
    if families and OPTIONS.loupe is None:
        print(f"legacy: {path} is known; --loupe {families[0]} takes the faster module", file=sys.stderr)
    return True


def report(kind, error, trace):
    """Writes an error as Python does, but without this file's lines; a SyntaxError or a missing tf_keras in one line."""
    if isinstance(error, SyntaxError) and os.path.isfile(error.filename or "") and is_program(error.filename):
        print(f"legacy: {error.filename}:{error.lineno}: {error.msg} (2to3 converts Python 2)", file=sys.stderr)
    elif isinstance(error, KerasMissing):
        print(f"legacy: {error}", file=sys.stderr)
    else:
        link = error
        while link is not None:
            link.__traceback__ = trace = without_own_lines(link.__traceback__)
            link = link.__cause__ or link.__context__
        sys.__excepthook__(kind, error, error.__traceback__)


def without_own_lines(trace):
    if trace is None:
        return None
    trace.tb_next = without_own_lines(trace.tb_next)
    path = trace.tb_frame.f_code.co_filename
    return trace.tb_next if path == report.__code__.co_filename or "importlib" in path else trace


def install():
    """Has the program's modules found and read as the program's; has to come before TensorFlow."""
    sys.meta_path.insert(0, ProgramFinder)
    sys.excepthook = report
    if importlib.util.find_spec("tf_keras"):
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def run(name):
    """Runs the program as a module of this name."""
    module, spec = types.ModuleType(name), None
    if OPTIONS.module:
        spec = importlib.util.find_spec(OPTIONS.module)
        if spec and spec.submodule_search_locations:
            spec = importlib.util.find_spec(OPTIONS.module + ".__main__")
        if spec is None:
            sys.exit(f"{sys.executable}: No module named {OPTIONS.module}")
        OPTIONS.program = spec.origin
    module.__file__, module.__spec__, module.__package__ = OPTIONS.program, spec, spec.parent if spec else None
    module.__loader__ = ProgramLoader(name, OPTIONS.program)
    code, module.__builtins__ = compiled(module.__loader__.get_data(OPTIONS.program), OPTIONS.program)
    if name == "__main__":
        sys.modules[name] = module
    exec(code, vars(module))
    return vars(module)


def preparation_data(name, prepared=multiprocessing.spawn.get_preparation_data):
    """What multiprocessing tells a process that it spawns: to run this file, which then runs the program."""
    data = dict(prepared(name), init_main_from_path=os.path.abspath(__file__))
    data.pop("init_main_from_name", None)
    return data


def main():
    forks = sorted(name[:-3] for name in os.listdir(FORKS) if name.endswith(".py")) if os.path.isdir(FORKS) else []
    loupes = ["own"] + ["loupe"] * bool(forks) + forks
    parser = argparse.ArgumentParser(description=__doc__.split("::")[0] + ".", allow_abbrev=False)
    parser.add_argument("--loupe", metavar="NAME", choices=loupes, help="what import loupe is: " + ", ".join(loupes))
    parser.add_argument("--python3", action="store_true", help="the program is written in Python 3")
    parser.add_argument("-m", action="store_true", help="the program is a module, not a file")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    path = os.path.abspath(options.program)
    if not options.m and not os.path.isfile(path):
        parser.exit(2, f"{sys.executable}: can't open file {path!r}: [Errno 2] No such file or directory\n")
    OPTIONS.loupe, OPTIONS.python3 = options.loupe, options.python3
    OPTIONS.module, OPTIONS.program = options.program if options.m else None, path
    os.environ[COMMAND] = json.dumps(vars(OPTIONS))
    multiprocessing.spawn.get_preparation_data = preparation_data
    sys.modules["legacy"] = sys.modules["__main__"]
    sys.argv = [options.program] + options.arguments
    sys.path[0] = os.getcwd() if options.m else os.path.dirname(os.path.realpath(path))
    install()
    run("__main__")


def install_for(importer):
    """What `import legacy` does for the module that says it, whose globals these are."""

    def import_(name, globals=None, *arguments, **keywords):
        chosen = program_import if globals is importer else PYTHON_IMPORT
        return chosen(name, globals, *arguments, **keywords)

    install()
    builtins.__import__ = import_
    for name, value in OLD_BUILTINS.items():
        importer.setdefault(name, value)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # In a process that multiprocessing spawns: a module that the program's names cannot overwrite runs it.
    spec = importlib.util.spec_from_file_location("_legacy", __file__)
    sys.modules["legacy"] = legacy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(legacy)
    vars(legacy.OPTIONS).update(json.loads(os.environ[COMMAND]))
    legacy.install()
    multiprocessing.spawn.get_preparation_data = legacy.preparation_data
    globals().update(legacy.run(__name__))
elif __name__ != "_legacy":
    frame = sys._getframe(1)
    while "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    install_for(frame.f_globals)
