"""Writes tests/language_values.h: what every built-in of the language gives on fixed inputs, by NumPy and SciPy.

Run by hand (python3 tests/language_values.py > tests/language_values.h) when a built-in is added; the header is kept in
the repository, so that the tests need no Python. Fractional operators are computed here from their definitions
(complex powers on numpy.fft grids, recursions for weights), in code that shares nothing with frax.
"""
import numpy as np
from scipy import special

rng = np.random.default_rng(7)
r = lambda *shape: np.round(rng.normal(size=shape), 3)
x, y, s, z, u = r(2, 3), r(3), r(8), r(2, 7), r(6, 5)
p = np.abs(r(2, 3)) + 0.1
a, b, c = r(2, 3, 4), r(4, 5), r(2, 4, 3)
t = np.round(rng.uniform(size=(2, 3)), 3)
i = np.array([2, 0], dtype=np.int32)
v = r(2, 3, 4, 5)
inputs = dict(x=x, y=y, s=s, z=z, u=u, p=p, a=a, b=b, c=c, t=t, i=i, v=v)

sigmoid = lambda q: 1 / (1 + np.exp(-q))
softplus = lambda q: np.logaddexp(0, q)


def softmax(q, axis=-1):
    return np.exp(q - special.logsumexp(q, axis=axis, keepdims=True))


def omega(n, h=1.0):
    return 2 * np.pi * np.fft.rfftfreq(n, h)


def power(base, alpha):
    """base^alpha with 0^alpha = 0, and 0^0 = 1."""
    base = np.asarray(base, dtype=complex)
    with np.errstate(all="ignore"):
        return np.where(base == 0, 1.0 if alpha == 0 else 0.0, np.exp(alpha * np.log(base)))


def spectral(q, k, axis=-1):
    q = np.moveaxis(q, axis, -1)
    out = np.fft.irfft(np.fft.rfft(q) * k, n=q.shape[-1])
    return np.moveaxis(out, -1, axis)


def philox(counter, key):
    """Salmon, Moraes, Dror, Shaw 2011, section 4: ten rounds on four words of 32 bits, in Python's integers."""
    a, b, c, d = counter
    for n in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = ((right >> 32) ^ b ^ (key[0] + n * 0x9E3779B9) % 2**32, right % 2**32,
                      (left >> 32) ^ d ^ (key[1] + n * 0xBB67AE85) % 2**32, left % 2**32)
    return a, b, c, d


def drawn(n, stream=0, bits=52, which=0):
    """Numbers 0 … n - 1 of a stream under the key i: the middles of 2^bits equal parts of (0, 1)."""
    blocks = [philox((k, 0, stream, 1), [int(word) % 2**32 for word in i]) for k in range(n)]
    words = [block[2 * which] + block[2 * which + 1] * 2**32 if bits > 32 else block[which] for block in blocks]
    return np.array([((word >> (12 if bits > 32 else 9)) + 0.5) / 2**bits for word in words])


def weyl(q, alpha, h=1.0, axis=-1):
    return spectral(q, power(1j * omega(q.shape[axis], h), alpha), axis)


def riesz(q, alpha, h=1.0, axis=-1):
    return spectral(q, power(omega(q.shape[axis], h), alpha), axis)


def tempered(q, alpha, lam, h=1.0, centered=False):
    k = power(lam + 1j * omega(q.shape[-1], h), alpha)
    return spectral(q, k - power(lam, alpha) if centered else k)


def laplacian2(q, alpha, h=(1.0, 1.0)):
    w = [2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(q.shape, h)]
    k = power(w[0][:, None] ** 2 + w[1][None, :] ** 2, alpha / 2)
    return np.fft.ifft2(np.fft.fft2(q) * k).real


def filter2(q, symbol, h=(1.0, 1.0)):
    """symbol(v, w) on the frequencies of two axes; of the real parts of the transforms, as in numpy.fft.irfft2."""
    v = 2 * np.pi * np.fft.fftfreq(q.shape[0], h[0])[:, None]
    return np.fft.irfft2(np.fft.rfft2(q) * symbol(v, omega(q.shape[1], h[1])[None, :]), s=q.shape)


def weights(alpha, n):
    w = [1.0]
    for j in range(1, n):
        w.append(w[-1] * (j - 1 - alpha) / j)
    return np.array(w)


def causal(w, q):
    return np.apply_along_axis(lambda row: np.convolve(w, row)[: len(row)], -1, q)


