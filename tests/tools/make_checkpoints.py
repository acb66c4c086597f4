"""Makes the checkpoints in `checkpoints.zip` with the tools that their users have; run once, by hand.

    pip install lightning==2.6.6 timm==1.0.31 transformers==5.24.0 accelerate==1.15.0
    python tests/tools/make_checkpoints.py

The files in the repository are of Python 3.11, torch 2.14.1 and torchvision 0.29.1. Every network is a
ShuffleNet v2 x0.5 with three classes, or a ResNet-18, with numbers that compress well. The answer that each
must give is written beside them, in `right.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import lightning
import timm
import torch
import torchvision

ARCHIVE = Path(__file__).with_name("checkpoints.zip")
FILES = Path(tempfile.mkdtemp())
NAMES = ["cat", "cup", "rocket"]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    module = torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=3)
    images = torch.rand(4, 3, 64, 64)
    module.train()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    module(images)
    with torch.no_grad():
        module.fc.weight.normal_().mul_(0.3)
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.mul_(32).round_().div_(32).clamp_(
                    min=1 / 32 if "running_var" in name else None, max=64
                )
        with torch.inference_mode():
            module.fc.weight.mul_(0.5 ** round(float(module.eval()(image()).std().log2())))
    return module.eval()


def image() -> torch.Tensor:
    return torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)


class Classifier(lightning.LightningModule):
    def __init__(self, lr: float = 0.1, class_names: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = network()
        self.criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 1.0]))

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.criterion(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def with_lightning() -> torch.nn.Module:
    classifier = Classifier(class_names=NAMES)
    batch = torch.utils.data.TensorDataset(torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 2, 0]))
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=folder
        )
        trainer.fit(classifier, torch.utils.data.DataLoader(batch, batch_size=4))
    trainer.save_checkpoint(FILES / "lightning.ckpt")
    return classifier.model.eval()


def with_timm() -> torch.nn.Module:
    """As timm's train.py: a CheckpointSaver with the model, its EMA, the optimizer and the arguments."""
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=3)
    for tensor in model.state_dict().values():
        if tensor.dim() > 1:
            tensor.fill_(0.001)  # so that the file compresses
    model.half()
    arguments = argparse.Namespace(
        model="resnet18",
        img_size=64,
        crop_pct=0.8,
        mean=[0.5, 0.5, 0.5],
        std=[0.5, 0.5, 0.5],
        interpolation="bicubic",
    )
    average = timm.utils.ModelEmaV3(model)
    with torch.no_grad():
        average.module.fc.bias.add_(1.0)
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
    with tempfile.TemporaryDirectory() as folder:
        saver = timm.utils.CheckpointSaver(
            model, optimizer, args=arguments, model_ema=average, checkpoint_dir=folder, recovery_dir=folder
        )
        saver.save_checkpoint(3, metric=0.9)
        shutil.copy(Path(folder) / "last.pth.tar", FILES / "timm.pth.tar")
    return model.float().eval()


def with_references() -> torch.nn.Module:
    """As torchvision's references/classification/train.py, with --model-ema."""
    model = network()
    average = torch.optim.swa_utils.AveragedModel(model)
    with torch.no_grad():
        average.module.fc.bias.add_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments = argparse.Namespace(
        model="shufflenet_v2_x0_5", val_resize_size=72, val_crop_size=64, interpolation="bicubic", lr=0.1
    )
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 30).state_dict(),
            "epoch": 3,
            "args": arguments,
            "model_ema": OrderedDict(
                (k, v.half() if v.is_floating_point() else v) for k, v in average.state_dict().items()
            ),
        },
        FILES / "references.pth",
    )
    return model


def with_transformers() -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        id2label=dict(enumerate(NAMES)),
        label2id={n: i for i, n in enumerate(NAMES)},
    )
    with tempfile.TemporaryDirectory() as folder:
        ResNetForImageClassification(config).save_pretrained(folder)
        (FILES / "transformers.safetensors").write_bytes((Path(folder) / "model.safetensors").read_bytes())
        (FILES / "transformers.json").write_bytes((Path(folder) / "config.json").read_bytes())


def with_accelerate() -> torch.nn.Module:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(network())
    with tempfile.TemporaryDirectory() as folder:
        accelerator.save_model(model, folder)
        (FILES / "accelerate.safetensors").write_bytes((Path(folder) / "model.safetensors").read_bytes())
    return accelerator.unwrap_model(model).eval()


def whole_module() -> torch.nn.Module:
    model = network()
    torch.save(model, FILES / "whole_module.pt", _use_new_zipfile_serialization=False)
    return model


def main() -> None:
    right = {}
    for made in (with_lightning, with_timm, with_references, with_accelerate, whole_module):
        module = made()
        with torch.inference_mode():
            right[made.__name__] = module(image())[0].tolist()
    with_transformers()
    (FILES / "right.json").write_text(json.dumps(right, indent=1) + "\n")
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(FILES.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    print(sys.version, torch.__version__, torchvision.__version__, timm.__version__, lightning.__version__)


if __name__ == "__main__":
    main()
