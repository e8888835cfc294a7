#!/usr/bin/env python3
"""Prints the table of tests/optim/reference_torch.h: PyTorch's update rules in double, on gradients that depend on the
step alone. Needs PyTorch: python3 -m venv V && V/bin/pip install torch numpy && V/bin/python reference_torch.py"""
import torch

START = [0.5, -1.25, 2.0, -0.03125, 0.0]
STEPS = 6


def gradient(step, index):
    """Exact in float: multiples of 1/64."""
    return ((step * 37 + index * 53) % 101 - 50) / 64


def lr(step):
    return 0.05 / step


def run(make):
    p = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = make([p])
    for step in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = lr(step)
        p.grad = torch.tensor([gradient(step, i) for i in range(len(START))], dtype=torch.float64)
        optimizer.step()
    return p.detach().tolist()


SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
CASES = [
    ('.rule = "sgd"', lambda p: SGD(p, lr=1)),
    ('.rule = "sgd", .weight_decay = 0.1', lambda p: SGD(p, lr=1, weight_decay=0.1)),
    ('.rule = "sgd", .momentum = 0.9, .weight_decay = 0.01', lambda p: SGD(p, lr=1, momentum=0.9, weight_decay=0.01)),
    ('.rule = "sgd", .momentum = 0.9, .dampening = 0.25', lambda p: SGD(p, lr=1, momentum=0.9, dampening=0.25)),
    ('.rule = "sgd", .momentum = 0.8, .nesterov = true, .weight_decay = 0.1',
     lambda p: SGD(p, lr=1, momentum=0.8, nesterov=True, weight_decay=0.1)),
    ('.rule = "adam", .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8', lambda p: Adam(p, lr=1)),
    ('.rule = "adam", .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-4, .weight_decay = 0.1',
     lambda p: Adam(p, lr=1, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)),
    ('.rule = "adam", .beta1 = 0.9, .beta2 = 0.6, .eps = 1e-8, .amsgrad = true',
     lambda p: Adam(p, lr=1, betas=(0.9, 0.6), amsgrad=True)),
    ('.rule = "adamw", .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.5',
     lambda p: AdamW(p, lr=1, weight_decay=0.5)),
    ('.rule = "adamw", .beta1 = 0.7, .beta2 = 0.6, .eps = 1e-8, .amsgrad = true, .weight_decay = 0.1',
     lambda p: AdamW(p, lr=1, betas=(0.7, 0.6), amsgrad=True, weight_decay=0.1)),
]

SCHEDULERS = torch.optim.lr_scheduler
SCHEDULES = [  # total is 20 steps
    ('.kind = LW_SCHEDULE_STEP, .size = 6, .gamma = 0.5', lambda o: SCHEDULERS.StepLR(o, 6, 0.5)),
    ('.kind = LW_SCHEDULE_MULTISTEP, .gamma = 0.1, .milestone_count = 2, .milestones = {5, 12}',
     lambda o: SCHEDULERS.MultiStepLR(o, [5, 12], 0.1)),
    ('.kind = LW_SCHEDULE_COSINE, .min_factor = 0.1', lambda o: SCHEDULERS.CosineAnnealingLR(o, 20, 0.1)),
    ('.kind = LW_SCHEDULE_POLYNOMIAL, .power = 2', lambda o: SCHEDULERS.PolynomialLR(o, 20, 2)),
    ('.kind = LW_SCHEDULE_EXPONENTIAL, .gamma = 0.9', lambda o: SCHEDULERS.ExponentialLR(o, 0.9)),
    ('.kind = LW_SCHEDULE_ONE_CYCLE, .pct_start = 0.3, .div_factor = 25, .final_div_factor = 1e4',
     lambda o: SCHEDULERS.OneCycleLR(o, 1.0, total_steps=20, cycle_momentum=False)),
]


def factors(make):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    values = []
    for _ in range(20):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def table(name, kind, rows, function, constant):
    print(f"static const struct {{\n\t{kind};\n\tdouble values[{constant}];\n}} {name}[] = {{")
    for options, make in rows:
        values = [f"{v:.17g}" for v in function(make)]
        lines = [", ".join(values[i:i + 4]) for i in range(0, len(values), 4)]
        print("\t{{" + options + "},\n\t {" + ",\n\t  ".join(lines) + "}},")
    print("};")


print(f"/* Written by reference_torch.py with PyTorch {torch.__version__.split('+')[0]}. */")
print("static const float reference_start[] = {" + ", ".join(f"{v}f" for v in START) + "};")
print(f"enum {{ REFERENCE_STEPS = {STEPS}, REFERENCE_PARAMS = {len(START)}, REFERENCE_TOTAL = 20 }};\n")
print("/* Parameters after all steps. */")
table("reference_rules", "lw_rule_options options", CASES, run, "REFERENCE_PARAMS")
print("\n/* Factors of the steps 1 to 20 of 20. */")
table("reference_schedules", "lw_schedule schedule", SCHEDULES, factors, "REFERENCE_TOTAL")
