"""peers_gpu.py — PyTorch on the GPU, eager and compiled, beside the times of frax_gpu_bench on the same device.

    python3 bench/gpu/peers_gpu.py --data gpu.json --table peers.md [--seconds 60] [--quick]

Reads the shapes and frax's times from --data, which frax_gpu_bench wrote, appends its rows to it, and writes them as
rows of a table too, both anew after each row. Without PyTorch, or without its GPU, the rows say so. Times are medians
by CUDA events on resident data, f32 without TF32 in products. Results of a small batch are compared with NumPy's in
f64 before anything is timed. After --seconds no further case begins.
"""
import argparse
import json
import os
import statistics
import time

STEP, ORDER, CHANNELS, CLASSES = 0.1, 0.7, 8, 10
EAGER, COMPILED = "PyTorch eager", "torch.compile"
# What is timed, how many times frax is to be as fast: eager ones first, since compiling may take long.
PLAN = [("training", EAGER, 3), ("gradient", EAGER, 4), ("gradient", COMPILED, 3), ("training", COMPILED, None)]

arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
arguments.add_argument("--data", required=True)
arguments.add_argument("--table", required=True)
arguments.add_argument("--seconds", type=float, default=60)
arguments.add_argument("--quick", action="store_true")
options = arguments.parse_args()
begun = time.monotonic()

absent = None
try:
    import torch
    import numpy as np

    if not torch.cuda.is_available():
        absent = "this PyTorch (%s) sees no GPU" % torch.__version__
except ImportError as error:
    absent = "PyTorch is not installed (%s)" % error


