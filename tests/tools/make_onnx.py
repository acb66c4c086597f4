"""Writes small ONNX files with the tools that people train and export with, and what each tool answers.

    PYTHON tests/tools/make_onnx.py [NAME ...]

PYTHON is that of an environment of its own, with what is not nanofleet's: ultralytics, keras, tensorflow-cpu,
tf2onnx, skl2onnx, scikit-learn, timm, transformers beside torch, onnx, onnxruntime. Each maker is a process.
The files lie in `files/`, and `files/expected.json` says of each which flags it needs and what the tool
itself answers for which pictures. `test_onnx_files.py` runs them; nothing but this script needs the tools.

Networks are tiny, seeded, and trained in one step: their head is fitted to tell which of red, green and blue
a picture has most of. Pictures are chosen so that other pixels than the right ones change the label.

Written with: ultralytics 8.4.190, keras 3.15.1, tensorflow 2.21.0, tf2onnx 1.17.0, skl2onnx 1.20.0,
scikit-learn 1.9, timm 1.0.30, transformers 5, torch 2.14.1, onnx 1.23.2, onnxruntime 1.32.0.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from pictures import picture, pixels

FILES = Path(__file__).with_name("files")
NAMES = ["red", "green", "blue"]
SIDE = 32
POOL = 240
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

#: What the wrong pixels would be: functions of uint8 [N, H, W, 3], RGB.
PREPARED: Dict[str, Callable[[Any], Any]] = {
    "imagenet": lambda x: (x / 255 - MEAN) / STD,
    "unit": lambda x: x / 255,
    "symmetric": lambda x: x / 127.5 - 1,
    "bytes": lambda x: x * 1.0,
    "bgr imagenet": lambda x: (x[..., ::-1] / 255 - MEAN) / STD,
    "bgr unit": lambda x: x[..., ::-1] / 255,
    "bgr symmetric": lambda x: x[..., ::-1] / 127.5 - 1,
    "bgr bytes": lambda x: x[..., ::-1] * 1.0,
}


def pool(size: int = SIDE) -> Any:
    """uint8 [POOL, size, size, 3]."""
    return np.stack([pixels(seed, (size, size)) for seed in range(POOL)])


def targets(pictures: Any) -> Any:
    """Which colour each has most of."""
    return pictures.mean((1, 2)).argmax(1)


def head(features: Any, classes: Any, count: int = 3) -> Any:
    """Weights [features, classes] and bias of a layer that tells the classes by the features."""
    wanted = 8.0 * np.eye(count)[classes]
    centre = features.mean(0)
    centred = features - centre
    spread = np.trace(centred.T @ centred) / len(centred.T)
    weights = np.linalg.solve(
        centred.T @ centred + 1e-3 * spread * np.eye(len(centred.T)), centred.T @ wanted
    )
    return weights.astype(np.float32), (wanted.mean(0) - centre @ weights).astype(np.float32)


def decisive(answers: Dict[str, Any], right: str, apart: Sequence[str] = ()) -> List[int]:
    """Pictures of which the right pixels' label is sure, and another with each kind of wrong ones.

    Args:
        answers: float [POOL, classes], by a name of PREPARED.
        right: which of them is right.
        apart: those that need not differ.
    """
    labels = {name: found.argmax(1) for name, found in answers.items()}
    sure = np.sort(answers[right], 1)
    margin = sure[:, -1] - sure[:, -2]
    left = {name for name in answers if name != right and name not in apart}
    chosen: List[int] = []
    while left and len(chosen) < 5:
        changed = {
            seed: {name for name in left if labels[name][seed] != labels[right][seed]} for seed in range(POOL)
        }
        best = max(
            range(POOL), key=lambda seed: (len(changed[seed]) if margin[seed] > 0.4 else -1, margin[seed])
        )
        if not changed[best]:
            break
        chosen.append(best)
        left -= changed[best]
    if left:
        raise SystemExit(f"no picture tells {sorted(left)} from {right}")
    others = [seed for seed in range(POOL) if labels[right][seed] not in labels[right][chosen]]
    return [*chosen, *sorted(others, key=lambda seed: -margin[seed])[:1]]


def entry(
    file: str,
    tools: Sequence[str],
    seeds: Sequence[int],
    probabilities: Any,
    *,
    args: Sequence[str] = (),
    labels: Optional[Sequence[str]] = NAMES,
    size: Sequence[int] = (SIDE, SIDE),
    assumes: Sequence[str] = (),
    tolerance: float = 0.01,
    multi_label: bool = False,
) -> None:
    """Note what is right of a file."""
    path = FILES / "expected.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[file] = {
        "tools": {tool: version(tool) for tool in tools},
        "args": list(args),
        "labels": labels and list(labels),
        "size": list(size),
        "assumes": list(assumes),
        "tolerance": tolerance,
        "multi_label": multi_label,
        "pictures": [
            {"seed": int(seed), "probabilities": [round(float(value), 4) for value in row]}
            for seed, row in zip(seeds, probabilities)
        ],
    }
    path.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    print(f"{file}: {(FILES / file).stat().st_size} bytes, pictures {list(seeds)}")


# --- PyTorch ----------------------------------------------------------------------------------------------


def torch_net(prepare: Callable[[Any], Any], outputs: int = 3) -> Any:
    """A small convolutional network: float [N, 3, SIDE, SIDE] -> logits."""
    import torch

    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(3, 12, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(12, 16, 3, 2), torch.nn.ReLU()
    )
    net = torch.nn.Sequential(
        *body, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, outputs)
    )
    fit_torch(net, net[-1], net[:-1], first(prepare(pool())))
    return net.eval()


def first(images: Any) -> Any:
    """NHWC -> a tensor, NCHW."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()