def exponential(weights, rates, q, lag=0):
    k = np.arange(q.shape[-1] - lag)[:, None]
    return causal(np.concatenate([np.zeros(lag), np.sum(weights * rates ** k, 1)]), q)


def grunwald(q, alpha, h=1.0):
    return causal(weights(alpha, q.shape[-1]), q) * h ** -alpha


def tempered_causal(q, alpha, lam, h=1.0):
    return causal(weights(alpha, q.shape[-1]) * np.exp(-lam * h * np.arange(q.shape[-1])), q) * h ** -alpha


d = x - t
rows = [
    # pointwise
    ("exp(x)", np.exp(x)), ("expm1(x)", np.expm1(x)), ("log(p)", np.log(p)), ("log1p(p)", np.log1p(p)),
    ("sin(x)", np.sin(x)), ("cos(x)", np.cos(x)), ("tanh(x)", np.tanh(x)), ("sigmoid(x)", sigmoid(x)),
    ("relu(x)", np.maximum(x, 0)), ("gelu(x)", x * special.ndtr(x)),
    ("gelu(x, approximate=tanh)", 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))),
    ("silu(x)", x * sigmoid(x)), ("softplus(x)", softplus(x)), ("softplus(1000 * x)", softplus(1000 * x)),
    ("erf(x)", special.erf(x)), ("sqrt(p)", np.sqrt(p)), ("rsqrt(p)", 1 / np.sqrt(p)), ("abs(x)", np.abs(x)),
    ("sign(x)", np.sign(x)), ("floor(3 * x)", np.floor(3 * x)), ("min(x, y)", np.minimum(x, y)),
    ("max(x, 0.25)", np.maximum(x, 0.25)), ("clamp(x, -0.5, 0.5)", np.clip(x, -0.5, 0.5)),
    ("clamp(x, hi=0.1)", np.minimum(x, 0.1)), ("clamp(x, lo=y)", np.maximum(x, y)),
    ("pow(p, x)", p ** x), ("lgamma(p)", special.gammaln(p)), ("lgamma(x)", special.gammaln(x)),
    ("digamma(p)", special.digamma(p)), ("where(x > y, x, 0)", np.where(x > y, x, 0)),
    ("where(x > 0 and not (x > 1) or y < -1, 1, y)", np.where((x > 0) & ~(x > 1) | (y < -1), 1, y)),
    ("mittag_leffler(0.5, 1, -p)", special.erfcx(p)), ("mittag_leffler(2, 1, -p)", np.cos(np.sqrt(p))),
    ("mittag_leffler(1, x * 0 + 2, y)", np.broadcast_to(np.expm1(y) / y, (2, 3))),
    ("cast(x > 0, f64)", (x > 0) * 1.0), ("cast(3 * x, i32)", (3 * x).astype(np.int32)), ("stop_gradient(x)", x),
    ("guard(x, -1, 0.299)", x),
    # operators
    ("-x^2", -(x ** 2)), ("2^-x", 2 ** -x), ("x^3 - x^2 / 2", x ** 3 - x ** 2 / 2), ("p^0.5", np.sqrt(p)),
    ("p^1.5", p ** 1.5), ("2^3^2 * x", 512 * x), ("x + y * 2 - 1", x + y * 2 - 1), ("1 / p", 1 / p),
    ("7 / 2 + 0 * sum(x)", np.array(3.5)), ("i * 2 + 1", i * 2 + 1), ("i == 2", i == 2), ("x != x", x != x),
    ("x >= 0", x >= 0), ("x <= y", x <= y), ("i^3", i ** 3), ("+x", x), ("x * pi", x * np.pi),
    ("exp(1) * x", np.e * x), ("sqrt(2) + x", np.sqrt(2) + x), ("max(2, 3) * x", 3 * x), ("x * floor(2.5)", 2 * x),
    # products
    ("a @ b", a @ b), ("a @ c", a @ c), ("y @ y", np.array(y @ y)), ("x @ y", x @ y), ("y @ transpose(x)", y @ x.T),
    ("x @ a", x @ a), ("y @ a", y @ a), ("v @ r5", v @ np.arange(5.0)), ("v @ transpose(v, (0, 1, 3, 2))",
    v @ v.transpose(0, 1, 3, 2)), ("a[:, none] @ v", a[:, None][:, :, :, :] @ v), ("linear(a, b, b[0])", a @ b + b[0]),
    # reductions
    ("sum(x)", x.sum()), ("sum(v, axis=(1, -1))", v.sum(axis=(1, -1))),
    ("sum(v, axis=1, keep=true)", v.sum(axis=1, keepdims=True)), ("mean(v, axis=(0, 2))", v.mean(axis=(0, 2))),
    ("mean(x)", x.mean()), ("var(v, axis=2)", v.var(axis=2)), ("var(x, correction=1)", x.var(ddof=1)),
    ("var(x + 1e6, axis=1)", (x + 1e6).var(axis=1)), ("max(v, axis=-1)", v.max(axis=-1)), ("min(x)", x.min()),
    ("max(x, axis=0, keep=true)", x.max(axis=0, keepdims=True)),
    ("logsumexp(v, axis=(1, 2))", special.logsumexp(v, axis=(1, 2))), ("logsumexp(1000 * x)", special.logsumexp(1000 * x)),
    ("norm(v, axis=(2, 3))", np.sqrt((v ** 2).sum(axis=(2, 3)))), ("norm(0 * x)", np.array(0.0)),
    ("argmax(v, axis=1)", v.argmax(axis=1).astype(np.int32)), ("argmax(x)", np.int32(x.argmax())),
    ("argmax(x, axis=0, keep=true)", x.argmax(axis=0)[None].astype(np.int32)), ("sum(i)", np.int32(i.sum())),
    # networks
    ("softmax(x)", softmax(x)), ("softmax(v, axis=(1, 2))", softmax(v, (1, 2))), ("softmax(1000 * x)", softmax(1000 * x)),
    ("log_softmax(a, axis=1)", a - special.logsumexp(a, axis=1, keepdims=True)),
    ("mse(x, t)", (d ** 2).mean()), ("mae(x, t)", np.abs(d).mean()),
    ("huber(x, t)", np.where(np.abs(d) <= 1, d ** 2 / 2, np.abs(d) - 0.5).mean()),
    ("huber(x, t, delta=0.3)", np.where(np.abs(d) <= 0.3, d ** 2 / 2, 0.3 * (np.abs(d) - 0.15)).mean()),
    ("bce(x, t)", -(t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x))).mean()),
    ("bce(1000 * x, t)", (softplus(1000 * x) - 1000 * x * t).mean()),
    ("cross_entropy(x, i)", (special.logsumexp(x, axis=1) - x[np.arange(2), i]).mean()),
    ("cross_entropy(x, i + 1)", np.array(np.nan)), ("mse(x, 1)", ((x - 1) ** 2).mean()),
    ("layer_norm(x)", (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)),
    ("layer_norm(x, y, y + 1, eps=0.1)",
     (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 0.1) * y + y + 1),
    ("layer_norm(v, axis=(1, 2))",
     (v - v.mean((1, 2), keepdims=True)) / np.sqrt(v.var((1, 2), keepdims=True) + 1e-5)),
    ("rms_norm(x, y)", x / np.sqrt((x ** 2).mean(1, keepdims=True) + 1e-6) * y),
    # shapes
    ("reshape(a, [4, 6])", a.reshape(4, 6)), ("reshape(x, 6)", x.reshape(6)), ("transpose(a)", a.T),
    ("transpose(a, (1, 2, 0))", a.transpose(1, 2, 0)), ("expand(x, 1, 2)", np.repeat(x[:, None], 2, 1)),
    ("expand(x, -1, 2)", np.repeat(x[:, :, None], 2, 2)), ("concat([x, p], axis=1)", np.concatenate([x, p], 1)),
    ("concat([y, y + 1, y])", np.concatenate([y, y + 1, y])), ("pad(x, ((1, 0), (0, 2)))", np.pad(x, ((1, 0), (0, 2)))),
    ("pad(x, (1, 2), axis=0)", np.pad(x, ((1, 2), (0, 0)))), ("pad(x, (1, 1))", np.pad(x, 1)),
    ("flip(a, axis=(0, 2))", a[::-1, :, ::-1]), ("flip(x)", x[::-1, ::-1]), ("slice(s, 1, -1, 2)", s[1:-1:2]),
    ("slice(a, stop=1, axis=1)", a[:, :1]), ("iota(4)", np.arange(4, dtype=np.int32)), ("iota(3, f64) + y", np.arange(3.0) + y),
    ("linspace(-1, 1, 5)", np.linspace(-1, 1, 5)), ("linspace(0, 0.3, 4)[-1]", np.array(0.3)), ("linspace(2, 3, 1)", np.array([2.0])),
    ("zeros([2, 2])", np.zeros((2, 2))), ("ones(3)", np.ones(3)), ("ones([])", np.array(1.0)),
    ("full([2, 2], 1.5)", np.full((2, 2), 1.5)), ("full([2, 3], y)", np.broadcast_to(y, (2, 3))),
    ("full(2, 7, i32)", np.full(2, 7, dtype=np.int32)), ("zeros([0])", np.zeros(0)), ("sum(zeros([0]))", np.array(0.0)),
    # subscripts
    ("s[2:5]", s[2:5]), ("s[-3:]", s[-3:]), ("s[:-6]", s[:-6]), ("s[::3]", s[::3]), ("s[::-1]", s[::-1]),
    ("s[6:1:-2]", s[6:1:-2]), ("s[-2::-3]", s[-2::-3]), ("s[:2:-1]", s[:2:-1]), ("s[100:]", s[100:]),
    ("s[3]", np.array(s[3])), ("s[-8]", np.array(s[-8])), ("s[5:2]", s[5:2]), ("s[-100:3]", s[-100:3]),
    ("a[1]", a[1]), ("a[:, -1]", a[:, -1]), ("a[..., 2]", a[..., 2]), ("a[0, ..., none]", a[0, ..., None]),
    ("a[none, :, 1, none, ::-2]", a[None, :, 1, None, ::-2]), ("x[none] - x[:, none]", x[None] - x[:, None]),
    ("v[1, :, 1:3, -1]", v[1, :, 1:3, -1]), ("v[...]", v), ("a[1:, ::-1, :2][0]", a[1:, ::-1, :2][0]),
    # fractional
    ("frac(s, 0.5)", weyl(s, 0.5)), ("frac(s, 1, kind=weyl, step=0.1)", weyl(s, 1, 0.1)),
    ("frac(s, 0, kind=weyl)", s), ("frac(s, -0.7, kind=liouville)", weyl(s, -0.7)), ("frac(z, 1.3)", weyl(z, 1.3)),
    ("frac(u, 0.4, axis=0, step=0.5)", weyl(u, 0.4, 0.5, 0)), ("frac(z, 0.6, kind=riesz)", riesz(z, 0.6)),
    ("frac(s, 2, kind=riesz, step=0.2)", riesz(s, 2, 0.2)), ("frac(z, y[:2, none])",
    np.stack([weyl(z[k], y[k]) for k in range(2)])),
    ("frac(z[:1], y[:, none], kind=riesz)", np.stack([riesz(z[0], q) for q in y])),
    ("frac(s[:1], 0.5)", 0 * s[:1]), ("frac(s[:1], 0)", s[:1]),
    ("frac(s, 0.5, step=exp(y[0]))", weyl(s, 0.5, np.exp(y[0]))),
    ("frac(u, 0.9, kind=laplacian, axes=(0, 1))", laplacian2(u, 0.9)),
    ("frac(u, 1.2, kind=laplacian, axes=(0, 1), step=(0.5, 2))", laplacian2(u, 1.2, (0.5, 2.0))),
    ("frac(u, 2, kind=laplacian, axis=1)", riesz(u, 2)),
    ("spectral_filter(s, w => (0, w))", spectral(s, 1j * omega(8))),
    ("spectral_filter(z, w => exp(-0.3 * w^2), step=0.5)", spectral(z, np.exp(-0.3 * omega(7, 0.5) ** 2))),
    ("spectral_filter(u, symbol=w => (1 / (1 + w^2), -w / (1 + w^2)), axis=0)", spectral(u, 1 / (1 + 1j * omega(6)), 0)),
    ("spectral_filter(u, (q, w) => (exp(-q^2 - w^2 / 2), q * w^2), axes=(0, 1), step=(0.5, 2))",
     filter2(u, lambda q, w: np.exp(-q ** 2 - w ** 2 / 2) + 1j * q * w ** 2, (0.5, 2.0))),
    ("spectral_filter(z[:1], w => exp(-y[:, none]^2 * w))",
     np.stack([spectral(z[0], np.exp(-q ** 2 * omega(7))) for q in y])),
    ("frac(z, 0.5, kind=tempered, lambda=0.3)", tempered(z, 0.5, 0.3)),
    ("frac(z, 0.5, kind=tempered)", weyl(z, 0.5)),
    ("frac(z, -0.5, kind=tempered, lambda=1.5, step=0.1)", tempered(z, -0.5, 1.5, 0.1)),
    ("frac(z, 1.5, kind=tempered, lambda=0.3, centered=true)", tempered(z, 1.5, 0.3, centered=True)),
    ("frac(s, 0.5, kind=grunwald)", grunwald(s, 0.5)), ("frac(s, -1.5, kind=grunwald, step=0.1)", grunwald(s, -1.5, 0.1)),
    ("frac(s, 1, kind=grunwald, engine=direct)", np.diff(s, prepend=0)),
    ("frac(z, 0.3, kind=grunwald, engine=fft)", grunwald(z, 0.3)),
    ("frac(u, 0.3, kind=grunwald, axis=0)", grunwald(u.T, 0.3).T),
    ("frac(z, y[:2, none], kind=grunwald)", np.stack([grunwald(z[k], y[k]) for k in range(2)])),
    ("frac(u, y[none, :1] + u[:1] , kind=grunwald, axis=0)",
     np.stack([grunwald(u[:, k], y[0] + u[0, k]) for k in range(5)], 1)),
    ("frac(z, 0.5, kind=grunwald, step=exp(y[:2, none]))",
     np.stack([grunwald(z[k], 0.5, np.exp(y[k])) for k in range(2)])),
    ("frac(s, 0.7, kind=tempered, causal=true, lambda=0.4, step=0.5)", tempered_causal(s, 0.7, 0.4, 0.5)),
    ("frac(s, 0.7, kind=tempered, causal=true, lambda=0.4, centered=true)", tempered_causal(s, 0.7, 0.4) - 0.4 ** 0.7 * s),
    ("causal_conv(y, s)", causal(y, s)), ("causal_conv(s, y)", causal(s, y)),
    ("causal_conv(s[:6], u, axis=0)", causal(s[:6], u.T).T),
    ("causal_conv(z[:, :7], z)", np.stack([causal(z[k], z[k]) for k in range(2)])),
    ("exponential_conv(y, p[0] - 1, s)", exponential(y, p[0] - 1, s)),
    ("exponential_conv(s[:2], y[:2], u, axis=0, lag=2)", exponential(s[:2], y[:2], u.T, 2).T),
    ("exponential_conv(p, t, z)", np.stack([exponential(p[k], t[k], z[k]) for k in range(2)])),
    ("exponential_conv(r=t[:1], c=p, x=z, lag=1)", np.stack([exponential(p[k], t[0], z[k], 1) for k in range(2)])),
    ("exponential_conv(y, y, s, lag=8)", 0 * s),
    ("grunwald_weights(0.5, 6)", weights(0.5, 6)), ("grunwald_weights(y, 4)", np.stack([weights(q, 4) for q in y])),
]

