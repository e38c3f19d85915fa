"""peers.py — the suite's cases in PyTorch and JAX, beside the suite's own times.

    ./dev bench --json build/bench.json
    python3 bench/peers.py [--suite build/bench.json] [--threads 1] [--quick]

Optional: uses whichever of torch and jax the running Python has. Inputs are seeded noise; each peer's results are
compared with NumPy's (or, for training, the first losses of the peers with each other) before anything is timed.
Times are medians of many, the peers taking turns; compiling is left out. frax's times come from the suite's run, so
compare only runs of the same quiet machine.
"""
import argparse
import json
import os
import statistics
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

STEP, CHANNELS, CLASSES = 0.1, 8, 10


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


def frac_numpy(x):
    n = x.shape[-1]
    omega = np.arange(n // 2 + 1) * (2 * np.pi / (n * STEP))
    return np.fft.irfft(np.fft.rfft(x.astype(np.float64)) * (1j * omega) ** 0.7, n=n)


def spectral(lib, x):
    return lib.frac(x, lib.array(np.full((), 0.7, np.float32)))


# Name in the suite, shape of the input, the case, what it must equal.
FORWARD = [
    ("chain of ten, 16 M f32", (1 << 24,), chain, chain_numpy),
    ("softmax 16384x1024 f32", (1 << 14, 1024), lambda lib, x: lib.softmax(x), softmax_numpy),
    ("layer_norm 16384x1024 f32", (1 << 14, 1024), lambda lib, x: lib.layer_norm(x), layer_norm_numpy),
] + [("spectral forward %d" % n, ((1 << 20) // n, n), spectral, frac_numpy) for n in (128, 1024, 8192)]


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


def medians(runs):
    samples = {name: [] for name in runs}
    budget, start = (0.5 if options.quick else 3) * len(runs), time.perf_counter()
    while time.perf_counter() - start < budget or len(samples[next(iter(runs))]) < 5:
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            samples[name].append(time.perf_counter() - begin)
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


def report(name, runs, check):
    times = suite_times(name) | medians(usable(name, runs, check))
    print("%-32s" % name + "".join("%16s" % ("%.3f" % (1e3 * times[p]) if p in times else "-") for p in PEERS), flush=True)


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


PEERS = ["frax", "frax eager", "torch", "torch.compile", "jax.jit"]
if not torch and not jax:
    raise SystemExit("peers.py: this Python has neither torch nor jax")
versions = ["%s %s" % (m.__name__, m.__version__) for m in (torch, jax) if m]
print("%s; %d thread(s); milliseconds\n" % (", ".join(versions), options.threads))
print("%-32s" % "case" + "".join("%16s" % p for p in PEERS))
for name, shape, case, expected in FORWARD:
    x = noise(*shape)
    report(name, forward_runs(case, x), close_to(expected(x)))
for rows, n in ((32, 128), (64, 1024)):
    report("training step, deep %dx%d" % (rows, n), training_runs(rows, n), same_losses())
