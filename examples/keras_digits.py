"""Trains a Keras model on the handwritten digits of examples/digits.py, saves it, loads it and tests it."""

from loupe_examples import commandline

commandline.prepare()

from digits import digits
from loupe_examples import files
from loupe_examples.commandline import positive, seed, writable
from loupe_examples.errors import UserError
from tf2 import PoolingLayer, keras

METHODS = ["SoftDBoW", "NetRVLAD", "NetVLAD", "NetFV"]


def main(argv=None):
    options = parsed(argv)
    data = digits(positions=False)
    rate = keras.optimizers.schedules.CosineDecay(0.01, options.epochs * -(-len(data.train_lists) // 128))
    keras.utils.set_random_seed(options.seed)
    pooling = PoolingLayer(options.method, feature_size=9, max_samples=36, cluster_size=32, output_dim=64, decay=0.9)
    model = keras.Sequential([keras.Input([36, 9]), pooling, keras.layers.Dense(10, "softmax")])
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data.train_lists, data.train_labels, batch_size=128, epochs=options.epochs)
    try:
        with files.whole(options.output, suffix=".keras") as partial:
            model.save(partial)
    except OSError as error:
        raise UserError(f"{options.output}: {error.strerror or error}") from error
    _, accuracy = keras.models.load_model(options.output).evaluate(data.test_lists, data.test_labels, verbose=0)
    print(f"accuracy of {options.output} on {len(data.test_labels)} other digits: {accuracy:.3f}")


def parsed(argv):
    parser = commandline.Parser(__doc__)
    parser.add_argument("--method", choices=METHODS, default="NetVLAD", help="the pooling method")
    parser.add_argument("--epochs", type=positive, default=80, help="passes over the training digits")
    parser.add_argument("--seed", type=seed, default=1, help="the seed of the weights and of the order of the digits")
    parser.add_argument("--output", type=writable, default="digits.keras", metavar="KERAS", help="the model")
    options = parser.parse_args(argv)
    if not options.output.endswith(".keras"):
        parser.error(f"argument --output: expected a name that ends with .keras, got {options.output}")
    return options


if __name__ == "__main__":
    commandline.run(main)
