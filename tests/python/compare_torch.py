#!/usr/bin/env python3
"""Trains the same small nets in PyTorch and with `layerwise train`, on the same batches, and compares them.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch safetensors numpy
    /tmp/torch/bin/python tests/python/compare_torch.py build/release/layerwise [--device D] [--keep DIR]

PyTorch writes the starting weights and the data; layerwise reads them, trains without shuffling at precision
`accurate`, and PyTorch reads what it saved. The nets hold strided, dilated, grouped and depthwise convolutions, batchnorm
and a linear layer, in three groups of which one is frozen. With maxima (relu, max pooling) the comparison is short: one
rounding that flips a maximum sends two float32 runs apart.
"""

import argparse
import copy
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy
import torch
from safetensors.torch import load_file, save_file

LOSS_LIMIT = 2e-5  # relative, every step
WEIGHT_LIMIT = 2e-4  # of the largest weight
BATCH, IMAGES, SIDE, CLASSES = 32, 640, 20, 10
MEAN, STD = 0.45, 0.25

# rule name -> keys of a recipe's `train`
RULES = {
    "sgd+momentum+decay": {"rule": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.005},
    "nesterov": {"rule": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.005, "nesterov": True},
    "adam": {"rule": "adam", "lr": 0.001, "weight_decay": 0.001},
    "adamw": {"rule": "adamw", "lr": 0.001, "weight_decay": 0.05},
    "clip_norm": {"rule": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.005, "clip_norm": 0.5},
}
# The layers of each group, and which group is frozen: at the bottom the reverse pass ends above it, in the middle it
# passes through. The head trains at the base rate, the rest at a tenth.
FROZEN = {"bottom": ["conv1", "bn1"], "middle": ["conv3", "bn3", "conv4"]}
HEAD = ["conv5", "bn5", "fc"]
LAYERS = ["conv1", "bn1", "conv2", "conv3", "bn3", "conv4", "conv5", "bn5", "fc"]


class Net(torch.nn.Module):
    def __init__(self, smooth):
        super().__init__()
        nn = torch.nn
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.pool1 = nn.AvgPool2d(2) if smooth else nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Conv2d(12, 16, 3, padding=1, stride=2)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.conv4 = nn.Conv2d(16, 24, 1)
        self.conv5 = nn.Conv2d(24, 24, (3, 5), padding=(1, 2), groups=24, bias=False)
        self.bn5 = nn.BatchNorm2d(24)
        self.pool5 = nn.AvgPool2d(3, 2, 1) if smooth else nn.MaxPool2d(2)
        self.fc = nn.Linear(24 * (9 if smooth else 4), CLASSES)
        self.activation = torch.tanh if smooth else torch.relu

    def forward(self, x):
        x = self.pool1(self.activation(self.bn1(self.conv1(x))))
        x = self.activation(self.conv2(x))
        x = self.activation(self.bn3(self.conv3(x)))
        x = self.activation(self.conv4(x))
        x = self.pool5(self.activation(self.bn5(self.conv5(x))))
        return self.fc(torch.flatten(x, 1))


def layers_of_recipe(smooth):
    act = "tanh" if smooth else "relu"
    return f"""
    - conv: {{name: conv1, out: 12, kernel: 3, pad: 1, bias: false}}
    - batchnorm: {{name: bn1}}
    - {act}: {{}}
    - {"avgpool: {kernel: 2, stride: 2}" if smooth else "maxpool: {kernel: 3, stride: 2, pad: 1}"}
    - conv: {{name: conv2, out: 16, kernel: 3, pad: 1, stride: 2}}
    - {act}: {{}}
    - conv: {{name: conv3, out: 16, kernel: 3, pad: 2, dilation: 2, groups: 4, bias: false}}
    - batchnorm: {{name: bn3}}
    - {act}: {{}}
    - conv: {{name: conv4, out: 24, kernel: 1}}
    - {act}: {{}}
    - conv: {{name: conv5, out: 24, kernel: [3, 5], pad: [1, 2], groups: 24, bias: false}}
    - batchnorm: {{name: bn5}}
    - {act}: {{}}
    - {"avgpool: {kernel: 3, stride: 2, pad: 1}" if smooth else "maxpool: {kernel: 2, stride: 2}"}
    - linear: {{name: fc, out: {CLASSES}}}"""


