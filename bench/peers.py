"""peers.py — the suite's cases in PyTorch and JAX, beside the suite's own times.

    ./dev bench --json build/bench.json
    python3 bench/peers.py [--suite build/bench.json] [--threads 1] [--quick]

Optional: uses whichever of torch and jax the running Python has. Inputs are seeded noise; each peer's results are
compared with NumPy's (or, for training, the first losses of the peers with each other) before anything is timed.
Times are medians of many, the peers taking turns; compiling is left out. In the sweep of fractional derivatives frax
takes its turn in this process, by library.py, at the points that the suite's run has (without one: those with bars).
In the other cases frax's times come from the suite's run: compare only runs of the same quiet machine.
"""
import argparse
import json
import os
import statistics
import sys
import time

arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
arguments.add_argument("--suite", default="build/bench.json")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--quick", action="store_true")
options = arguments.parse_args()
if options.threads == 1:  # XLA has no other switch
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np

sys.dont_write_bytecode = True
import library

try:  # before the others: see Library
    frax = library.Library(os.path.join(os.path.dirname(options.suite) or ".", "libfrax.so"))
except OSError as error:
    raise SystemExit("peers.py: %s; build it with ./dev bench" % error)
try:
    import torch

    torch.set_num_threads(options.threads)
except ImportError:
    torch = None
try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None

STEP, ORDER, CHANNELS, CLASSES = 0.1, 0.7, 8, 10


