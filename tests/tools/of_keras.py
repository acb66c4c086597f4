"""Files by Keras, of its own export and of tf2onnx."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

import numpy as np
from making import FILES, PREPARED, SIDE, decisive, entry, head, pool, targets


def keras_net(before: Sequence[Any], activation: str, prepare: Callable[[Any], Any], outputs: int = 3) -> Any:
    """A small convolutional network of Keras', with layers before it: [N, SIDE, SIDE, 3] -> [N, outputs]."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    x = inputs
    for layer in before:
        x = layer(x)
    for filters in (12, 16):
        # Without a bias the label would be the same on any scale that begins at 0.
        bias = keras.initializers.RandomNormal(stddev=0.3, seed=filters)
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu", bias_initializer=bias)(x)
    features = keras.layers.GlobalAveragePooling2D()(x)
    result = keras.layers.Dense(outputs, activation=activation, name="probabilities")(features)
    model = keras.Model(inputs, result)
    made = keras.Model(inputs, features).predict(prepare(pool()).astype(np.float32), verbose=0)
    weights, bias = head(made.astype(np.float64), targets(pool()))
    if outputs == 1:
        weights, bias = weights[:, :1] - weights[:, 2:], bias[:1] - bias[2:]
    model.get_layer("probabilities").set_weights([weights, bias])
    model(np.zeros((1, SIDE, SIDE, 3), np.float32))  # its export wants to have seen a call
    return model


def keras_answers(model: Any) -> Dict[str, Any]:
    return {name: model.predict(how(pool()).astype(np.float32), verbose=0) for name, how in PREPARED.items()}


def keras_rescaling() -> None:
    """Keras' own export of a model that begins with Rescaling(1 / 255), as its EfficientNets do."""
    import keras

    model = keras_net([keras.layers.Rescaling(1 / 255)], "softmax", PREPARED["bytes"])
    model.export(str(FILES / "keras_rescaling.onnx"), format="onnx", verbose=False)
    answers = keras_answers(model)
    seeds = decisive(answers, "bytes")
    flags = ["--resize", str(SIDE)]
    entry("keras_rescaling.onnx", ["keras", "tf2onnx"], seeds, answers["bytes"][seeds], args=flags)


def keras_normalization() -> None:
    """Keras' Normalization: its mean and variance come out as further inputs, without their values."""
    import keras

    normalization = keras.layers.Normalization()
    normalization.adapt(pool().astype(np.float32))
    model = keras_net([normalization], "softmax", PREPARED["bytes"])
    model.export(str(FILES / "keras_normalization.onnx"), format="onnx", verbose=False)


def keras_savedmodel() -> None:
    """vgg16.preprocess_input within the model, by way of a SavedModel: it keeps such constants."""
    import keras
    from keras.applications.vgg16 import preprocess_input

    model = keras_net([keras.layers.Lambda(preprocess_input)], "softmax", PREPARED["bytes"])
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", folder, "--opset", "17"]
        target = FILES / "keras_savedmodel.onnx"
        subprocess.run([*command, "--output", str(target)], check=True, capture_output=True)
    answers = keras_answers(model)
    seeds = decisive(answers, "bytes")
    flags = ["--resize", str(SIDE)]
    entry("keras_savedmodel.onnx", ["keras", "tf2onnx"], seeds, answers["bytes"][seeds], args=flags)


def keras_sigmoid() -> None:
    """A batch norm that has learnt the mean and the deviation of bytes, and a sigmoid for each class."""
    import keras

    norm = keras.layers.BatchNormalization()
    norm.build((None, SIDE, SIDE, 3))
    mean, variance = pool().mean((0, 1, 2)), pool().var((0, 1, 2))
    norm.set_weights([np.ones(3), np.zeros(3), mean, variance])
    model = keras_net([norm], "sigmoid", PREPARED["bytes"])
    model.export(str(FILES / "keras_sigmoid.onnx"), format="onnx", verbose=False)
    answers = keras_answers(model)
    seeds = decisive(answers, "bytes", apart=["unit", "imagenet", "symmetric"])
    flags = ["--resize", str(SIDE)]
    entry("keras_sigmoid.onnx", ["keras"], seeds, answers["bytes"][seeds], args=flags, multi_label=True)


def keras_mobilenet() -> None:
    """Preprocessed outside by mobilenet_v2.preprocess_input, as Teachable Machine's models are: -1..1."""
    from keras.applications.mobilenet_v2 import preprocess_input

    prepare = lambda x: preprocess_input(x.astype(np.float32))  # noqa: E731
    model = keras_net([], "softmax", prepare)
    to_onnx(model, FILES / "keras_mobilenet.onnx")
    answers = {**keras_answers(model), "symmetric": model.predict(prepare(pool()), verbose=0)}
    seeds = decisive(answers, "symmetric", apart=["imagenet"])
    entry(
        "keras_mobilenet.onnx",
        ["keras", "tf2onnx"],
        seeds,
        answers["symmetric"][seeds],
        args=["--resize", str(SIDE)],
        assumes=["--scaling symmetric"],
    )


def keras_unit() -> None:
    """Preprocessed outside by ImageDataGenerator(rescale=1/255): 0..1, which nothing in the file says."""
    model = keras_net([], "softmax", PREPARED["unit"])
    to_onnx(model, FILES / "keras_unit.onnx")
    answers = keras_answers(model)
    seeds = decisive(answers, "unit", apart=["imagenet"])
    flags = ["--resize", str(SIDE), "--scaling", "unit"]
    entry("keras_unit.onnx", ["keras", "tf2onnx"], seeds, answers["unit"][seeds], args=flags)


def keras_caffe() -> None:
    """Preprocessed outside by vgg16.preprocess_input: blue first, means subtracted from 0..255."""
    from keras.applications.vgg16 import preprocess_input

    prepare = lambda x: preprocess_input(x.astype(np.float32))  # noqa: E731
    model = keras_net([], "softmax", prepare)
    to_onnx(model, FILES / "keras_caffe.onnx")
    answers = {**keras_answers(model), "caffe": model.predict(prepare(pool()), verbose=0)}
    seeds = decisive(answers, "caffe")
    flags = ["--resize", str(SIDE), "--channels", "bgr"]
    flags += ["--mean", "0.48502,0.45796,0.40760", "--std", "0.0039216,0.0039216,0.0039216"]
    entry("keras_caffe.onnx", ["keras", "tf2onnx"], seeds, answers["caffe"][seeds], args=flags)


def keras_binary() -> None:
    """A single output with a sigmoid, as image_dataset_from_directory(label_mode="binary") wants it."""
    import keras

    rescaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
    model = keras_net([rescaling], "sigmoid", PREPARED["bytes"], outputs=1)
    to_onnx(model, FILES / "keras_binary.onnx")
    second = keras_answers(model)
    answers = {name: np.concatenate([1 - found, found], 1) for name, found in second.items()}
    seeds = decisive(answers, "bytes", apart=["unit", "imagenet", "symmetric"])
    flags = ["--resize", str(SIDE)]
    entry(
        "keras_binary.onnx",
        ["keras", "tf2onnx"],
        seeds,
        answers["bytes"][seeds],
        args=flags,
        labels=["blue", "red"],
    )


def to_onnx(model: Any, path: Path) -> None:
    """What tf2onnx.convert does with a model of Keras'."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(path))
