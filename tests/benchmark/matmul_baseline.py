"""The matrix products that a step cannot avoid, each in its fastest form: the lower bound.

`layer_step` builds the products of a layer, and `model_step` those of a published model with Adam's updates. No other
ops run between the products. Their operands are variables, so that TensorFlow cannot fold them to constants. Each
product waits for the products whose results a real step would use, so that they run in that order.

A product ``C = A B`` has two orientations: ``matmul(A, B)``, and ``matmul(B', A')``, which gives ``C'``. TensorFlow has
other kernels for batches of products. So each orientation can also be a batch of one, or a batch of blocks of the first
operand's rows, and an op can transpose an operand first. A short timing picks the fastest form. An activation may stay
transposed, because its layout in memory is free. The gradients of parameters and of the input have a fixed layout, so
that for them the second orientation includes transposing the result.
"""

import collections
import math
import re
import statistics
import time

import tensorflow.compat.v1 as tf


class Product(
    collections.namedtuple(
        "Product",
        "name left right transpose_left transpose_right has_layout after",
        defaults=(False, False, False, ()),
    )
):
    """The product of the operands named `left` and `right`. It waits for the products named in `after`. With
    `has_layout`, the result must not stay transposed."""


def layer_step(method, sizes, training, input_gradient, session):
    """Builds the products of a layer in the default graph and initialises their operands.

    Args:
      method: the name of the pooling method.
      sizes: B, N, D, K and O.
      training: whether to build the gradients of parameters and activations.
      input_gradient: whether to build the gradient of the input too.
      session: a session in the default graph, for the timings.

    Returns:
      The products' tensors, a dict by name; a list of operations to run beside them, which is empty; and the form of
      each product, a dict of texts such as "transposed, batch of one".
    """
    products = _layer_products(method, training, input_gradient)
    results, chosen = _built(products, _layer_operands(method, *sizes, session), session)
    return results, [], chosen


def model_step(method, settings, training, session):
    """Does the same as `layer_step`, for the published model of these settings (see `published`).

    The products do not include the gradients of the frames. The batch norm of the frames is trained, but its scale can
    be applied to weights and sums instead, as in examples/youtube8m. The reference has these gradients, as the graph of
    2017 did. The operations of a training step are Adam's updates of the weights.
    """
    B, N = settings.batch_size, settings.iterations  # noqa: N806
    features = zip(settings.feature_sizes, settings.feature_clusters)
    shapes = {}
    for number, (size, clusters) in enumerate(features):
        shapes.update(_pooling_shapes(f"{number}/", method, B, N, size, clusters))
    dense = _dense_layers(method, settings)
    for x, rows, weights, d_y, columns in dense:
        shapes.update({x: [B, rows], weights: [rows, columns], d_y: [B, columns]})
    variables = _variables(shapes, session)
    products = _model_products(method, [f"{number}/" for number in range(len(settings.feature_sizes))], dense, training)
    results, chosen = _built(products, _operands(variables, B, N), session)
    if not training:
        return results, [], chosen
    known = set(tf.global_variables())
    weights = [name for name in variables if name.endswith("_weights")]
    gradients = [(results[re.sub(r"(\w+)$", r"d_\1", name)], variables[name]) for name in weights]
    update = tf.train.AdamOptimizer(settings.learning_rate).apply_gradients(gradients)
    session.run(tf.variables_initializer([v for v in tf.global_variables() if v not in known]))
    return results, [update], chosen


def _dense_layers(method, settings):
    """The dense layers of a model: input, its width, weights, the output's gradient, and the output's width.

    The inputs are operands of their own, not the outputs of other layers, which changes no product.
    """
    classes, hidden = settings.num_classes, settings.hidden_size
    width = sum(_width(method, *sizes) for sizes in zip(settings.feature_sizes, settings.feature_clusters))
    layers = [("descriptor", width, "hidden1_weights", "d_hidden", hidden)]
    if settings.gating:
        layers.append(("hidden", hidden, "gating_weights", "d_gates", hidden))
    layers.append(("gated", hidden, "gates_weights", "d_mixture", classes * (settings.mixtures + 1)))
    layers.append(("gated", hidden, "experts_weights", "d_experts", classes * settings.mixtures))
    if settings.probability_gating:
        layers.append(("probabilities", classes, "prob_weights", "d_prob", classes))
    return layers