rows += [  # random numbers
    ("random_uniform(i, [2, 3])", drawn(6).reshape(2, 3)),
    ("random_uniform(i, [2]) - random_uniform(i, [2])", drawn(2) - drawn(2, stream=1)),
    ("cast(random_uniform(i, [9], dtype=f32), f64)", drawn(9, bits=23)),
    ("random_normal(i, [7])", np.sqrt(-2 * np.log(drawn(7))) * np.cos(2 * np.pi * drawn(7, which=1))),
    ("dropout(z, i, rate=0.4)", np.where(drawn(14, bits=23).reshape(2, 7) < 0.4, 0, z / 0.6)),
]

names = {np.dtype("float64"): "f64", np.dtype("int32"): "i32", np.dtype("bool"): "bool"}


def numbers(array):
    return ", ".join("NAN" if np.isnan(q) else repr(float(q)) for q in np.asarray(array).ravel()) or "0"


print("/* language_values.h — written by language_values.py: expressions, their types and values by NumPy and SciPy. */")
print("static const struct ValueInput {\n    const char *name, *type;\n    double data[120];\n} value_inputs[] = {")
for name, array in inputs.items():
    print(f'    {{"{name}", "{names[array.dtype]}[{",".join(map(str, array.shape))}]", {{{numbers(array)}}}}},')
print("};\n\nstatic const struct ValueRow {\n    const char *expression, *type;\n    double data[240];\n} value_rows[] = {")
for text, array in rows:
    array = np.asarray(array)
    text = text.replace("r5", "iota(5, f64)")
    print(f'    {{"{text}", "{names[array.dtype]}[{",".join(map(str, array.shape))}]", {{{numbers(array)}}}}},')
print("};")