class Torch:
    """What the cases below need from a library, by one name in both."""

    array = staticmethod(lambda x: torch.from_numpy(x))
    where = staticmethod(lambda c, a, b: torch.where(c, a, b))

    @staticmethod
    def softmax(x):
        return torch.softmax(x, -1)

    @staticmethod
    def layer_norm(x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:])

    @staticmethod
    def frac(x, order):
        n = x.shape[-1]
        omega = torch.arange(n // 2 + 1, dtype=x.dtype) * (2 * np.pi / (n * STEP))
        magnitude = torch.where(omega > 0, omega.clamp_min(1e-30) ** order, 0 * order)
        angle = order * (np.pi / 2)
        k = torch.complex(magnitude * torch.cos(angle), magnitude * torch.sin(angle))
        return torch.fft.irfft(torch.fft.rfft(x) * k, n=n)


class Jax:
    array = staticmethod(lambda x: jnp.asarray(x))

    @staticmethod
    def softmax(x):
        return jax.nn.softmax(x, -1)

    @staticmethod
    def layer_norm(x):
        d = x - x.mean(-1, keepdims=True)
        return d * jax.lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5)

    @staticmethod
    def frac(x, order):
        n = x.shape[-1]
        omega = jnp.arange(n // 2 + 1, dtype=x.dtype) * (2 * np.pi / (n * STEP))
        magnitude = jnp.where(omega > 0, jnp.maximum(omega, 1e-30) ** order, 0 * order)
        angle = order * (np.pi / 2)
        k = jax.lax.complex(magnitude * jnp.cos(angle), magnitude * jnp.sin(angle))
        return jnp.fft.irfft(jnp.fft.rfft(x) * k, n=n)


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def chain(lib, x):
    e = ((0.5 * x + 1).__abs__()) ** 0.5 - x
    f = e.clip(min=-2)
    return (3 / (f * f + 0.25)).clip(max=8)


def chain_numpy(x):
    f = np.maximum(np.sqrt(np.abs(0.5 * x + 1)) - x, -2)
    return np.minimum(3 / (f * f + 0.25), 8)


def softmax_numpy(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm_numpy(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


# Name in the suite, shape of the input, the case, what it must equal.
FORWARD = [
    ("chain of ten, 16 M f32", (1 << 24,), chain, chain_numpy),
    ("softmax 16384x1024 f32", (1 << 14, 1024), lambda lib, x: lib.softmax(x), softmax_numpy),
    ("layer_norm 16384x1024 f32", (1 << 14, 1024), lambda lib, x: lib.layer_norm(x), layer_norm_numpy),
]


def forward_runs(case, x):
    """Functions of no argument that run the case once and end when it has ended, by peer."""
    runs = {}
    if torch:
        t = torch.from_numpy(x)
        compiled = torch.compile(lambda v: case(Torch, v))
        runs["torch"] = lambda: case(Torch, t)
        runs["torch.compile"] = lambda: compiled(t)
    if jax:
        j = jnp.asarray(x)
        jitted = jax.jit(lambda v: case(Jax, v))
        runs["jax.jit"] = lambda: jitted(j).block_until_ready()
    return runs


def initial(n):
    rng = np.random.default_rng(2)
    limit = lambda a, b: np.sqrt(6 / (a + b))
    uniform = lambda bound, *shape: rng.uniform(-bound, bound, shape).astype(np.float32)
    return [uniform(1, CHANNELS), uniform(limit(8, 8), CHANNELS, CHANNELS), uniform(1, CHANNELS),
            uniform(limit(8 * n, 10), CHANNELS * n, CLASSES), np.zeros(CLASSES, np.float32)]


def logits(lib, sigmoid, relu, p, x):
    """The model `deep` of the classifier example."""
    bank = lambda h, rho: relu(lib.layer_norm(lib.frac(h, (2 * sigmoid(rho))[:, None])))
    h = bank(x[:, None, :], p[0])
    return bank(p[1] @ h, p[2]).reshape(x.shape[0], -1) @ p[3] + p[4]


def torch_step(x, label, n, compile):
    p = [torch.from_numpy(v).requires_grad_() for v in initial(n)]
    x, label = torch.from_numpy(x), torch.from_numpy(label).long()
    optimizer = torch.optim.Adam(p, lr=1e-5)

    def loss_of(x):
        return torch.nn.functional.cross_entropy(logits(Torch, torch.sigmoid, torch.relu, p, x), label)

    loss_of = torch.compile(loss_of) if compile else loss_of

    def step():
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def jax_step(x, label, n):
    x, label = jnp.asarray(x), jnp.asarray(label)

    def loss_of(p):
        scores = jax.nn.log_softmax(logits(Jax, jax.nn.sigmoid, jax.nn.relu, p, x))
        return -jnp.take_along_axis(scores, label[:, None], 1).mean()

    def update(p, m, v, k):
        loss, g = jax.value_and_grad(loss_of)(p)
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
        p = [a - 1e-5 * (b / (1 - 0.9**k)) / (jnp.sqrt(c / (1 - 0.999**k)) + 1e-8) for a, b, c in zip(p, m, v)]
        return p, m, v, loss

    update = jax.jit(update, donate_argnums=(0, 1, 2))
    p = [jnp.asarray(v) for v in initial(n)]
    state = [p, [jnp.zeros_like(a) for a in p], [jnp.zeros_like(a) for a in p]]
    count = 0

    def step():
        nonlocal count
        count += 1
        *state[:], loss = update(*state, float(count))
        return float(loss)

    return step


def training_runs(rows, n):
    x, label = noise(rows, n), np.random.default_rng(3).integers(0, CLASSES, rows).astype(np.int32)
    runs = {}
    if torch:
        runs["torch"] = torch_step(x, label, n, False)
        runs["torch.compile"] = torch_step(x, label, n, True)
    if jax:
        runs["jax.jit"] = jax_step(x, label, n)
    return runs


def seconds_of(run, count):
    begin = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - begin) / count


def medians(runs):
    """Of samples of at least 200 microseconds, in turn."""
    samples = {name: [] for name in runs}
    counts = {name: 1 + int(2e-4 / seconds_of(run, 3)) for name, run in runs.items()}
    budget, start = (0.3 if options.quick else 2) * len(runs), time.perf_counter()
    while runs and (time.perf_counter() - start < budget or len(samples[next(iter(runs))]) < 5):
        for name, run in runs.items():
            samples[name].append(seconds_of(run, counts[name]))
    return {name: statistics.median(times) for name, times in samples.items()}


def usable(name, runs, check):
    """The peers that run and pass; what fails is told."""
    good = {}
    for peer, run in runs.items():
        try:
            check(peer, run())
            run()
            good[peer] = run
        except Exception as error:
            print("%s: %s left out: %s" % (name, peer, str(error).split("\n")[0][:100]))
    return good


def suite_times(name):
    try:
        with open(options.suite) as file:
            rows = json.load(file)["rows"]
    except OSError:
        return {}
    for row in rows:
        if row["case"] == name and row.get("threads", options.threads) == options.threads:
            return {"frax": row["fused_seconds"], "frax eager": row["eager_seconds"]}
    return {}


def columns(times, peers, scale):
    return "".join("%16s" % ("%.4g" % (scale * times[p]) if p in times else "-") for p in peers)


def report(name, runs, check):
    times = suite_times(name) | medians(usable(name, runs, check))
    print("%-32s" % name + columns(times, PEERS, 1e3), flush=True)


def close_to(expected):
    def check(peer, result):
        error = np.abs(np.asarray(result) - expected).max() / np.abs(expected).max()
        assert error < 2e-4, "differs by %g of the largest entry" % error

    return check


def same_losses():
    first = {}

    def check(peer, loss):
        expected = first.setdefault("loss", loss)
        assert abs(loss - expected) < 1e-4 * abs(expected), "first loss %g, expected %g" % (loss, expected)

    return check


# ---- The sweep ----

MODELS = {
    False: "model m(x: %s[B, N]) {\n y = frac(x, 0.7, kind=weyl, step=0.1)\n return y\n}\n",
    True: "model m(x: %s[B, N]) {\n param order: %s = 0.7\n y = frac(x, order, kind=weyl, step=0.1)\n"
    " loss = mean(y^2)\n return loss, y\n}\n",
}
# f32, by whether with gradients: rows, samples, how many times PyTorch's eager time frax is to be faster.
BARS = {(True, 1, 32): 20, (True, 32, 1024): 6, (True, 64, 4096): 6}


def symbol(n):
    omega = np.arange(n // 2 + 1) * (2 * np.pi / (n * STEP))
    logarithm = np.log(np.maximum(omega, 1e-300)) + 0.5j * np.pi
    k = np.where(omega > 0, np.exp(ORDER * logarithm), 0)
    return k, k * logarithm


def expected_of(x, gradient):
    """By NumPy in f64: the derivative, or the loss with its gradients in x and in the order."""
    n, (k, dk) = x.shape[-1], symbol(x.shape[-1])
    spectrum = np.fft.rfft(x.astype(np.float64))
    y = np.fft.irfft(spectrum * k, n=n)
    if not gradient:
        return (y,)
    g = 2 * y / y.size
    return (y * y).mean(), np.fft.irfft(np.fft.rfft(g) * k.conj(), n=n), (g * np.fft.irfft(spectrum * dk, n=n)).sum()


def frax_run(x, gradient):
    dtype = "f64" if x.dtype == np.float64 else "f32"
    text = MODELS[gradient] % ((dtype,) * (2 if gradient else 1))
    wrt = ("x", "order") if gradient else ()
    exe = frax.compile(text, x, wrt, options.threads, B=x.shape[0], N=x.shape[1])
    outputs = exe.outputs()
    results = [outputs[name] for name in (("loss", "grad.x", "grad.order") if gradient else ("y",))]

    def run():
        exe.run()
        return results

    return run


def sweep_runs(x, gradient):
    runs, order = {"frax": frax_run(x, gradient)}, np.full((), ORDER, x.dtype)
    if torch:
        loss = lambda v, a: (Torch.frac(v, a) ** 2).mean()
        v, a = torch.from_numpy(x), torch.from_numpy(order)
        if gradient:
            v, a = v.requires_grad_(), a.requires_grad_()

        def torch_run(case):
            if not gradient:
                return lambda: (case(v, a),)

            def run():
                value = case(v, a)
                return value.detach(), *torch.autograd.grad(value, (v, a))

            return run

        case = loss if gradient else Torch.frac
        runs["torch"], runs["torch.compile"] = torch_run(case), torch_run(torch.compile(case, dynamic=False))
    if jax:
        j, o = jnp.asarray(x), jnp.asarray(order)
        with_gradient = jax.jit(jax.value_and_grad(lambda v, a: (Jax.frac(v, a) ** 2).mean(), (0, 1)))
        plain = jax.jit(lambda v, a: (Jax.frac(v, a),))

        def jax_run():
            result = jax.block_until_ready((with_gradient if gradient else plain)(j, o))
            return (result[0], *result[1]) if gradient else result

        runs["jax.jit"] = jax_run
    return runs


def close_to_all(expected, dtype):
    tolerance = 1e-9 if dtype == np.float64 else 2e-4

    def check(peer, results):
        for name, want, got in zip(("result", "gradient in x", "gradient in the order"), expected, results):
            error = np.abs(np.asarray(got, np.float64) - want).max() / np.abs(want).max()
            assert error < tolerance, "%s differs by %g of the largest entry" % (name, error)

    return check


def sweep_points():
    try:
        with open(options.suite) as file:
            rows = json.load(file)["rows"]
    except OSError:
        rows = []
    points = [(r["dtype"], r["gradient"], r["batch"], r["length"]) for r in rows
              if "length" in r and not r["causal"] and r["threads"] == options.threads]
    return list(dict.fromkeys(points + [("f32", *case) for case in BARS]))


def report_point(dtype, gradient, rows, n):
    x = noise(rows, n).astype({"f32": np.float32, "f64": np.float64}[dtype])
    name = "%s %dx%d %s" % (dtype, rows, n, "forward+gradient" if gradient else "forward")
    check = close_to_all(expected_of(x, gradient), x.dtype)
    times = medians(usable(name, sweep_runs(x, gradient), check))
    line, bar = "%-36s" % name + columns(times, SWEEP_PEERS, 1e6), BARS.get((gradient, rows, n)) if dtype == "f32" else None
    if "torch" in times and "frax" in times:
        ratio = times["torch"] / times["frax"]
        line += "%12.2f" % ratio + (" >= %g x torch %s" % (bar, "ok" if ratio >= bar else "missed") if bar else "")
    print(line, flush=True)


SWEEP_PEERS = ["frax", "torch", "torch.compile", "jax.jit"]
PEERS = ["frax", "frax eager", "torch", "torch.compile", "jax.jit"]
if not torch and not jax:
    raise SystemExit("peers.py: this Python has neither torch nor jax")
versions = ["%s %s" % (m.__name__, m.__version__) for m in (torch, jax) if m]
print("%s; %d thread(s)\n" % (", ".join(versions), options.threads))
print("%-36s" % "microseconds" + "".join("%16s" % p for p in SWEEP_PEERS) + "%12s" % "torch/frax")
for point in sweep_points():
    report_point(*point)
print("\n%-32s" % "milliseconds" + "".join("%16s" % p for p in PEERS))
for name, shape, case, expected in FORWARD:
    x = noise(*shape)
    report(name, forward_runs(case, x), close_to(expected(x)))
for rows, n in ((32, 128), (64, 1024)):
    report("training step, deep %dx%d" % (rows, n), training_runs(rows, n), same_losses())
