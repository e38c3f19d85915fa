/* fuzz_language.c — the language on damaged text: parsing, checking, lowering for small sizes. What is
 * accepted must lower to a graph that verifies; what is refused has a message.
 */
#include "fuzz.h"
#include "model.h"

const FuzzSeed fuzz_seeds[] = {
    FUZZ_SEED("model nile(x: f64[T]) {\n"
              "    param d: f64 = 0.1\n"
              "    r    = x - mean(x)\n"
              "    e    = frac(r, d, kind=grunwald)\n"
              "    loss = mean(e^2)\n"
              "    return loss, e\n"
              "}\n"),
    FUZZ_SEED("model classifier(x: f32[B, N], label: i32[B]) {\n"
              "    param rho: f32[8]      = 0   # orders\n"
              "    param w:   f32[8*N, 10] = glorot\n"
              "    param b:   f32[10]     = uniform(-1, 1/2)\n"
              "    alpha  = 2 * sigmoid(rho)\n"
              "    h      = relu(frac(expand(x, 1, 8), alpha[:, none], kind=weyl, step=0.1))\n"
              "    logits = reshape(h, [B, 8*N]) @ w + b\n"
              "    loss   = cross_entropy(logits, label)\n"
              "    return loss, logits\n"
              "}\n"),
    FUZZ_SEED("fn scaled(x, s) {\n"
              "    y = x * s\n"
              "    return y, norm(x, axis=-1)\n"
              "} derivative(dx, ds) {\n"
              "    return s * dx, sum(dx)\n"
              "}\n"
              "fn twice(f) {\n"
              "    return concat([f, 2 * f[::-1]], axis=0)\n"
              "}\n"
              "model other(a: f64[N-1, 3], c: bool[N/2]) {\n"
              "    t = twice(a[1:-1, none, ..., 2])\n"
              "    u = where(t > 0 and not (t >= 1), -t^2, clamp(t, lo=-1))\n"
              "    v = pad(u, ((1, 2), (0, 0)))\n"
              "    z = frac(v, 0.5, kind=laplacian, axes=(0, 1), step=(1, 2)) @ ones([1, 2])\n"
              "    return t, u, z\n"
              "}\n"),
    FUZZ_SEED("model c(x: f16[N], y: bf16) {\n"
              "    param l: f32 = normal(1e-3)\n"
              "    s = frac(x, -0.5, kind=tempered, causal=true, lambda=softplus(l), engine=fft)\n"
              "    w = causal_conv(grunwald_weights(0.3, N), cast(x, f64))\n"
              "    k = layer_norm(w) + linspace(0, 1, N)\n"
              "    i = argmax(softmax(k), keep=true) + iota(1)\n"
              "    return s, k, i, y\n"
              "}\n"),
    FUZZ_SEED("model filters(x: f64[B, N], a: f64[B]) {\n"
              "    k = 2 * a[:, none]\n"
              "    y = spectral_filter(x, w => (exp(-k * w^2), w), step=0.5)\n"
              "    z = spectral_filter(y, symbol=(u, v) => u^2 + v^2, axes=(0, 1), step=(1, 2))\n"
              "    g = guard(z, lo=-1e9, hi=1e9)\n"
              "    return y, g\n"
              "}\n"),
    {NULL, 0},
};

const FuzzSeed fuzz_words[] = {
    FUZZ_SEED("model m(x: f64[N]) {\n"),
    FUZZ_SEED("fn f(a) {\n"),
    FUZZ_SEED("param p: f64[N] = "),
    FUZZ_SEED("return x\n}\n"),
    FUZZ_SEED("derivative(dx) {\n"),
    FUZZ_SEED("y = "),
    FUZZ_SEED("sum("),
    FUZZ_SEED("frac(x, "),
    FUZZ_SEED("kind=tempered"),
    FUZZ_SEED("kind=caputo, "),
    FUZZ_SEED("scheme=l1_2, "),
    FUZZ_SEED("kind=integral, engine=soe, tol=1e-6"),
    FUZZ_SEED("times=x, "),
    FUZZ_SEED("axis=(0, -1)"),
    FUZZ_SEED("keep=true"),
    FUZZ_SEED("lambda="),
    FUZZ_SEED("step="),
    FUZZ_SEED("[::-1]"),
    FUZZ_SEED("[none, ...]"),
    FUZZ_SEED("[N/2:]"),
    FUZZ_SEED("reshape(x, [N, 1])"),
    FUZZ_SEED("zeros([N*N, 0])"),
    FUZZ_SEED("cast(x, i32)"),
    FUZZ_SEED("f64[N*M-1]"),
    FUZZ_SEED("spectral_filter(x, "),
    FUZZ_SEED("w => "),
    FUZZ_SEED("(u, v) => "),
    FUZZ_SEED("=>"),
    FUZZ_SEED(" @ "),
    FUZZ_SEED("^"),
    FUZZ_SEED("-"),
    FUZZ_SEED(" and "),
    FUZZ_SEED("not "),
    FUZZ_SEED("(("),
    FUZZ_SEED("))"),
    FUZZ_SEED("9223372036854775807"),
    FUZZ_SEED("1e308"),
    FUZZ_SEED("0"),
    FUZZ_SEED("\n"),
    FUZZ_SEED("#"),
    FUZZ_SEED("}"),
    FUZZ_SEED("\xce\xb1"),
    {NULL, 0},
};

long fuzz_accepted;

static void lower_small(const FraxModel *model, int64_t size) {
    int64_t values[64];
    Graph *g;
    FraxError err = {0};
    if (model_size_count(model) > 64) return;
    for (int i = 0; i < 64; i++) values[i] = size;
    FraxStatus status = model_lower(model, values, &g, &err);
    fuzz_check(status != FRAX_INTERNAL); /* a defect of the front end, whatever the text */
    if (status)
        fuzz_check(!g && err.status == status && err.message[0]);
    else
        fuzz_check(graph_verify(g, NULL) == FRAX_OK);
    graph_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FraxModel *model;
    FraxError err = {0};
    Text signature = {0};
    FraxStatus status = model_parse((const char *)data, size, "fuzz", NULL, &model, &err);
    fuzz_check(!status == (model != NULL));
    if (!status) {
        status = model_check(model, &signature, &err);
        if (!status) {
            fuzz_accepted++;
            fuzz_check(signature.len > 0);
        }
        lower_small(model, 4);
        lower_small(model, 0);
    }
    if (status) fuzz_check(err.status == status && err.message[0]);
    fuzz_check(status != FRAX_INTERNAL);
    text_free(&signature);
    model_destroy(model);
    return 0;
}