def _built(products, operands, session):
    """The results of the products and the form of each, two dicts by name."""
    results, chosen = {}, {}
    for product in products:
        left, right = operands[product.left], operands[product.right]
        builders = _candidates(product, left, right)
        name = chosen[product.name] = _fastest(session, {name: build() for name, build in builders.items()})
        with tf.control_dependencies([results[earlier] for earlier in product.after]):
            results[product.name] = builders[name]()
    return results, chosen


def _variables(shapes, session):
    """An initialised variable for each operand, by name."""
    initializer = tf.random_normal_initializer(0, 0.1)
    variables = {
        name: tf.get_variable(name.replace("^", ""), shape, initializer=initializer, use_resource=True)
        for name, shape in shapes.items()
    }
    session.run([variable.initializer for variable in variables.values()])
    return variables


def _operands(variables, B, N):  # noqa: N803
    """The variables' values, and also samples and assignments as lists."""
    operands = {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}
    for name, rows in list(operands.items()):
        if name.split("/")[-1] in ("x", "x^2", "assignment"):
            operands[name + " in lists"] = tf.reshape(rows, [B, N, rows.shape[1]])
    return operands


def _width(method, D, K):  # noqa: N803
    return {"NetFV": 2 * D * K, "SoftDBoW": K}.get(method, D * K)


def _moments(method):
    """The sums over samples that the method needs, with the operand of each."""
    return {"SoftDBoW": {}, "NetFV": {"first": "x", "second": "x^2"}}.get(method, {"first": "x"})


def _pooling_shapes(prefix, method, B, N, D, K):  # noqa: N803
    shapes = {"x": [B * N, D], "cluster_weights": [D, K], "assignment": [B * N, K], "d_assignment": [B * N, K]}
    for moment, x in _moments(method).items():
        shapes.update({x: [B * N, D], "d_" + moment: [B, D, K]})
    return {prefix + name: shape for name, shape in shapes.items()}


def _layer_operands(method, B, N, D, K, O, session):  # noqa: E741, N803
    shapes = _pooling_shapes("", method, B, N, D, K)
    shapes.update({"descriptor": [B, _width(method, D, K)], "hidden1_weights": [_width(method, D, K), O]})
    shapes.update({"output": [B, O], "d_output": [B, O], "gating_weights": [O, O], "d_gates": [B, O]})
    return _operands(_variables(shapes, session), B, N)


def _layer_products(method, training, input_gradient):
    products = _pooling("", method)
    products += [
        Product("projection", "descriptor", "hidden1_weights", after=_last("", method)),
        Product("gating", "output", "gating_weights", after=["projection"]),
    ]
    if training:
        products += _gradients("d_output", "output", "gating_weights", "d_gates", ["gating"])
        products += _gradients("d_descriptor", "descriptor", "hidden1_weights", "d_output", ["d_output"])
        products += _pooling_gradients("", method, input_gradient, ["d_descriptor"])
    return products


def _model_products(method, features, dense, training):
    products = [product for feature in features for product in _pooling(feature, method)]
    last = [name for feature in features for name in _last(feature, method)]
    for x, _, weights, _, _ in dense:
        products.append(Product("times " + weights, x, weights, after=last))
        last = ["times " + weights]
    if training:
        for x, _, weights, d_y, _ in reversed(dense):
            name = f"d_{x} by {weights}"
            products += _gradients(name, x, weights, d_y, last)
            last = [name]
        for feature in features:
            products += _pooling_gradients(feature, method, False, last)
    return products


def _pooling(prefix, method):
    """The products from samples to the aggregations."""
    assignment = prefix + "assignment"
    products = [Product(assignment, prefix + "x", prefix + "cluster_weights")]
    for moment, x in _moments(method).items():
        lists = f"{prefix}{x} in lists", assignment + " in lists"
        products.append(Product(prefix + moment, *lists, transpose_left=True, after=[assignment]))
    return products


