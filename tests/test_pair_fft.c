/* test_pair_fft.c — generated transforms of pairs of rows against the definition in long double, for vectors
 * of several widths, along rows and with pairs side by side; the laws of linearity, impulse and shift; what
 * hooks see, of signals that zeros follow too.
 *
 * Error bounds are relative in the 2-norm: a transform of N points makes a rounding error that grows with
 * log2 N passes, each of a unit roundoff or so (f64 1.1e-16, f32 6e-8): 4e-16·log2 N and 4e-7·log2 N; N < 2
 * counts as 2. There and back is twice that.
 */
#include "jit.h"
#include "pair_fft.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef long double Real;

enum { ALL_TO = 512, KINDS = 3 };

static double random_value(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53 - 0.5;
}

/* Two planes of one type: one signal, or several side by side, of which `lane` is looked at. */
typedef struct Planes {
    FraxDType dtype;
    int64_t elements;
    int wide, lane;
    void *re, *im;
} Planes;

static Planes planes_create(FraxDType dtype, int64_t elements, int wide) {
    size_t bytes = (size_t)elements * frax_dtype_size(dtype);
    Planes p = {dtype, elements, wide, 0, mem_aligned(bytes), mem_aligned(bytes)};
    assert_true(p.re && p.im);
    memset(p.re, 0xff, bytes); /* NaN: what lies behind the signal must not matter */
    memset(p.im, 0xff, bytes);
    return p;
}

static void planes_copy(Planes *to, const Planes *from) {
    size_t bytes = (size_t)from->elements * frax_dtype_size(from->dtype);
    memcpy(to->re, from->re, bytes);
    memcpy(to->im, from->im, bytes);
}

static void planes_destroy(Planes *p) {
    mem_free(p->re);
    mem_free(p->im);
}

static void set(Planes *p, int64_t position, Real re, Real im) {
    int64_t i = position * p->wide + p->lane;
    if (p->dtype == FRAX_F64) {
        ((double *)p->re)[i] = (double)re;
        ((double *)p->im)[i] = (double)im;
    } else {
        ((float *)p->re)[i] = (float)re;
        ((float *)p->im)[i] = (float)im;
    }
}

static void get(const Planes *p, int64_t position, Real *re, Real *im) {
    int64_t i = position * p->wide + p->lane;
    bool wide = p->dtype == FRAX_F64;
    *re = wide ? ((double *)p->re)[i] : ((float *)p->re)[i];
    *im = wide ? ((double *)p->im)[i] : ((float *)p->im)[i];
}

/* ---- Generated code under test ---- */

/* With all hooks: of x to y (PAIR_FORWARD: the spectrum), times K on the way if that is a filter or inverse.
 */
typedef void Hooked(const void *x_re, const void *x_im, void *y_re, void *y_im, void *work_re, void *work_im,
                    const void *k_re, const void *k_im);

typedef struct Length {
    PairPlan plan;
    void *functions[KINDS];
    int64_t signal; /* samples of the hooked ones' signal, which zeros follow; 0: there are none */
    Hooked *hooked[KINDS];
    int64_t *bins;
    Real *roots; /* cos, −sin of 2πt/n */
} Length;

typedef struct Suite {
    FraxDType dtype;
    int vector_bytes, nlengths;
    bool wide; /* pairs side by side */
    Length *lengths;
    JitCode *code;
} Suite;

static void *no_symbol(const char *name) {
    (void)name;
    return NULL;
}

typedef struct Hooks {
    Emitter *e;
    const PairPlan *plan;
    Em params[8];
} Hooks;

static Em element(Hooks *h, Em at) {
    return h->e->ops->index_op(h->e, INDEX_MUL, at, h->e->ops->index(h->e, h->plan->wide));
}

static Em read(Hooks *h, int param, Em at, Em mask) {
    return h->e->ops->load(h->e, h->params[param], h->plan->dtype, element(h, at), 1, pair_fft_width(h->plan),
                           mask);
}

static Em read_shared(Hooks *h, int param, Em at) {
    Em k = h->e->ops->load(h->e, h->params[param], h->plan->dtype, at, 1, h->plan->lanes, (Em){0});
    return h->e->ops->splat(h->e, k, pair_fft_width(h->plan));
}

static void hook_load(void *context, Em at, Em mask, Em *re, Em *im) {
    *re = read(context, 0, at, mask);
    *im = read(context, 1, at, mask);
}