def frac(x, order):
    """The Weyl derivative, whose filter follows from the order: part of what is timed."""
    n = x.shape[-1]
    omega = torch.arange(n // 2 + 1, dtype=x.dtype, device=x.device) * (2 * np.pi / (n * STEP))
    magnitude = torch.where(omega > 0, omega.clamp_min(1e-30) ** order, 0 * order)
    angle = order * (np.pi / 2)
    k = torch.complex(magnitude * torch.cos(angle), magnitude * torch.sin(angle))
    return torch.fft.irfft(torch.fft.rfft(x) * k, n=n)


def loss_of(x, order):
    return (frac(x, order) ** 2).mean()


def noise(*shape):
    generator = torch.Generator(device="cuda").manual_seed(1)
    return torch.randn(*shape, device="cuda", generator=generator)


# ---- Cases: functions of no argument, which leave their work on the stream ----


def gradient_case(rows, length, compiled):
    loss = torch.compile(loss_of, dynamic=False) if compiled else loss_of
    check_gradient(loss, length)
    x = noise(rows, length).requires_grad_()
    order = torch.full((), ORDER, device="cuda", requires_grad=True)

    def run():
        return torch.autograd.grad(loss(x, order), (x, order))

    return run


def check_gradient(loss, length):
    """Of 33 rows, against NumPy in f64."""
    x = noise(33, length).requires_grad_()
    order = torch.full((), ORDER, device="cuda", requires_grad=True)
    value = loss(x, order)
    got = (value.detach(), *torch.autograd.grad(value, (x, order)))
    signal = x.detach().cpu().numpy().astype(np.float64)
    omega = np.arange(length // 2 + 1) * (2 * np.pi / (length * STEP))
    logarithm = np.log(np.maximum(omega, 1e-300)) + 0.5j * np.pi
    k = np.where(omega > 0, np.exp(ORDER * logarithm), 0)
    spectrum = np.fft.rfft(signal)
    y = np.fft.irfft(spectrum * k, n=length)
    g = 2 * y / y.size
    slope = (g * np.fft.irfft(spectrum * k * logarithm, n=length)).sum()
    expected = (y * y).mean(), np.fft.irfft(np.fft.rfft(g) * k.conj(), n=length), slope
    for name, want, have in zip(("loss", "gradient in x", "gradient in the order"), expected, got):
        error = np.abs(have.cpu().numpy() - want).max() / np.abs(want).max()
        if not error < 2e-4:
            raise RuntimeError("%s differs by %g of the largest entry" % (name, error))


def training_case(rows, length, compiled):
    """The model `deep` of the classifier example, with Adam."""

    def parameter(bound, *shape):
        return ((2 * torch.rand(*shape, device="cuda") - 1) * bound).requires_grad_()

    def glorot(a, b):
        return parameter((6 / (a + b)) ** 0.5, a, b)

    torch.manual_seed(2)
    p = [parameter(1, CHANNELS), glorot(CHANNELS, CHANNELS), parameter(1, CHANNELS),
         glorot(CHANNELS * length, CLASSES), torch.zeros(CLASSES, device="cuda", requires_grad=True)]
    x = noise(rows, length)
    label = torch.arange(rows, device="cuda") * 7 % CLASSES
    optimizer = torch.optim.Adam(p, lr=1e-5)

    def bank(h, rho):
        return torch.relu(torch.nn.functional.layer_norm(frac(h, (2 * torch.sigmoid(rho))[:, None]), h.shape[-1:]))

    def loss(x):
        h = bank(x[:, None, :].expand(-1, CHANNELS, -1), p[0])
        logits = bank(p[1] @ h, p[2]).reshape(x.shape[0], -1) @ p[3] + p[4]
        return torch.nn.functional.cross_entropy(logits, label)

    loss = torch.compile(loss, dynamic=False) if compiled else loss

    def run():
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        optimizer.step()
        return value

    if not torch.isfinite(run()):
        raise RuntimeError("the loss is not finite")
    return run


CASES = {"gradient": gradient_case, "training": training_case}

# ---- Timing ----


def seconds_of(run, count):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(count):
        run()
    end.record()
    torch.cuda.synchronize()
    return 1e-3 * start.elapsed_time(end) / count


def median_seconds(run):
    for _ in range(3):
        estimate = seconds_of(run, 1)
    count = 1 if options.quick else max(3, min(100, int(10e-3 / estimate)))
    return statistics.median(seconds_of(run, count) for _ in range(3 if options.quick else 15))


# ---- Rows ----


def measured(case, peer, limit):
    """A row as frax_gpu_bench writes them."""
    row = {"case": "%s, against %s" % (case["case"], peer)}
    if limit:
        row |= {"bar": "at least", "limit": limit, "met": False}
    if absent:
        return row | {"note": absent}
    if time.monotonic() - begun > options.seconds:
        return row | {"note": "not begun: the time is up"}
    try:
        run = CASES[case["peer"]](case["rows"], case["length"], peer == COMPILED)
        taken = median_seconds(run)
    except Exception as error:
        return row | {"note": "failed: %s" % (str(error).split("\n")[0][:150] or type(error).__name__)}
    finally:
        torch.cuda.empty_cache()
    ratio = taken / case["seconds"]
    row |= {"value": ratio, "unit": "x", "note": "PyTorch %s: %.4g ms" % (torch.__version__, 1e3 * taken)}
    return row | ({"met": ratio >= limit} if limit else {})


def table_line(row):
    figure = "%.3g x" % row["value"] if "value" in row else "–"
    bar = "≥ %g x" % row["limit"] if "limit" in row else "–"
    verdict = "–" if "limit" not in row else "not measured" if "value" not in row else "met" if row["met"] else "**missed**"
    return "| %s | %s | %s | %s | %s |\n" % (row["case"], figure, bar, verdict, row["note"].replace("|", " "))


def replace(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


with open(options.data) as file:
    data = json.load(file)
cases, lines = [row for row in data["rows"] if "peer" in row], []
for kind, peer, limit in PLAN:
    for case in cases:
        if case["peer"] != kind:
            continue
        row = measured(case, peer, limit)
        data["rows"].append(row)
        lines.append(table_line(row))
        print(lines[-1], end="", flush=True)
        replace(options.table, "".join(lines))
        replace(options.data, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
