"""Files by PyTorch, timm and transformers."""

from __future__ import annotations

from typing import Any, Callable, Dict

import numpy as np
from making import FILES, NAMES, POOL, PREPARED, SIDE, decisive, entry, head, pool, targets
from pictures import picture


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
    """The exporter of timm, whose ViTs are trained on -1..1; nothing in the file says so."""
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

    torch.manual_seed(0)
    net = _tiny_vit()

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


def _tiny_vit() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

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
    return net