def _last(prefix, method):
    """The names of the products that the descriptor waits for."""
    return [prefix + moment for moment in _moments(method)] or [prefix + "assignment"]


def _pooling_gradients(prefix, method, input_gradient, after):
    """The gradients of the products from samples to the aggregations."""
    moments = _moments(method)
    products = [
        Product(f"{prefix}d_assignment of {moment}", f"{prefix}{x} in lists", f"{prefix}d_{moment}", after=after)
        for moment, x in moments.items()
    ]
    before = [product.name for product in products] or after
    x, weights, d_assignment = prefix + "x", prefix + "cluster_weights", prefix + "d_assignment"
    products.append(
        Product(f"{prefix}d_cluster_weights", x, d_assignment, transpose_left=True, has_layout=True, after=before)
    )
    if input_gradient:
        turned = {"transpose_right": True, "has_layout": True}
        for moment in moments:
            lists = prefix + "assignment in lists", f"{prefix}d_{moment}"
            products.append(Product(f"{prefix}d_x of {moment}", *lists, after=after, **turned))
        products.append(Product(f"{prefix}d_x of assignment", d_assignment, weights, after=before, **turned))
    return products


def _gradients(name, x, weights, d_y, after):
    """The gradients of x times weights. `name` names the gradient of x."""
    return [
        Product(name, d_y, weights, transpose_right=True, after=after),
        Product("d_" + weights, x, d_y, transpose_left=True, has_layout=True, after=after),
    ]


def _candidates(product, left, right):
    """Functions that build the product in each orientation and form, by name."""

    flags = product.transpose_left, product.transpose_right
    orientations = {"direct": (left, right, *flags), "transposed": (right, left, not flags[1], not flags[0])}
    forms = {"": tf.matmul}
    if left.shape.ndims == 2:
        forms.update({", batch of one": _batch_of_one, ", blocks": _blocks, ", transposed first": _transposed_first})

    def builder(multiply, orientation):
        def build():
            result = multiply(*orientations[orientation])
            is_to_turn = orientation == "transposed" and product.has_layout
            return tf.linalg.matrix_transpose(result) if is_to_turn else result

        return build

    candidates = {}
    for orientation, (_, _, transpose_a, transpose_b) in orientations.items():
        for form, multiply in forms.items():
            is_possible = {_blocks: not transpose_a, _transposed_first: transpose_a or transpose_b}.get(multiply, True)
            if is_possible:
                candidates[orientation + form] = builder(multiply, orientation)
    return candidates


def _batch_of_one(a, b, transpose_a, transpose_b):
    product = tf.matmul(a[tf.newaxis], b[tf.newaxis], transpose_a=transpose_a, transpose_b=transpose_b)
    return tf.reshape(product, product.shape[1:])


def _blocks(a, b, transpose_a, transpose_b):
    """The product of blocks of a's rows, at most 64."""
    assert not transpose_a
    rows, width = a.shape.as_list()
    blocks = tf.reshape(a, [math.gcd(rows, 64), -1, width])
    product = tf.matmul(blocks, b[tf.newaxis], transpose_b=transpose_b)
    return tf.reshape(product, [rows, product.shape[-1]])


def _transposed_first(a, b, transpose_a, transpose_b):
    """The product after ops that transpose the operands, which TensorFlow would remove if they had two dimensions."""

    def transposed(x):
        return tf.squeeze(tf.linalg.matrix_transpose(x[tf.newaxis]), 0)

    return tf.matmul(transposed(a) if transpose_a else a, transposed(b) if transpose_b else b)


def _fastest(session, candidates):
    """The name of the candidate that takes the least time."""
    runs = {name: session.make_callable([result.op]) for name, result in candidates.items()}
    for run in runs.values():
        run()  # The first run plans and allocates.
    first = {name: _seconds(run) for name, run in runs.items()}
    # Slow candidates need no more turns.
    times = {name: [seconds] for name, seconds in first.items() if seconds < 2 * min(first.values())}
    for _ in range(4):
        for name in times:
            times[name].append(_seconds(runs[name]))
    return min(times, key=lambda name: statistics.median(times[name]))


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