def fit_torch(net: Any, last: Any, body: Any, images: Any) -> None:
    """Fit the last layer to the features that the body gives."""
    import torch

    net.eval()
    with torch.no_grad():
        weights, bias = head(body(images).numpy().astype(np.float64), targets(pool()))
        last.weight.copy_(torch.from_numpy(weights.T))
        last.bias.copy_(torch.from_numpy(bias))


def torch_answers(net: Any) -> Dict[str, Any]:
    import torch

    with torch.no_grad():
        return {name: net(first(how(pool()))).softmax(1).numpy() for name, how in PREPARED.items()}


def torch_dynamo() -> None:
    """PyTorch's present exporter, which keeps the weights in a file of their own."""
    import torch

    net = torch_net(PREPARED["imagenet"])
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, SIDE, SIDE),),
        str(FILES / "torch_dynamo.onnx"),
        dynamo=True,
        external_data=True,
        verbose=False,
        input_names=["images"],
        dynamic_shapes={"input": {0: batch}},
    )
    answers = torch_answers(net)
    seeds = decisive(answers, "imagenet")
    entry(
        "torch_dynamo.onnx",
        ["torch", "onnxscript"],
        seeds,
        answers["imagenet"][seeds],
        args=["--resize", str(SIDE)],
        assumes=["--scaling imagenet"],
    )


def torch_bce() -> None:
    """A single output with a sigmoid, squeezed, as trained with BCELoss: more red than blue, or less."""
    import torch

    net = torch_net(PREPARED["imagenet"])
    with torch.no_grad():
        last = torch.nn.Linear(16, 1)
        last.weight.copy_(net[-1].weight[:1] - net[-1].weight[2:])
        last.bias.copy_(net[-1].bias[:1] - net[-1].bias[2:])
    net = torch.nn.Sequential(*net[:-1], last, torch.nn.Sigmoid(), Squeeze())
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, SIDE, SIDE),),
        str(FILES / "torch_bce.onnx"),
        dynamo=False,
        input_names=["images"],
        dynamic_axes={"images": {0: "batch"}},
    )
    with torch.no_grad():
        answers = {name: net(first(how(pool()))).numpy() for name, how in PREPARED.items()}
    answers = {name: np.stack([1 - found, found], 1) for name, found in answers.items()}
    seeds = decisive(answers, "imagenet", apart=["unit", "symmetric", "bytes"])
    flags = ["--resize", str(SIDE), "--scaling", "imagenet"]
    entry("torch_bce.onnx", ["torch"], seeds, answers["imagenet"][seeds], args=flags, labels=["blue", "red"])


def Squeeze() -> Any:
    import torch

    class _Squeeze(torch.nn.Module):
        def forward(self, scores: Any) -> Any:
            return scores.squeeze()

    return _Squeeze()


def timm_export() -> None:
    """timm's own exporter; its ViTs and many others are trained on -1..1, which nothing in the file tells."""
    import timm
    import torch
    from timm.models.resnet import BasicBlock, ResNet
    from timm.utils.onnx import onnx_export

    torch.manual_seed(0)
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, channels=(8, 8, 16, 16), stem_width=8)
    net.pretrained_cfg = {
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "input_size": (3, SIDE, SIDE),
        "crop_pct": 1.0,
    }
    body = lambda images: net.forward_head(net.forward_features(images), pre_logits=True)  # noqa: E731
    fit_torch(net, net.fc, body, first(PREPARED["symmetric"](pool())))
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=net))
    with torch.no_grad():
        answers = torch_answers(net)
        own = torch.stack([transform(picture(seed, (SIDE, SIDE))) for seed in range(POOL)])
        answers["symmetric"] = net(own).softmax(1).numpy()
    seeds = decisive(answers, "symmetric", apart=["unit"])
    onnx_export(net, str(FILES / "timm.onnx"), example_input=torch.zeros(1, 3, SIDE, SIDE), opset=17)
    flags = ["--resize", str(SIDE), "--scaling", "symmetric"]
    entry("timm.onnx", ["timm", "torch"], seeds, answers["symmetric"][seeds], args=flags)


