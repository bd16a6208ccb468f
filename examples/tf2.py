"""The layers of loupe for TensorFlow 2: `PoolingLayer` for Keras, `PoolingModule` for all else. Import or copy it.

    from tf2 import PoolingLayer

    model = keras.Sequential([
        keras.Input([100, 1024]),
        PoolingLayer("NetVLAD", feature_size=1024, max_samples=100, cluster_size=64, output_dim=512),
        keras.layers.Dense(10),
    ])

loupe builds TensorFlow 1 graphs, and asks for its variables by ``tf.compat.v1.get_variable``. In TensorFlow 2 nothing
keeps what that makes. So here the layer or module owns the variables: it makes them once, by loupe's own initialisers,
and hands them over whenever ``forward`` asks, through a custom getter of the variable scope. They are trained and
saved like all others of TensorFlow 2, and ``forward`` is what it is in a session. For TensorFlow 2.12 and later.
"""

import collections
import inspect
import numbers

import loupe
import tensorflow as tf
import tf_slim as slim

if tf.__version__.startswith("1."):
    raise ImportError(
        f"tf2: expected TensorFlow 2.12 or later, got {tf.__version__}. On TensorFlow 1, build the layers of loupe in "
        "a graph and run them in a session."
    )

keras = tf.keras
IS_KERAS_2 = not hasattr(keras, "version") or keras.version().startswith("2.")

Wanted = collections.namedtuple("Wanted", "shape dtype initializer trainable")


class Pooling:
    """What `PoolingLayer` and `PoolingModule` share: a layer of loupe whose variables somebody else owns.

    Args: those of `PoolingLayer`.
    """

    def __init__(self, method, feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, decay):
        self.method = method_of(method)
        if not isinstance(decay, numbers.Real) or not 0 <= decay < 1:
            raise ValueError(f"decay: expected a number from 0 to below 1, got {decay!r}")
        self.decay = float(decay)
        arguments = {
            "feature_size": feature_size,
            "max_samples": 1 if max_samples is None else max_samples,
            "cluster_size": cluster_size,
            "output_dim": output_dim,
            "gating": gating,
            "add_batch_norm": add_batch_norm,
        }
        layer = self.method(**arguments, is_training=False)  # Checks them, and makes plain numbers of them.
        self.arguments = {name: getattr(layer, name) for name in arguments}
        if max_samples is None:
            self.arguments["max_samples"] = None
        self.wanted, self.width = self._read_off_a_graph()

    def _read_off_a_graph(self):
        """The variables that ``forward`` asks for, a dict of `Wanted` by name, in order; and its output's width."""
        wanted = collections.OrderedDict()

        def note(getter, name, *args, **kwargs):
            variable = getter(name, *args, **kwargs)
            initializer = kwargs.get("initializer")
            wanted[name] = Wanted(tuple(variable.shape), variable.dtype.base_dtype, initializer, variable.trainable)
            return variable

        with tf.Graph().as_default():
            samples = self.arguments["max_samples"] or 1
            lists = tf.compat.v1.placeholder(tf.float32, [None, samples, self.arguments["feature_size"]])
            y = self._forward(note, lists, None, False)
        return wanted, y.shape[-1]

    def variables(self, create):
        """The variables that ``forward`` asks for, a dict by name, each made by ``create(name, initial, wanted)``.

        ``initial(shape, dtype)`` is the initial value.
        """
        # Not in the function that may be being traced, which would make them anew each time.
        with tf.init_scope():
            return {name: create(name, initial_value(wanted), wanted) for name, wanted in self.wanted.items()}

    @tf.autograph.experimental.do_not_convert
    def pool(self, variables, x, num_samples, training):
        """The output [B, O] of ``forward`` with these variables, a dict by name, whose moving averages it updates."""
        return self._forward(lambda getter, name, *args, **kwargs: variables[name], x, num_samples, training)

    def _forward(self, getter, x, num_samples, training):
        x = tf.convert_to_tensor(x)
        arguments = dict(self.arguments, is_training=training)
        if arguments["max_samples"] is None:
            if x.shape.rank == 2:
                raise ValueError(f"x: expected lists or maps where max_samples is None, got rows of shape {x.shape}")
            counted = x.shape[1:-1].num_elements()
            arguments["max_samples"] = tf.reduce_prod(tf.shape(x)[1:-1]) if counted is None else counted
        # The root scope, whatever scope the caller is in, because the names are those of the dict.
        scope = tf.compat.v1.VariableScope(reuse=tf.compat.v1.AUTO_REUSE, name="", use_resource=True)
        with tf.compat.v1.variable_scope(scope, custom_getter=getter, auxiliary_name_scope=False):
            # Without a collection, batch norm updates its moving averages where it is run, once, and nobody has to.
            with slim.arg_scope([slim.batch_norm], decay=self.decay, updates_collections=None):
                return self.method(**arguments).forward(x, num_samples)

    def load(self, variables, path, scope):
        """Assigns the variables of a TensorFlow 1 checkpoint, all of them or, with an error, none."""
        try:
            reader = tf.train.load_checkpoint(path)
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise ValueError(f"path: expected a checkpoint, got {path!r} ({error})") from error
        shapes, prefix = reader.get_variable_to_shape_map(), scope.rstrip("/") + "/" if scope else ""
        problems = []
        for name in variables:
            expected, got = list(self.wanted[name].shape), shapes.get(prefix + name)
            if got != expected:
                problems.append(
                    f"{prefix}{name}: expected shape {expected}, got " + ("none" if got is None else f"{got}")
                )
        if problems:
            raise ValueError(f"{path}: " + "; ".join(problems))
        for name, variable in variables.items():
            variable.assign(reader.get_tensor(prefix + name))