def groups_of_layers(frozen):
    rest = [layer for layer in LAYERS if layer not in frozen and layer not in HEAD]
    return {"frozen": frozen, "rest": rest, "head": HEAD}


def recipe_text(smooth, frozen, options, steps):
    lines = "\n".join(f"  {key}: {str(value).lower()}" for key, value in options.items())
    patterns = {name: json.dumps([f"{layer}.*" for layer in layers]) for name, layers in groups_of_layers(frozen).items()}
    return f"""model:
  input: [1, {SIDE}, {SIDE}]
  layers:{layers_of_recipe(smooth)}
  weights: start.safetensors
data:
  format: idx
  train: [images-idx3-ubyte, labels-idx1-ubyte]
  test: [images-idx3-ubyte, labels-idx1-ubyte]
  normalize: {{mean: [{MEAN}], std: [{STD}]}}
train:
  batch: {BATCH}
  steps: {steps}
  shuffle: false
  precision: accurate
{lines}
groups:
  - {{name: frozen, match: {patterns["frozen"]}, freeze: true}}
  - {{name: rest, match: {patterns["rest"]}, lr_mult: 0.1}}
  - {{name: head, match: {patterns["head"]}}}
"""


def make_data(folder):
    """Random images, each with a bright bar where its class says; as IDX files and as PyTorch's tensors."""
    random = numpy.random.default_rng(1)
    labels = random.integers(0, CLASSES, IMAGES, dtype=numpy.uint8)
    images = random.integers(0, 160, (IMAGES, SIDE, SIDE), dtype=numpy.uint8)
    for image, label in zip(images, labels):
        image[2 * label : 2 * label + 2, 4:16] += 90
    (folder / "images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, IMAGES, SIDE, SIDE) + images.tobytes())
    (folder / "labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, IMAGES) + labels.tobytes())
    pixels = (torch.from_numpy(images).float() / 255 - MEAN) / STD
    return pixels.unsqueeze(1), torch.from_numpy(labels.astype(numpy.int64))


def make_optimizer(net, frozen, options):
    groups = groups_of_layers(frozen)
    for layer in frozen:
        for parameter in getattr(net, layer).parameters():
            parameter.requires_grad_(False)
    parameters = [
        {"params": [p for layer in groups["rest"] for p in getattr(net, layer).parameters()], "lr": options["lr"] * 0.1},
        {"params": [p for layer in groups["head"] for p in getattr(net, layer).parameters()], "lr": options["lr"]},
    ]
    decay = options.get("weight_decay", 0.0)
    if options["rule"] == "sgd":
        return torch.optim.SGD(parameters, momentum=options["momentum"], weight_decay=decay,
                               nesterov=options.get("nesterov", False))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options["rule"]]
    return kind(parameters, weight_decay=decay)


def train_torch(net, frozen, options, steps, pixels, labels):
    """The losses, and how many steps were clipped."""
    optimizer = make_optimizer(net, frozen, options)
    net.train()
    for layer in frozen:
        getattr(net, layer).eval()  # a frozen batchnorm uses its running statistics
    losses, clipped = [], 0
    for step in range(steps):
        first = step * BATCH % IMAGES
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(pixels[first : first + BATCH]), labels[first : first + BATCH])
        loss.backward()
        if "clip_norm" in options:
            trained = [p for p in net.parameters() if p.requires_grad]
            clipped += int(torch.nn.utils.clip_grad_norm_(trained, options["clip_norm"]) > options["clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    return losses, clipped


def train_layerwise(command, folder, device):
    arguments = [command, "train", "recipe.yaml", "--save", "ours.safetensors", "--log", "steps.jsonl", "--json"]
    done = subprocess.run(arguments + (["--device", device] if device else []), cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"layerwise train failed in {folder} with {done.returncode}:\n{done.stdout}{done.stderr}")
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    return [line["loss"] for line in lines if "step" in line and "loss" in line], summary


def compare_weights(start, theirs, ours, frozen):
    """The largest difference over the largest weight, of parameters and of running statistics; and complaints."""
    complaints, parameter, statistic = [], [0.0, 0.0], [0.0, 0.0]
    for name, expected in theirs.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in ours or ours[name].shape != expected.shape:
            complaints.append(f"{name} is missing or has another shape")
            continue
        if name.split(".")[0] in frozen and not torch.equal(ours[name], start[name]):
            complaints.append(f"{name} is frozen and changed")
        if not torch.isfinite(ours[name]).all():
            complaints.append(f"{name} is not finite")
        kind = statistic if "running" in name else parameter
        kind[0] = max(kind[0], (ours[name] - expected).abs().max().item())
        kind[1] = max(kind[1], expected.abs().max().item())
    complaints += [f"{name} is unknown to PyTorch" for name in ours if name not in theirs]
    return parameter[0] / parameter[1], statistic[0] / statistic[1], complaints


def evaluate_torch(net, weights, pixels, labels):
    """Loss and accuracy of what layerwise saved, loaded into PyTorch."""
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    net.eval()
    with torch.no_grad():
        logits = net(pixels)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    return torch.nn.functional.cross_entropy(logits, labels).item(), accuracy


def compare(command, folder, device, smooth, place, rule):
    frozen, options, steps = FROZEN[place], RULES[rule], 50 if smooth else 8
    folder.mkdir(parents=True)
    pixels, labels = make_data(folder)
    torch.manual_seed(3)
    net = Net(smooth)
    with torch.no_grad():  # statistics that are not 0 and 1: the frozen batchnorm uses them
        net.train()
        net(pixels[:200])
    start = copy.deepcopy(net.state_dict())
    save_file(start, folder / "start.safetensors")
    (folder / "recipe.yaml").write_text(recipe_text(smooth, frozen, options, steps))

    theirs, clipped = train_torch(net, frozen, options, steps, pixels, labels)
    ours, summary = train_layerwise(command, folder, device)
    saved = load_file(folder / "ours.safetensors")
    weights, statistics, complaints = compare_weights(start, net.state_dict(), saved, frozen)
    if len(ours) != steps:
        complaints.append(f"the log holds {len(ours)} steps, not {steps}")
    losses = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
    loss, accuracy = evaluate_torch(Net(smooth), saved, pixels, labels)
    if abs(summary["test_loss"] - loss) > LOSS_LIMIT * loss or abs(summary["accuracy"] - accuracy) > 2 / IMAGES:
        complaints.append(f"evaluated: {summary}, in PyTorch loss {loss}, accuracy {accuracy}")
    if "clip_norm" in options and clipped == 0:
        complaints.append("no step was clipped: the comparison shows nothing")
    if losses > LOSS_LIMIT or weights > WEIGHT_LIMIT or statistics > WEIGHT_LIMIT:
        complaints.append("beyond the limit")
    net_name = "tanh+avgpool" if smooth else "relu+maxpool"
    print(f"| {net_name} | {rule} | {place} | {steps} | {theirs[0]:.4f} -> {theirs[-1]:.4f} | {losses:.1e} "
          f"| {weights:.1e} | {statistics:.1e} | {'; '.join(complaints) or 'ok'} |", flush=True)
    return not complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", type=pathlib.Path, help="the layerwise command")
    parser.add_argument("--device", help="a device's name, as `layerwise train --device` takes it")
    parser.add_argument("--keep", type=pathlib.Path, help="a new folder for the files that are made")
    arguments = parser.parse_args()
    command = str(arguments.command.resolve())
    torch.use_deterministic_algorithms(True)

    print(f"PyTorch {torch.__version__}; limits: loss {LOSS_LIMIT:g} relative, weights {WEIGHT_LIMIT:g} of the largest")
    print("| net | rule | frozen | steps | loss in PyTorch | loss, largest relative difference "
          "| parameters, of the largest | running statistics, of the largest | |\n" + "|---" * 9 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        base = arguments.keep or pathlib.Path(scratch)
        good = [compare(command, base / f"{'smooth' if smooth else 'maxima'}-{rule}-{place}", arguments.device, smooth, place, rule)
                for smooth in (True, False) for rule in RULES for place in FROZEN]
    print(f"{good.count(True)} passed, {good.count(False)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