static void hook_store(void *context, Em at, Em mask, Em re, Em im) {
    Hooks *h = context;
    h->e->ops->store(h->e, h->params[2], h->plan->dtype, element(h, at), 1, re, mask);
    h->e->ops->store(h->e, h->params[3], h->plan->dtype, element(h, at), 1, im, mask);
}

static void hook_keep(void *context, Em at, Em *re, Em *im) {
    hook_store(context, at, (Em){0}, *re, *im);
}

static void hook_filter(void *context, Em at, Em *re, Em *im) {
    Hooks *h = context;
    const EmitterOps *o = h->e->ops;
    Em k_re = read_shared(h, 6, at), k_im = read_shared(h, 7, at), x = *re, y = *im;
    *re = o->arith(h->e, OP_sub, o->arith(h->e, OP_mul, x, k_re), o->arith(h->e, OP_mul, y, k_im));
    *im = o->arith(h->e, OP_add, o->arith(h->e, OP_mul, y, k_re), o->arith(h->e, OP_mul, x, k_im));
}

static void hooked_name(const Length *l, int kind, char name[48]) {
    snprintf(name, 48, "hooked_%lld_%d", (long long)l->plan.n, kind);
}

static void emit_hooked(Emitter *e, const Length *l, int kind) {
    Hooks h = {.e = e, .plan = &l->plan};
    EmType types[8];
    char name[48];
    for (int i = 0; i < 8; i++) types[i] = EM_POINTER;
    hooked_name(l, kind, name);
    e->ops->function_begin(e, name, types, 8, h.params);
    PairIo io = {.re = h.params[4],
                 .im = h.params[5],
                 .length = l->signal,
                 .discard = kind == PAIR_FORWARD,
                 .context = &h,
                 .load = hook_load,
                 .store = hook_store,
                 .bins = kind == PAIR_FORWARD ? hook_keep : hook_filter};
    assert_true(emit_pair_transform(e, &l->plan, (PairKind)kind, &io));
    e->ops->function_end(e);
}

static void emit_length(Emitter *e, const Length *l) {
    for (int kind = 0; kind < KINDS; kind++) {
        assert_true(emit_pair_fft(e, &l->plan, (PairKind)kind));
        if (l->signal) emit_hooked(e, l, kind);
    }
}

static void find_functions(const Suite *s, Length *l) {
    char name[48];
    for (int kind = 0; kind < KINDS; kind++) {
        pair_fft_name(&l->plan, (PairKind)kind, name);
        l->functions[kind] = jit_function(s->code, name);
        assert_non_null(l->functions[kind]);
        if (!l->signal) continue;
        hooked_name(l, kind, name);
        l->hooked[kind] = (Hooked *)jit_function(s->code, name);
        assert_non_null(l->hooked[kind]);
    }
}