def initial_value(wanted):
    """A function of shape and dtype, as Keras wants it, for the initialiser that get_variable was given."""
    initializer = wanted.initializer
    if initializer is None:
        initializer = tf.compat.v1.glorot_uniform_initializer()
    elif not callable(initializer):
        values = tf.get_static_value(initializer) if tf.is_tensor(initializer) else initializer
        initializer = tf.compat.v1.constant_initializer(values)
    return lambda shape=wanted.shape, dtype=None, **_: initializer(shape, wanted.dtype)


def method_of(method):
    """The class of the pooling method, for the class or its name."""
    if inspect.isclass(method) and issubclass(method, loupe.PoolingBaseModel):
        return method
    found, classes = {}, [loupe.PoolingBaseModel]
    for base in classes:
        classes += base.__subclasses__()
        # Of two with one name, loupe's, or the one that was defined last, such as again in a notebook.
        found.update((c.__name__, getattr(loupe, c.__name__, c)) for c in base.__subclasses__())
    if not isinstance(method, str) or method not in found:
        names = ", ".join(sorted(found))
        raise ValueError(
            f"method: expected a subclass of loupe.PoolingBaseModel or the name of one ({names}), got {method!r}"
        )
    return found[method]


class PoolingModule(tf.Module):
    """A layer of loupe as a ``tf.Module``, for eager code and ``tf.function``.

    ``module(x, num_samples=None, training=False)`` takes and returns what ``forward`` of the layer does. With
    `training`, a bool or a scalar bool tensor, batch norm uses the statistics of the batch and updates its moving
    averages. Take gradients by a ``tf.GradientTape`` and save the variables by ``tf.train.Checkpoint``. To export the
    module, give it a function with a signature, which what is loaded then has too::

        module.serve = tf.function(module, input_signature=[tf.TensorSpec([None, 100, 1024])])
        tf.saved_model.save(module, path)

    Args: those of `PoolingLayer`.
    """

    def __init__(
        self,
        method,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        decay=0.999,
        name=None,
    ):
        super().__init__(name=name)
        self._pooling = Pooling(
            method, feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, decay
        )
        self.variables_by_name = self._pooling.variables(
            lambda name, initial, wanted: tf.Variable(
                initial, trainable=wanted.trainable, name=name, shape=wanted.shape, dtype=wanted.dtype
            )
        )

    def __call__(self, x, num_samples=None, training=False):
        return self._pooling.pool(self.variables_by_name, x, num_samples, training)

    def load_tf1_checkpoint(self, path, scope=""):
        """Takes the values of a TensorFlow 1 checkpoint.

        Args:
          path: of the checkpoint, such as ``train/model.ckpt-3000``, or of its directory, for the latest there.
          scope: the variable scope in which the layer was built, such as ``"tower/video"``. Default none.

        Raises:
          ValueError: if it is no checkpoint, or variables are missing or of another shape, all of which are listed. The
            module stays as it was.
        """
        self._pooling.load(self.variables_by_name, path, scope)