def transformers_export() -> None:
    """A ViT of Hugging Face's, with its own image processor (-1..1, the whole picture squeezed)."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=SIDE,
        patch_size=8,
        id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
        attn_implementation="eager",
    )
    net = ViTForImageClassification(config)
    net.vit.embeddings.patch_embeddings.projection.weight.data *= 10

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixel_values: Any) -> Any:
            return self.net(pixel_values=pixel_values).logits

    body = lambda images: net.vit(pixel_values=images).last_hidden_state[:, 0]  # noqa: E731
    fit_torch(net, net.classifier, body, first(PREPARED["symmetric"](pool())))
    whole = Logits().eval()
    answers = torch_answers(whole)
    seeds = decisive(answers, "symmetric", apart=["imagenet", "unit"])
    torch.onnx.export(
        whole,
        (torch.zeros(1, 3, SIDE, SIDE),),
        str(FILES / "transformers.onnx"),
        dynamo=False,
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamic_axes={"pixel_values": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
    )
    flags = ["--resize", str(SIDE), "--scaling", "symmetric"]
    entry("transformers.onnx", ["transformers", "torch"], seeds, answers["symmetric"][seeds], args=flags)


def ultralytics_export() -> None:
    """Ultralytics' classifier: 0..1, the short side resized to imgsz, names and all that in the metadata."""
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "tiny-cls.yaml"
        config.write_text(
            "nc: 3\nscales:\n  n: [0.33, 1.0, 64]\nbackbone:\n"
            "  - [-1, 1, Conv, [24, 3, 2]]\n  - [-1, 1, Conv, [48, 3, 2]]\n  - [-1, 1, C2f, [48, True]]\n"
            "head:\n  - [-1, 1, Classify, [nc]]\n"
        )
        model = YOLO(str(config), task="classify")
        model.model.names = dict(enumerate(NAMES))
        classify = model.model.model[-1]
        # Its hidden layer has 1280 channels: fewer make a small file.
        classify.conv = type(classify.conv)(classify.conv.conv.in_channels, 16, 1, 1, None, 1)
        classify.linear = torch.nn.Linear(16, 3)
        model.model.eval()
        features: List[Any] = []
        hook = classify.linear.register_forward_pre_hook(lambda _, given: features.append(given[0]))
        with torch.no_grad():
            model.model(first(PREPARED["unit"](pool())))
        hook.remove()
        weights, bias = head(features[0].numpy().astype(np.float64), targets(pool()))
        classify.linear.weight.data = torch.from_numpy(weights.T.copy())
        classify.linear.bias.data = torch.from_numpy(bias)
        size = (50, 40)  # neither square nor of the model's size
        shown = [picture(seed, size) for seed in range(POOL)]
        found = model.predict(shown, imgsz=SIDE, verbose=False, batch=1)
        right = np.stack([each.probs.data.numpy() for each in found])
        with torch.no_grad():
            answers = {
                name: np.asarray(_first_of(model.model(first(how(pool()))))) for name, how in PREPARED.items()
            }
        answers["unit"] = right
        seeds = decisive(answers, "unit")
        written = model.export(format="onnx", imgsz=SIDE, simplify=False, opset=17, dynamic=True)
        Path(written).replace(FILES / "ultralytics.onnx")
    entry(
        "ultralytics.onnx",
        ["ultralytics", "torch"],
        seeds,
        right[seeds],
        labels=None,
        size=size,
        tolerance=0.02,
    )