static void compile(Suite *s) {
    HostTarget target;
    FraxError err;
    LLVMContextRef context;
    LLVMModuleRef module;
    char *object;
    size_t size;
    assert_int_equal(host_target(&target, &err), FRAX_OK);
    target.vector_bytes = s->vector_bytes;
    LlvmEmitter *emitter = llvm_emitter_create(&target);
    for (int i = 0; i < s->nlengths; i++) emit_length(llvm_emitter_base(emitter), &s->lengths[i]);
    if (llvm_emitter_finish(emitter, &context, &module, &err)) fail_msg("%s", err.message);
    llvm_emitter_destroy(emitter);
    if (compile_module(context, module, &target, false, &object, &size, &err)) fail_msg("%s", err.message);
    if (jit_link(object, size, no_symbol, false, &s->code, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < s->nlengths; i++) find_functions(s, &s->lengths[i]);
    mem_free(object);
    host_target_free(&target);
}

static Length *add_length(Suite *s, int64_t n) {
    const Real pi = acosl(-1);
    s->lengths = realloc(s->lengths, (size_t)(s->nlengths + 1) * sizeof *s->lengths);
    Length *l = &s->lengths[s->nlengths++];
    *l = (Length){.plan = (s->wide ? pair_fft_plan_wide : pair_fft_plan)(s->dtype, n, s->vector_bytes)};
    l->bins = malloc((size_t)l->plan.positions * sizeof *l->bins);
    l->roots = malloc((size_t)n * 2 * sizeof *l->roots);
    pair_fft_order(&l->plan, l->bins);
    for (int64_t t = 0; t < n; t++) {
        l->roots[2 * t] = cosl(2 * pi * (Real)t / (Real)n);
        l->roots[2 * t + 1] = -sinl(2 * pi * (Real)t / (Real)n);
    }
    return l;
}

static void suite_destroy(Suite *s) {
    for (int i = 0; i < s->nlengths; i++) {
        free(s->lengths[i].bins);
        free(s->lengths[i].roots);
    }
    free(s->lengths);
    jit_destroy(s->code);
}

static void transform(const Length *l, PairKind kind, Planes *x) {
    ((void (*)(void *, void *))l->functions[kind])(x->re, x->im);
}

static void filter(const Length *l, Planes *x, const Planes *k) {
    ((void (*)(void *, void *, void *, void *))l->functions[PAIR_FILTER])(x->re, x->im, k->re, k->im);
}

static void run_hooked(const Length *l, PairKind kind, const Planes *x, Planes *y, Planes *work,
                       const Planes *k) {
    l->hooked[kind](x->re, x->im, y->re, y->im, work->re, work->im, k->re, k->im);
}

/* ---- Signals and spectra ---- */

static Planes signal_create(const Length *l) {
    return planes_create(l->plan.dtype, l->plan.elements, l->plan.wide);
}

/* Of `length` samples, NaN behind them. */
static Planes random_signal(const Length *l, int64_t length) {
    Planes x = signal_create(l);
    for (x.lane = 0; x.lane < x.wide; x.lane++)
        for (int64_t i = 0; i < length; i++) set(&x, i, random_value(), random_value());
    x.lane = 0;
    return x;
}

/* K, which pairs side by side have in common. */
static Planes filter_create(const Length *l) {
    return planes_create(l->plan.dtype, l->plan.positions, 1);
}

/* K_k = e^{−2πiks/n}/n delays by s. */
static Planes shift_filter(const Length *l, int64_t shift) {
    Planes k = filter_create(l);
    Real n = (Real)l->plan.n;
    for (int64_t i = 0; i < l->plan.positions; i++) {
        const Real *w = l->roots + 2 * (MAX(l->bins[i], 0) * shift % l->plan.n);
        set(&k, i, l->bins[i] < 0 ? 0 : w[0] / n, l->bins[i] < 0 ? 0 : w[1] / n);
    }
    return k;
}

static double bound_of(const Length *l) {
    return (l->plan.dtype == FRAX_F64 ? 4e-16 : 4e-7) * log2((double)MAX(l->plan.n, 2));
}

static void check_error(const Length *l, const char *what, Real error, Real norm, double bound) {
    double relative = (double)sqrtl(error / norm);
    if (!(relative <= bound))
        fail_msg("%s %s %lld with %d lanes, %d pairs, %lld samples of signal: error %g, bound %g", what,
                 frax_dtype_name(l->plan.dtype), (long long)l->plan.n, l->plan.lanes, l->plan.wide,
                 (long long)l->signal, relative, bound);
}

static void bin_by_definition(const Length *l, const Planes *x, int64_t length, int64_t k, Real *re,
                              Real *im) {
    *re = *im = 0;
    for (int64_t t = 0; t < length; t++) {
        const Real *w = l->roots + 2 * (k * t % l->plan.n);
        Real a, b;
        get(x, t, &a, &b);
        *re += a * w[0] - b * w[1];
        *im += a * w[1] + b * w[0];
    }
}

/* y is the spectrum of x, of `length` samples: all bins of short transforms, some of long ones. */
static void expect_spectrum(const Length *l, const char *what, Planes x, Planes y, int64_t length) {
    int64_t n = l->plan.n, step = n <= ALL_TO ? 1 : n / 37 | 1;
    for (int lane = 0; lane < l->plan.wide; lane++) {
        Real error = 0, norm = 0, re, im, a, b;
        x.lane = y.lane = lane;
        for (int64_t i = 0; i < l->plan.positions; i += step) {
            if (l->bins[i] < 0) continue;
            bin_by_definition(l, &x, length, l->bins[i], &re, &im);
            get(&y, i, &a, &b);
            error += (a - re) * (a - re) + (b - im) * (b - im);
            norm += re * re + im * im;
        }
        check_error(l, what, error, norm, bound_of(l));
    }
}

/* The first `length` samples of y are x's times `factor`, later by `shift` around n; x is 0 from `length` on.
 */
static void expect_signal(const Length *l, const char *what, Planes x, Planes y, int64_t length,
                          int64_t shift, Real factor) {
    int64_t n = l->plan.n;
    for (int lane = 0; lane < l->plan.wide; lane++) {
        Real error = 0, norm = 0;
        x.lane = y.lane = lane;
        for (int64_t t = 0; t < length; t++) {
            Real re = 0, im = 0, a, b, own_re, own_im;
            int64_t from = (t - shift + n) % n;
            if (from < length) get(&x, from, &re, &im);
            re *= factor, im *= factor;
            get(&x, t, &own_re, &own_im);
            get(&y, t, &a, &b);
            error += (a - re) * (a - re) + (b - im) * (b - im);
            norm += (own_re * own_re + own_im * own_im) * factor * factor;
        }
        check_error(l, what, error, norm, 2 * bound_of(l));
    }
}

static void expect_untouched(const Length *l, Planes y, int64_t from) {
    for (int64_t i = from; i < l->plan.positions; i++)
        for (y.lane = 0; y.lane < y.wide; y.lane++) {
            Real re, im;
            get(&y, i, &re, &im);
            assert_true(isnan(re) && isnan(im));
        }
}

/* ---- Checks ---- */

/* Each bin lies in one place, and the other places are marked. */
static void check_order(const Length *l) {
    char *seen = calloc((size_t)l->plan.n, 1);
    int64_t found = 0;
    for (int64_t i = 0; i < l->plan.positions; i++) {
        if (l->bins[i] == -1) continue;
        assert_in_range(l->bins[i], 0, l->plan.n - 1);
        assert_false(seen[l->bins[i]]);
        seen[l->bins[i]] = 1;
        found++;
    }
    assert_int_equal(found, l->plan.n);
    free(seen);
}

/* There by the definition; then back. */
static void check_definition(const Length *l) {
    Planes x = random_signal(l, l->plan.n), y = signal_create(l);
    planes_copy(&y, &x);
    transform(l, PAIR_FORWARD, &y);
    expect_spectrum(l, "forward", x, y, l->plan.n);
    transform(l, PAIR_INVERSE, &y);
    expect_signal(l, "inverse", x, y, l->plan.n, 0, (Real)l->plan.n);
    planes_destroy(&x);
    planes_destroy(&y);
}

static void check_shift(const Length *l) {
    int64_t n = l->plan.n, shift = n / 3 + 1;
    Planes x = random_signal(l, n), y = signal_create(l), k = shift_filter(l, shift);
    planes_copy(&y, &x);
    filter(l, &y, &k);
    expect_signal(l, "shift", x, y, n, shift, 1);
    planes_destroy(&x);
    planes_destroy(&y);
    planes_destroy(&k);
}

/* A filter of K·(2 − i) is the same as a filter of K of the signal times 2 − i. */
static void check_linear(const Length *l, const Planes *k) {
    Planes x = random_signal(l, l->plan.n), y = signal_create(l), k2 = filter_create(l);
    Real re, im;
    for (int64_t i = 0; i < l->plan.positions; i++) {
        get(k, i, &re, &im);
        set(&k2, i, 2 * re + im, 2 * im - re);
    }
    for (int lane = 0; lane < x.wide; lane++)
        for (int64_t i = 0; i < l->plan.n; i++) {
            x.lane = y.lane = lane;
            get(&x, i, &re, &im);
            set(&y, i, 2 * re + im, 2 * im - re);
        }
    filter(l, &y, k);
    filter(l, &x, &k2);
    expect_signal(l, "linearity", x, y, l->plan.n, 0, 1);
    planes_destroy(&x);
    planes_destroy(&y);
    planes_destroy(&k2);
}

/* A filter of an impulse is the inverse transform of K. */
static void check_impulse(const Length *l, const Planes *k) {
    Planes x = signal_create(l), y = signal_create(l);
    Real re, im;
    for (x.lane = y.lane = 0; x.lane < x.wide; x.lane++, y.lane++) {
        for (int64_t i = 0; i < l->plan.n; i++) set(&x, i, i == 0, 0);
        for (int64_t i = 0; i < l->plan.positions; i++) {
            get(k, i, &re, &im);
            set(&y, i, re, im);
        }
    }
    filter(l, &x, k);
    transform(l, PAIR_INVERSE, &y);
    expect_signal(l, "impulse", x, y, l->plan.n, 0, 1);
    planes_destroy(&x);
    planes_destroy(&y);
}

static void check_linear_and_impulse(const Length *l) {
    Planes k = filter_create(l);
    for (int64_t i = 0; i < l->plan.positions; i++)
        set(&k, i, l->bins[i] < 0 ? 0 : random_value(), l->bins[i] < 0 ? 0 : random_value());
    check_linear(l, &k);
    check_impulse(l, &k);
    planes_destroy(&k);
}

/* A signal times a large power of two is filtered to as much times the result, bit for bit: nothing on the
   way is larger than what it is made of by more than its sums. */
static void check_large(const Length *l) {
    Real factor = l->plan.dtype == FRAX_F64 ? 0x1p970L : 0x1p100L, re, im, re2, im2;
    Planes x = random_signal(l, l->plan.n), y = signal_create(l), k = shift_filter(l, l->plan.n / 3);
    for (int lane = 0; lane < x.wide; lane++)
        for (int64_t i = 0; i < l->plan.n; i++) {
            x.lane = y.lane = lane;
            get(&x, i, &re, &im);
            set(&y, i, factor * re, factor * im);
        }
    filter(l, &x, &k);
    filter(l, &y, &k);
    for (int lane = 0; lane < x.wide; lane++)
        for (int64_t i = 0; i < l->plan.n; i++) {
            x.lane = y.lane = lane;
            get(&x, i, &re, &im);
            get(&y, i, &re2, &im2);
            if (re2 != factor * re || im2 != factor * im)
                fail_msg(
                    "%s %lld with %d lanes, %d pairs: element %lld of a large signal is %Lg, expected %Lg",
                    frax_dtype_name(l->plan.dtype), (long long)l->plan.n, l->plan.lanes, l->plan.wide,
                    (long long)i, re2, factor * re);
        }
    planes_destroy(&x);
    planes_destroy(&y);
    planes_destroy(&k);
}

/* The spectrum that only the hook sees is right, and no plane holds it; then back from it. */
static void check_hooked_apart(const Length *l, const Planes *x, const Planes *k, int64_t shift) {
    Planes y = signal_create(l), z = signal_create(l), work = signal_create(l);
    size_t bytes = (size_t)(l->plan.n * l->plan.wide) * frax_dtype_size(l->plan.dtype);
    run_hooked(l, PAIR_FORWARD, x, &y, &work, k);
    expect_spectrum(l, "discarded spectrum", *x, y, l->signal);
    if (l->plan.npasses == 0)
        expect_untouched(l, work, 0);
    else if (l->signal > 1) /* the spectrum of a single sample may be what passes leave of it */
        assert_memory_not_equal(work.re, y.re, bytes);
    planes_copy(&work, &y);
    run_hooked(l, PAIR_INVERSE, x, &z, &work, k);
    expect_signal(l, "inverse by hooks", *x, z, l->signal, shift, 1);
    expect_untouched(l, z, l->signal);
    planes_destroy(&y);
    planes_destroy(&z);
    planes_destroy(&work);
}

/* Of a signal that zeros follow, without anything being read or stored behind it; in one go, and apart. */
static void check_hooked(const Length *l) {
    int64_t shift = (l->signal / 5 + 1) % l->plan.n;
    Planes x = random_signal(l, l->signal), y = signal_create(l), work = signal_create(l);
    Planes k = shift_filter(l, shift);
    size_t bytes = (size_t)(l->plan.n * l->plan.wide) * frax_dtype_size(l->plan.dtype);
    run_hooked(l, PAIR_FILTER, &x, &y, &work, &k);
    expect_signal(l, "filter by hooks", x, y, l->signal, shift, 1);
    expect_untouched(l, y, l->signal);
    check_hooked_apart(l, &x, &k, shift);
    if (l->signal == l->plan.n) { /* the same bits without hooks */
        filter(l, &x, &k);
        assert_memory_equal(x.re, y.re, bytes);
        assert_memory_equal(x.im, y.im, bytes);
    }
    planes_destroy(&x);
    planes_destroy(&y);
    planes_destroy(&k);
    planes_destroy(&work);
}

static void check_suite(Suite *s) {
    compile(s);
    for (int i = 0; i < s->nlengths; i++) {
        const Length *l = &s->lengths[i];
        check_order(l);
        check_definition(l);
        check_shift(l);
        check_linear_and_impulse(l);
        check_large(l);
        if (l->signal) check_hooked(l);
    }
    suite_destroy(s);
}

/* ---- Cases ---- */

/* To 64 and from there on every `step`th. */
static void short_lengths(FraxDType dtype, int vector_bytes, int step) {
    Suite s = {.dtype = dtype, .vector_bytes = vector_bytes};
    int skipped = 0;
    for (int64_t n = 1; n <= ALL_TO; n++)
        if (is_generated_length(dtype, n) && (n <= 64 || skipped++ % step == 0)) add_length(&s, n);
    assert_true(s.nlengths > 70);
    check_suite(&s);
}

/* The widest vectors of any machine are emitted everywhere: LLVM splits what the machine lacks. */
static void test_short_f32(void **state) {
    (void)state;
    short_lengths(FRAX_F32, 64, 1);
}

static void test_short_f64(void **state) {
    (void)state;
    short_lengths(FRAX_F64, 64, 2); /* the same code, on vectors half as long */
}

/* How much of n is signal: less than a slot of the first pass, parts of one, all but one sample, everything.
 */
static int64_t some_signal(int64_t n, int which) {
    const int64_t signals[] = {n, n / 9 + 1, n / 2, n - 1, n / 4 + 1, 1};
    return MAX(signals[which % (int)COUNT(signals)], 1);
}

/* Every second length has hooks, the others in the next suite of the type or in the one after. */
static void check_lengths(Suite s, const int64_t *lengths, size_t count, int number) {
    for (size_t i = 0; i < count; i++) {
        Length *l = add_length(&s, lengths[i]);
        if (((int)i + number + number / 2) % 2 == 0) l->signal = some_signal(lengths[i], (int)i / 2 + number);
    }
    check_suite(&s);
}

static void test_widths(void **state) {
    static const int64_t lengths[] = {1,  2,   6,   8,   16,  32,  40,   48,   64,  80,
                                      96, 120, 128, 144, 210, 256, 1000, 1024, 8192};
    (void)state;
    int number = 0;
    for (int bytes = 4; bytes <= 64; bytes *= 2)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
            if (bytes >= (int)frax_dtype_size(dtype))
                check_lengths((Suite){.dtype = dtype, .vector_bytes = bytes}, lengths,
                              bytes < 16 ? COUNT(lengths) / 2 : COUNT(lengths), number++);
}

static void test_side_by_side(void **state) {
    static const int64_t lengths[] = {1,  2,   3,   5,   7,    15,   16,   30,  49,
                                      64, 105, 128, 243, 1000, 1024, 2187, 8192};
    (void)state;
    int number = 0;
    for (int bytes = 16; bytes <= 64; bytes *= 2)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
            check_lengths((Suite){.dtype = dtype, .vector_bytes = bytes, .wide = true}, lengths,
                          COUNT(lengths), number++);
}

static void test_long(void **state) {
    static const int64_t lengths[] = {1024,  2048,  4096,  5040,  8192,  10000, 16384,
                                      16807, 19683, 30240, 32768, 65536, 131072};
    (void)state;
    for (int which = 0; which < 3; which++) {
        Suite s = {.dtype = which == 2 ? FRAX_F64 : FRAX_F32, .vector_bytes = which == 0 ? 32 : 64};
        for (size_t i = 0; i < COUNT(lengths); i++)
            if (is_generated_length(s.dtype, lengths[i])) add_length(&s, lengths[i]);
        assert_true(s.nlengths >= 12);
        check_suite(&s);
    }
}

static void test_what_is_generated(void **state) {
    (void)state;
    assert_true(is_generated_length(FRAX_F32, 65536) && is_generated_length(FRAX_F64, 32768));
    assert_true(is_generated_length(FRAX_F64, 1) && is_generated_length(FRAX_F32, 2 * 3 * 5 * 7));
    assert_false(is_generated_length(FRAX_F32, 11) || is_generated_length(FRAX_F32, 0));
    assert_false(is_generated_length(FRAX_F32, 1 << 20) || is_generated_length(FRAX_I32, 64));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_generated), cmocka_unit_test(test_short_f32),
        cmocka_unit_test(test_short_f64),         cmocka_unit_test(test_widths),
        cmocka_unit_test(test_side_by_side),      cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