@keras.utils.register_keras_serializable("loupe")
class PoolingLayer(keras.layers.Layer):
    """A layer of loupe as a Keras layer.

    ``layer(x, num_samples=None)`` takes lists ``[B, N, D]`` or maps ``[B, H, W, D]`` and returns ``[B, O]``. How many
    leading samples of each list are real is told by `num_samples`, integers ``[B]`` or ``[B, 1]``; or else by a Keras
    mask, ``[B, N]`` or ``[B, H, W]``, of any order. Under ``training=True``, which ``fit`` sets, batch norm uses the
    statistics of the batch and updates its moving averages; not so in a layer with ``trainable = False``, as in Keras's
    own batch norm. XLA fails to train lengths or masks with batch norm: compile such a model with
    ``jit_compile=False``, because Keras 3 turns XLA on by itself where there is a GPU.

    Args:
      method: ``"NetVLAD"``, ``"NetRVLAD"``, ``"NetFV"`` or ``"SoftDBoW"``; or a subclass of
        `loupe.PoolingBaseModel`, or its name. Its constructor is called with the arguments below, by name.
      feature_size: D, the width of a sample, a positive integer.
      max_samples: N, the number of samples in each list, a positive integer; None takes it from each input.
      cluster_size: K, the number of clusters, a positive integer.
      output_dim: O, the width of the output, a positive integer; None for the bare descriptor.
      gating: whether Context Gating follows. Default True.
      add_batch_norm: whether clusters and gates have batch norm, and biases otherwise. Default True.
      decay: that of batch norm's moving averages, from 0 to below 1. Default 0.999, for trainings of thousands of
        steps; 0.9 suits short ones.
      kwargs: those of a Keras layer, such as `name`. The layer computes in float32 under every policy.

    Raises:
      RuntimeError: if Keras 3 runs on another backend than TensorFlow.
      TypeError, ValueError: as the layers of loupe do, for arguments and inputs.
    """

    def __init__(
        self,
        method,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        decay=0.999,
        **kwargs,
    ):
        if not IS_KERAS_2 and keras.backend.backend() != "tensorflow":
            raise RuntimeError(f"PoolingLayer: expected the backend tensorflow, got {keras.backend.backend()}")
        super().__init__(**dict(kwargs, dtype="float32"))
        self._pooling = Pooling(
            method, feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, decay
        )
        self.supports_masking = True

    def build(self, input_shape=None):
        if not self.built:
            options = {} if IS_KERAS_2 else {"autocast": False}
            self._pooling.owned = self._pooling.variables(
                lambda name, initial, wanted: self.add_weight(
                    # Keras 3 takes no slashes in names.
                    name=name.replace("/", "_"),
                    shape=wanted.shape,
                    dtype=wanted.dtype.name,
                    initializer=initial,
                    trainable=wanted.trainable,
                    **options,
                )
            )
        self.built = True

    @property
    def variables_by_name(self):
        """The variables, a dict by the names that they have in TensorFlow 1."""
        self.build()
        return dict(self._pooling.owned)

    def call(self, x, num_samples=None, training=None, mask=None):
        if x.shape.rank is None or x.shape.rank < 3:
            raise ValueError(f"x: expected lists [B, N, D] or maps [B, H, W, D], got shape {x.shape}")
        if num_samples is not None:
            num_samples = tf.convert_to_tensor(num_samples)
            num_samples = tf.squeeze(num_samples, axis=1) if num_samples.shape.rank == 2 else num_samples
        elif mask is not None:
            x, num_samples = real_first(x, mask)
        training = False if training is None or not self.trainable else training
        variables = {name: v if isinstance(v, tf.Variable) else v.value for name, v in self._pooling.owned.items()}
        return self._pooling.pool(variables, x, num_samples, training)

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._pooling.width)

    def get_config(self):
        return dict(
            super().get_config(),
            method=self._pooling.method.__name__,
            decay=self._pooling.decay,
            **self._pooling.arguments,
        )

    def load_tf1_checkpoint(self, path, scope=""):
        """Takes the values of a TensorFlow 1 checkpoint, as `PoolingModule.load_tf1_checkpoint` says."""
        self._pooling.load(self.variables_by_name, path, scope)


def real_first(x, mask):
    """The lists [B, N, D], their real samples first and otherwise in their order, and how many those are [B]."""
    lists = tf.reshape(x, tf.stack([tf.shape(x)[0], -1, x.shape[-1]]))
    mask = tf.reshape(tf.cast(mask, tf.int32), tf.shape(lists)[:2])
    order = tf.argsort(mask, axis=1, direction="DESCENDING", stable=True)
    return tf.gather(lists, order, batch_dims=1), tf.reduce_sum(mask, axis=1)
