"""Recognises the handwritten digits of examples/digits.py with a Keras model, which it saves and loads again."""

from loupe_examples import files
from loupe_examples.commandline import Parser, positive, run, seed
from loupe_examples.errors import UserError
from digits import digits, writable

METHODS = ["SoftDBoW", "NetRVLAD", "NetVLAD", "NetFV"]


def main(argv=None):
    parser = Parser(__doc__)
    parser.add_argument("--method", choices=METHODS, default="NetVLAD", help="what pools")
    parser.add_argument("--epochs", type=positive, default=80, help="how often the training digits are seen")
    parser.add_argument("--seed", type=seed, default=1, help="of the weights and of the order of the digits")
    parser.add_argument("--output", type=writable, default="digits.keras", metavar="KERAS", help="the model")
    options = parser.parse_args(argv)
    if not options.output.endswith(".keras"):
        parser.error(f"argument --output: expected a name that ends with .keras, got {options.output}")
    try:
        from tf2 import PoolingLayer, keras
    except ImportError as error:
        raise UserError(error) from error

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


if __name__ == "__main__":
    run(main)
