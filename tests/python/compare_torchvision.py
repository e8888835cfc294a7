#!/usr/bin/env python3
"""Gives ready-made nets torchvision's weights, and compares what they say about images with torchvision's own.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch torchvision safetensors
    /tmp/torch/bin/python tests/python/compare_torchvision.py build/release/layerwise [--device D] [NET...]

torchvision's nets start at random here (nothing is downloaded but the packages), with running statistics of the images;
PyTorch writes the weights, `layerwise eval` reads them unchanged and writes its probabilities.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

LIMIT = 1e-4  # of the logarithm of a probability; logits are scaled to a standard deviation of 2
NETS = ["alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1"]
IMAGES, SIDE, CLASSES = 4, 224, 20
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def make_images(folder):
    """PNG files in a folder for each of two classes; the same as PyTorch takes them, in layerwise's order."""
    random = numpy.random.default_rng(1)
    coarse = random.integers(0, 256, (IMAGES, 14, 14, 3), dtype=numpy.uint8)
    coarse = coarse.repeat(SIDE // 14, axis=1).repeat(SIDE // 14, axis=2)
    pixels = coarse // 2 + random.integers(0, 128, (IMAGES, SIDE, SIDE, 3), dtype=numpy.uint8)
    for i, image in enumerate(pixels):
        place = folder / "images" / ("one" if i < IMAGES // 2 else "two")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    scaled = (torch.from_numpy(pixels).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return scaled.permute(0, 3, 1, 2).contiguous()


def make_net(name, images):
    torch.manual_seed(5)
    net = getattr(torchvision.models, name)(num_classes=CLASSES)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # nothing that a mistake could hide behind
                module.momentum = None
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.5)
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        net.train()
        net(images)
        net.eval()
        last = [module for module in net.modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))][-1]
        scale = 2 / net(images).std()
        last.weight.mul_(scale)
        last.bias.mul_(scale)
    return net


def compare(command, folder, device, name, images):
    net = make_net(name, images)
    save_file(net.state_dict(), folder / f"{name}.safetensors")
    recipe = folder / f"{name}.yaml"
    recipe.write_text(f"""model: {{arch: {name}, classes: {CLASSES}, weights: {name}.safetensors}}
data: {{format: images, test: images, normalize: {{mean: {MEAN}, std: {STD}}}}}
train: {{batch: {IMAGES}, precision: accurate}}
""")
    arguments = [command, "eval", str(recipe), "--predict", str(folder / "predictions.jsonl")] + (["--device", device] if device else [])
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    with torch.no_grad():
        expected = torch.log_softmax(net(images), 1)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    found = torch.tensor([line["probabilities"] for line in lines], dtype=torch.float64).log()
    difference = (found - expected).abs().max().item()
    good = difference <= LIMIT  # a weight that was not found would show
    print(f"| {name} | {difference:.1e} | {expected.std().item():.2f} | {'ok' if good else 'WRONG'} |", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", type=pathlib.Path, help="the layerwise command")
    parser.add_argument("nets", nargs="*", help=f"of {', '.join(NETS)} (all)")
    parser.add_argument("--device", help="a device's name, as `layerwise eval --device` takes it")
    arguments = parser.parse_intermixed_args()
    print(f"torchvision {torchvision.__version__}; limit {LIMIT:g}")
    print("| net | log probability, largest difference | its deviation | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        images = make_images(pathlib.Path(scratch))
        good = [compare(str(arguments.command.resolve()), pathlib.Path(scratch), arguments.device, name, images)
                for name in arguments.nets or NETS]
    print(f"{good.count(True)} passed, {good.count(False)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
