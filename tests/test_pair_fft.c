/* test_pair_fft.c — generated transforms of pairs of rows against the definition in long double, for vectors
 * of several widths; the laws of linearity, impulse and shift.
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

/* A signal, two planes of one type. */
typedef struct Planes {
    FraxDType dtype;
    void *re, *im;
} Planes;

static Planes planes_create(FraxDType dtype, int64_t elements) {
    size_t bytes = (size_t)elements * frax_dtype_size(dtype);
    Planes p = {dtype, mem_aligned(bytes), mem_aligned(bytes)};
    assert_true(p.re && p.im);
    memset(p.re, 0xff, bytes); /* NaN: what lies behind the signal must not matter */
    memset(p.im, 0xff, bytes);
    return p;
}

static void planes_destroy(Planes *p) {
    mem_free(p->re);
    mem_free(p->im);
}

static void set(Planes *p, int64_t i, Real re, Real im) {
    if (p->dtype == FRAX_F64) {
        ((double *)p->re)[i] = (double)re;
        ((double *)p->im)[i] = (double)im;
    } else {
        ((float *)p->re)[i] = (float)re;
        ((float *)p->im)[i] = (float)im;
    }
}

static void get(const Planes *p, int64_t i, Real *re, Real *im) {
    bool wide = p->dtype == FRAX_F64;
    *re = wide ? ((double *)p->re)[i] : ((float *)p->re)[i];
    *im = wide ? ((double *)p->im)[i] : ((float *)p->im)[i];
}

/* ---- Generated code under test ---- */

typedef struct Length {
    PairPlan plan;
    void *functions[KINDS], *hooked;
    int64_t *bins;
    Real *roots; /* cos, −sin of 2πt/n */
} Length;

typedef struct Suite {
    FraxDType dtype;
    int vector_bytes, nlengths;
    bool hooks; /* also emit transforms with all hooks */
    Length *lengths;
    JitCode *code;
} Suite;

static void *no_symbol(const char *name) {
    (void)name;
    return NULL;
}

/* void name(x_re, x_im, y_re, y_im, work_re, work_im, k_re, k_im): filters x into y. */
typedef struct Hooked {
    Emitter *e;
    FraxDType dtype;
    int lanes;
    Em params[8];
} Hooked;

static Em read(Hooked *h, int param, Em at, Em mask) {
    return h->e->ops->load(h->e, h->params[param], h->dtype, at, 1, h->lanes, mask);
}

static void hook_load(void *context, Em at, Em mask, Em *re, Em *im) {
    *re = read(context, 0, at, mask);
    *im = read(context, 1, at, mask);
}

static void hook_store(void *context, Em at, Em mask, Em re, Em im) {
    Hooked *h = context;
    h->e->ops->store(h->e, h->params[2], h->dtype, at, 1, re, mask);
    h->e->ops->store(h->e, h->params[3], h->dtype, at, 1, im, mask);
}

static void hook_bins(void *context, Em at, Em *re, Em *im) {
    Hooked *h = context;
    const EmitterOps *o = h->e->ops;
    Em k_re = read(h, 6, at, (Em){0}), k_im = read(h, 7, at, (Em){0}), x = *re, y = *im;
    *re = o->arith(h->e, OP_sub, o->arith(h->e, OP_mul, x, k_re), o->arith(h->e, OP_mul, y, k_im));
    *im = o->arith(h->e, OP_add, o->arith(h->e, OP_mul, y, k_re), o->arith(h->e, OP_mul, x, k_im));
}

static void emit_hooked(Emitter *e, const PairPlan *plan) {
    Hooked h = {.e = e, .dtype = plan->dtype, .lanes = plan->lanes};
    EmType types[8];
    char name[48];
    for (int i = 0; i < 8; i++) types[i] = EM_POINTER;
    snprintf(name, sizeof name, "hooked_%lld", (long long)plan->n);
    e->ops->function_begin(e, name, types, 8, h.params);
    PairIo io = {.re = h.params[4],
                 .im = h.params[5],
                 .context = &h,
                 .load = hook_load,
                 .store = hook_store,
                 .bins = hook_bins};
    assert_true(emit_pair_transform(e, plan, PAIR_FILTER, &io));
    e->ops->function_end(e);
}