def _first_of(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output


def onnxruntime_static() -> None:
    """onnxruntime's static quantisation (QDQ) of a network that takes 0..255 and ends with a softmax."""
    import onnxruntime
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    net = torch.nn.Sequential(Scaled(1 / 255), *torch_net(PREPARED["unit"]), torch.nn.Softmax(1)).eval()

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            images = first(PREPARED["bytes"](pool())).numpy()
            self._batches = iter([{"images": images[start : start + 24]} for start in range(0, POOL, 24)])

        def get_next(self) -> Any:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        plain = str(Path(folder) / "plain.onnx")
        torch.onnx.export(
            net,
            (torch.zeros(1, 3, SIDE, SIDE),),
            plain,
            dynamo=False,
            input_names=["images"],
            dynamic_axes={"images": {0: "batch"}},
            opset_version=17,
        )
        quantize_static(plain, str(FILES / "ort_static.onnx"), Reader(), quant_format=QuantFormat.QDQ)
    session = onnxruntime.InferenceSession(str(FILES / "ort_static.onnx"))
    answers = {
        name: session.run(None, {"images": first(how(pool())).numpy()})[0] for name, how in PREPARED.items()
    }
    seeds = decisive(answers, "bytes")
    entry(
        "ort_static.onnx",
        ["onnxruntime", "torch"],
        seeds,
        answers["bytes"][seeds],
        args=["--resize", str(SIDE)],
        tolerance=0.02,
    )


def Scaled(by: float) -> Any:
    import torch

    class _Scaled(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            return images * by

    return _Scaled()


# --- Keras ------------------------------------------------------------------------------------------------


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
    """Preprocessed outside by ImageDataGenerator(rescale=1/255): 0..1, which nothing in the file tells."""
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


def tflite_quantized() -> None:
    """TensorFlow Lite's full quantisation, bytes in and bytes out, brought into ONNX by tf2onnx."""
    import keras
    import tensorflow as tf

    rescaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
    model = keras_net([rescaling], "softmax", PREPARED["bytes"])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None].astype(np.float32)] for image in pool()[:100])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    converted = converter.convert()
    with tempfile.TemporaryDirectory() as folder:
        lite = Path(folder) / "model.tflite"
        lite.write_bytes(converted)
        command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(lite), "--opset", "17"]
        subprocess.run([*command, "--output", str(FILES / "tflite.onnx")], check=True, capture_output=True)
    interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.allocate_tensors()
    given, taken = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = taken["quantization"]

    def run(images: Any) -> Any:
        found = []
        for image in images:
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            found.append((interpreter.get_tensor(taken["index"])[0].astype(float) - zero) * scale)
        return np.array(found)

    answers = {"bytes": run(pool()), "bgr bytes": run(pool()[..., ::-1])}
    seeds = decisive(answers, "bytes")
    flags = ["--resize", str(SIDE)]
    tools = ["tensorflow-cpu", "tf2onnx"]
    entry("tflite.onnx", tools, seeds, answers["bytes"][seeds], args=flags, tolerance=0.05)


# --- scikit-learn -----------------------------------------------------------------------------------------


def sklearn_zipmap() -> None:
    """skl2onnx' maps of probabilities, by class names; a Reshape before it takes the picture."""
    from onnx import TensorProto, compose, helper, save
    from skl2onnx import to_onnx as convert
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    side = 8
    small = pool(side)
    rows = small.reshape(POOL, -1).astype(np.float32)
    names = np.array(NAMES)[targets(small)]
    model = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=300)).fit(rows, names)
    made = convert(model, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, rows.shape[1]])
    node = helper.make_node("Reshape", ["image", "shape"], ["row"])
    before = helper.make_graph(
        [node],
        "rows",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side, 3])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["N", rows.shape[1]])],
        [shape],
    )
    opsets = [helper.make_opsetid(each.domain, each.version) for each in made.opset_import]
    flatten = helper.make_model(before, opset_imports=opsets, ir_version=made.ir_version)
    save(
        compose.merge_models(flatten, made, io_map=[("row", made.graph.input[0].name)]),
        FILES / "sklearn.onnx",
    )
    classes = list(model.classes_)
    answers = {name: model.predict_proba(how(small).reshape(POOL, -1)) for name, how in PREPARED.items()}
    seeds = decisive(answers, "bytes", apart=["unit", "imagenet", "symmetric"])
    entry(
        "sklearn.onnx",
        ["skl2onnx", "scikit-learn"],
        seeds,
        answers["bytes"][seeds],
        args=["--resize", str(side), "--scaling", "bytes"],
        labels=None,
        size=(side, side),
    )
    assert classes == sorted(NAMES)


MAKERS: Dict[str, Callable[[], None]] = {
    made.__name__: made
    for made in (
        torch_dynamo,
        torch_bce,
        timm_export,
        transformers_export,
        ultralytics_export,
        onnxruntime_static,
        keras_rescaling,
        keras_normalization,
        keras_savedmodel,
        keras_sigmoid,
        keras_mobilenet,
        keras_unit,
        keras_caffe,
        keras_binary,
        tflite_quantized,
        sklearn_zipmap,
    )
}


def main() -> None:
    """Make the files that are named, or all."""
    FILES.mkdir(exist_ok=True)
    names = sys.argv[1:] or list(MAKERS)
    if len(names) == 1:
        random.seed(0)
        warnings.simplefilter("ignore")
        MAKERS[names[0]]()
        return
    failed = [name for name in names if subprocess.run([sys.executable, __file__, name]).returncode]
    sys.exit(f"not made: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
