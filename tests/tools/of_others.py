"""Files by Ultralytics, onnxruntime's quantisation, TensorFlow Lite and scikit-learn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, List

import numpy as np
from making import FILES, NAMES, POOL, PREPARED, SIDE, decisive, entry, head, pool, targets
from of_keras import keras_net
from of_torch import first, torch_net
from pictures import picture


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
        _fit_ultralytics(model)
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
        _save_without_licence(written, FILES / "ultralytics.onnx")
    entry(
        "ultralytics.onnx",
        ["ultralytics", "torch"],
        seeds,
        right[seeds],
        labels=None,
        size=size,
        tolerance=0.02,
    )


def _fit_ultralytics(model: Any) -> None:
    import torch

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


def _save_without_licence(written: str, path: Path) -> None:
    """Leave out the tool's own licence, which it writes into every file: these weights are of noise."""
    import onnx

    exported = onnx.load(written)
    kept = {item.key: item.value for item in exported.metadata_props if item.key != "license"}
    del exported.metadata_props[:]
    onnx.helper.set_model_props(exported, kept)
    onnx.save(exported, str(path))


def _first_of(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output


def onnxruntime_static() -> None:
    """Static quantisation of onnxruntime's (QDQ) of a network that takes 0..255 and ends with a softmax."""
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
    tools, flags = ["onnxruntime", "torch"], ["--resize", str(SIDE)]
    entry("ort_static.onnx", tools, seeds, answers["bytes"][seeds], args=flags, tolerance=0.02)


def Scaled(by: float) -> Any:
    import torch

    class _Scaled(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            return images * by

    return _Scaled()


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


def sklearn_zipmap() -> None:
    """skl2onnx' maps of probabilities, by class names; a Reshape before it takes the picture."""
    from onnx import save
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
    save(_behind_reshape(made, side, rows.shape[1]), FILES / "sklearn.onnx")
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


def _behind_reshape(made: Any, side: int, width: int) -> Any:
    """A model of rows, behind a node that makes a row of each picture."""
    from onnx import TensorProto, compose, helper

    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, width])
    node = helper.make_node("Reshape", ["image", "shape"], ["row"])
    before = helper.make_graph(
        [node],
        "rows",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side, 3])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["N", width])],
        [shape],
    )
    opsets = [helper.make_opsetid(each.domain, each.version) for each in made.opset_import]
    flatten = helper.make_model(before, opset_imports=opsets, ir_version=made.ir_version)
    return compose.merge_models(flatten, made, io_map=[("row", made.graph.input[0].name)])