static void compile(Suite *s) {
    HostTarget target;
    FraxError err;
    LLVMContextRef context;
    LLVMModuleRef module;
    char *object, name[48];
    size_t size;
    assert_int_equal(host_target(&target, &err), FRAX_OK);
    target.vector_bytes = s->vector_bytes;
    LlvmEmitter *emitter = llvm_emitter_create(&target);
    for (int i = 0; i < s->nlengths; i++)
        for (int kind = 0; kind < KINDS; kind++)
            assert_true(emit_pair_fft(llvm_emitter_base(emitter), &s->lengths[i].plan, (PairKind)kind));
    for (int i = 0; i < s->nlengths && s->hooks; i++)
        emit_hooked(llvm_emitter_base(emitter), &s->lengths[i].plan);
    if (llvm_emitter_finish(emitter, &context, &module, &err)) fail_msg("%s", err.message);
    llvm_emitter_destroy(emitter);
    if (compile_module(context, module, &target, false, &object, &size, &err)) fail_msg("%s", err.message);
    if (jit_link(object, size, no_symbol, false, &s->code, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < s->nlengths; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            pair_fft_name(&s->lengths[i].plan, (PairKind)kind, name);
            s->lengths[i].functions[kind] = jit_function(s->code, name);
            assert_non_null(s->lengths[i].functions[kind]);
        }
    for (int i = 0; i < s->nlengths && s->hooks; i++) {
        snprintf(name, sizeof name, "hooked_%lld", (long long)s->lengths[i].plan.n);
        s->lengths[i].hooked = jit_function(s->code, name);
        assert_non_null(s->lengths[i].hooked);
    }
    mem_free(object);
    host_target_free(&target);
}

static void add_length(Suite *s, int64_t n) {
    const Real pi = acosl(-1);
    s->lengths = realloc(s->lengths, (size_t)(s->nlengths + 1) * sizeof *s->lengths);
    Length *l = &s->lengths[s->nlengths++];
    *l = (Length){.plan = pair_fft_plan(s->dtype, n, s->vector_bytes)};
    l->bins = malloc((size_t)l->plan.elements * sizeof *l->bins);
    l->roots = malloc((size_t)n * 2 * sizeof *l->roots);
    pair_fft_order(&l->plan, l->bins);
    for (int64_t t = 0; t < n; t++) {
        l->roots[2 * t] = cosl(2 * pi * (Real)t / (Real)n);
        l->roots[2 * t + 1] = -sinl(2 * pi * (Real)t / (Real)n);
    }
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

/* ---- Checks ---- */

static double bound_of(const Length *l) {
    return (l->plan.dtype == FRAX_F64 ? 4e-16 : 4e-7) * log2((double)MAX(l->plan.n, 2));
}

static void check_error(const Length *l, const char *what, Real error, Real norm, double bound) {
    double relative = (double)sqrtl(error / norm);
    if (!(relative <= bound))
        fail_msg("%s %s %lld with %d lanes: error %g, bound %g", what, frax_dtype_name(l->plan.dtype),
                 (long long)l->plan.n, l->plan.lanes, relative, bound);
}

static Planes random_signal(const Length *l) {
    Planes x = planes_create(l->plan.dtype, l->plan.elements);
    for (int64_t i = 0; i < l->plan.n; i++) set(&x, i, random_value(), random_value());
    return x;
}

static void bin_by_definition(const Length *l, const Planes *x, int64_t k, Real *re, Real *im) {
    *re = *im = 0;
    for (int64_t t = 0; t < l->plan.n; t++) {
        const Real *w = l->roots + 2 * (k * t % l->plan.n);
        Real a, b;
        get(x, t, &a, &b);
        *re += a * w[0] - b * w[1];
        *im += a * w[1] + b * w[0];
    }
}

/* Each bin lies in one place, and the other places are marked. */
static void check_order(const Length *l) {
    char *seen = calloc((size_t)l->plan.n, 1);
    int64_t found = 0;
    for (int64_t i = 0; i < l->plan.elements; i++) {
        if (l->bins[i] == -1) continue;
        assert_in_range(l->bins[i], 0, l->plan.n - 1);
        assert_false(seen[l->bins[i]]);
        seen[l->bins[i]] = 1;
        found++;
    }
    assert_int_equal(found, l->plan.n);
    free(seen);
}

/* All bins of short lengths, some of long ones; then back. */
static void check_definition(const Length *l) {
    Planes x = random_signal(l), y = planes_create(l->plan.dtype, l->plan.elements);
    Real error = 0, norm = 0, re, im, a, b;
    int64_t n = l->plan.n, step = n <= ALL_TO ? 1 : n / 37 | 1;
    for (int64_t i = 0; i < n; i++) {
        get(&x, i, &re, &im);
        set(&y, i, re, im);
    }
    transform(l, PAIR_FORWARD, &y);
    for (int64_t i = 0; i < l->plan.elements; i += step) {
        if (l->bins[i] < 0) continue;
        bin_by_definition(l, &x, l->bins[i], &re, &im);
        get(&y, i, &a, &b);
        error += (a - re) * (a - re) + (b - im) * (b - im);
        norm += re * re + im * im;
    }
    check_error(l, "forward", error, norm, bound_of(l));
    transform(l, PAIR_INVERSE, &y);
    error = norm = 0;
    for (int64_t i = 0; i < n; i++) {
        get(&x, i, &re, &im);
        get(&y, i, &a, &b);
        a /= (Real)n, b /= (Real)n;
        error += (a - re) * (a - re) + (b - im) * (b - im);
        norm += re * re + im * im;
    }
    check_error(l, "inverse", error, norm, 2 * bound_of(l));
    planes_destroy(&x);
    planes_destroy(&y);
}

/* K_k = e^{−2πiks/n}/n delays by s. */
static void check_shift(const Length *l) {
    Planes x = random_signal(l), y = planes_create(l->plan.dtype, l->plan.elements);
    Planes k = planes_create(l->plan.dtype, l->plan.elements);
    int64_t n = l->plan.n, shift = n / 3 + 1;
    Real error = 0, norm = 0, re, im, a, b;
    for (int64_t i = 0; i < l->plan.elements; i++) {
        const Real *w = l->roots + 2 * (MAX(l->bins[i], 0) * shift % n);
        set(&k, i, l->bins[i] < 0 ? 0 : w[0] / (Real)n, l->bins[i] < 0 ? 0 : w[1] / (Real)n);
    }
    for (int64_t i = 0; i < n; i++) {
        get(&x, i, &re, &im);
        set(&y, i, re, im);
    }
    filter(l, &y, &k);
    for (int64_t i = 0; i < n; i++) {
        get(&x, i, &re, &im);
        get(&y, (i + shift) % n, &a, &b);
        error += (a - re) * (a - re) + (b - im) * (b - im);
        norm += re * re + im * im;
    }
    check_error(l, "shift", error, norm, 2 * bound_of(l));
    planes_destroy(&x);
    planes_destroy(&y);
    planes_destroy(&k);
}

/* A filter of K·(2 − i) is the same as a filter of K of the signal times 2 − i; and one of K on an impulse is
   K's inverse transform. */
static void check_linear_and_impulse(const Length *l) {
    Planes x = random_signal(l), y = planes_create(l->plan.dtype, l->plan.elements);
    Planes k = planes_create(l->plan.dtype, l->plan.elements);
    Planes k2 = planes_create(l->plan.dtype, l->plan.elements);
    Real error = 0, norm = 0, re, im, a, b;
    for (int64_t i = 0; i < l->plan.elements; i++) {
        bool used = l->bins[i] >= 0;
        set(&k, i, used ? random_value() : 0, used ? random_value() : 0);
        get(&k, i, &re, &im);
        set(&k2, i, used ? 2 * re + im : 0, used ? 2 * im - re : 0);
    }
    for (int64_t i = 0; i < l->plan.n; i++) {
        get(&x, i, &re, &im);
        set(&y, i, 2 * re + im, 2 * im - re);
    }
    filter(l, &y, &k);
    filter(l, &x, &k2);
    for (int64_t i = 0; i < l->plan.n; i++) {
        get(&x, i, &re, &im);
        get(&y, i, &a, &b);
        error += (a - re) * (a - re) + (b - im) * (b - im);
        norm += re * re + im * im;
    }
    check_error(l, "linearity", error, norm, 2 * bound_of(l));
    for (int64_t i = 0; i < l->plan.n; i++) set(&x, i, i == 0, 0);
    filter(l, &x, &k);
    transform(l, PAIR_INVERSE, &k);
    error = norm = 0;
    for (int64_t i = 0; i < l->plan.n; i++) {
        get(&x, i, &re, &im);
        get(&k, i, &a, &b);
        error += (a - re) * (a - re) + (b - im) * (b - im);
        norm += re * re + im * im;
    }
    check_error(l, "impulse", error, norm, 2 * bound_of(l));
    planes_destroy(&x);
    planes_destroy(&y);
    planes_destroy(&k);
    planes_destroy(&k2);
}

/* The same bits by hooks, nothing written but the result and the work planes. */
static void check_hooks(const Length *l) {
    Planes x = random_signal(l), y = planes_create(l->plan.dtype, l->plan.elements);
    Planes k = planes_create(l->plan.dtype, l->plan.elements);
    Planes work = planes_create(l->plan.dtype, l->plan.elements);
    size_t bytes = (size_t)l->plan.n * frax_dtype_size(l->plan.dtype);
    for (int64_t i = 0; i < l->plan.elements; i++)
        set(&k, i, l->bins[i] < 0 ? 0 : random_value(), l->bins[i] < 0 ? 0 : random_value());
    void (*hooked)(void *, void *, void *, void *, void *, void *, void *, void *) = l->hooked;
    hooked(x.re, x.im, y.re, y.im, work.re, work.im, k.re, k.im);
    filter(l, &x, &k);
    assert_memory_equal(x.re, y.re, bytes);
    assert_memory_equal(x.im, y.im, bytes);
    for (int64_t i = l->plan.n; i < l->plan.elements; i++) {
        Real re, im;
        get(&y, i, &re, &im);
        assert_true(isnan(re) && isnan(im));
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
        if (s->hooks) check_hooks(l);
    }
    suite_destroy(s);
}

/* ---- Cases ---- */

static void short_lengths(FraxDType dtype, int vector_bytes) {
    Suite s = {.dtype = dtype, .vector_bytes = vector_bytes};
    for (int64_t n = 1; n <= ALL_TO; n++)
        if (is_generated_length(dtype, n)) add_length(&s, n);
    assert_true(s.nlengths > 100);
    check_suite(&s);
}

/* The widest vectors of any machine are emitted everywhere: LLVM splits what the machine lacks. */
static void test_short_f32(void **state) {
    (void)state;
    short_lengths(FRAX_F32, 64);
}

static void test_short_f64(void **state) {
    (void)state;
    short_lengths(FRAX_F64, 64);
}

static void test_widths(void **state) {
    static const int64_t lengths[] = {1, 2, 6, 8, 16, 32, 40, 48, 64, 80, 96, 120, 128, 144, 210, 256, 1000};
    (void)state;
    for (int bytes = 4; bytes <= 64; bytes *= 2)
        for (int wide = 0; wide < 2; wide++) {
            Suite s = {
                .dtype = wide ? FRAX_F64 : FRAX_F32, .vector_bytes = MAX(bytes, wide ? 8 : 4), .hooks = true};
            for (size_t i = 0; i < COUNT(lengths); i++) add_length(&s, lengths[i]);
            check_suite(&s);
        }
}

static void test_long(void **state) {
    static const int64_t lengths[] = {1024,  2048,  4096,  5040,  8192,  10000, 16384,
                                      16807, 19683, 30240, 32768, 65536, 131072};
    (void)state;
    for (int bytes = 32; bytes <= 64; bytes *= 2)
        for (int wide = 0; wide < 2; wide++) {
            Suite s = {.dtype = wide ? FRAX_F64 : FRAX_F32, .vector_bytes = bytes};
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
        cmocka_unit_test(test_what_is_generated),
        cmocka_unit_test(test_short_f32),
        cmocka_unit_test(test_short_f64),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
