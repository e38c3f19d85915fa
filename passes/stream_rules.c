/* stream_rules.c — what each op does to a streamed axis.
 *
 * Most ops work along other axes: there the streamed one is a batch axis, and the op is emitted for a chunk
 * (stream_rowwise). Ops that move axes say where it goes. Ops that work along it have a row in the table
 * `along`, with a rule that keeps the past in states, or with the reason why a stream cannot do it:
 *
 *     shift by k, align        the last k samples
 *     causal_conv, J weights   the last J − 1 samples
 *     exponential_conv         its modes, and the last `lag` samples
 *     sum, max, min, matmul    the result so far; whole, and right once the last element is in
 *     slice of one element     the element, once it has passed
 *     iota                     how many samples have passed
 */
#include "stream_internal.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>

static int64_t size_along(const Streamer *s, const Node *node, int arg, int axis) {
    return graph_type(s->from, node->args[arg])->shape.dims[axis];
}

/* ---- Time ---- */

/* The time of each element of a chunk of this shape, f64. */
static Value chunk_times(Streamer *s, Shape shape, int axis) {
    Value passed = g_broadcast_to(s->to, stream_offset(s), shape);
    return g_add(s->to, g_iota(s->to, (Type){FRAX_F64, shape}, axis), passed);
}

/* Where the element's time compares with `time` as `op` says. */
static Value chunk_where(Streamer *s, const Flow *f, Op op, int64_t time) {
    if (s->to->failed) return NO_VALUE;
    Value t = chunk_times(s, graph_type(s->to, f->value)->shape, f->axis);
    return g_binary(s->to, op, t, g_like(s->to, t, (double)time));
}

/* `fill` where there is no element yet. */
static Value filled_before(Streamer *s, const Flow *f, double fill) {
    if (f->delay == 0 || s->to->failed) return f->value;
    return g_select(s->to, chunk_where(s, f, OP_ge, f->delay), f->value, g_like(s->to, f->value, fill));
}

/* `fill` where there is no element any more, of n. */
static Value filled_after(Streamer *s, const Flow *f, int64_t n, double fill) {
    if (s->to->failed) return NO_VALUE;
    return g_select(s->to, chunk_where(s, f, OP_lt, f->delay + n), f->value, g_like(s->to, f->value, fill));
}

static Value filled(Streamer *s, const Flow *f, int64_t n, double fill) {
    Flow inner = *f;
    inner.value = filled_before(s, f, fill);
    return filled_after(s, &inner, n, fill);
}

/* A scalar in the shape of x. */
static Value splat(Streamer *s, Value scalar, Value x) {
    return s->to->failed ? NO_VALUE : g_broadcast_to(s->to, scalar, graph_type(s->to, x)->shape);
}

/* Where as many samples have passed as `op` says. */
static Value when_passed(Streamer *s, Op op, int64_t samples, Value like) {
    Value passed = stream_offset(s);
    return splat(s, g_binary(s->to, op, passed, g_like(s->to, passed, (double)samples)), like);
}

/* ---- Memory of samples ---- */

static Value slice_along(Streamer *s, Value x, int axis, int64_t lo, int64_t hi) {
    if (s->to->failed) return NO_VALUE;
    int64_t from[MAX_RANK] = {0};
    Shape to = graph_type(s->to, x)->shape;
    from[axis] = lo;
    to.dims[axis] = hi;
    return g_slice(s->to, x, from, to.dims, NULL);
}

/* The last k samples before the chunk, then the chunk. */
static Value with_past(Streamer *s, Value chunk, int axis, int64_t k) {
    if (s->to->failed || k == 0) return chunk;
    Type type = *graph_type(s->to, chunk);
    type.shape.dims[axis] = k;
    Value state = state_input(s, type);
    Value window = g_concat(s->to, (Value[]){state, chunk}, 2, axis);
    state_next(s, state, slice_along(s, window, axis, s->spec->chunk, s->spec->chunk + k));
    return window;
}

static Flow delayed(Streamer *s, Flow f, int64_t delay) {
    if (f.axis != NOT_STREAMED && !f.steady && f.delay < delay)
        f.value = slice_along(s, with_past(s, f.value, f.axis, delay - f.delay), f.axis, 0, s->spec->chunk);
    f.delay = MAX(f.delay, delay);
    return f;
}

/* ---- Batch axes ---- */

/* Operand i as streamed along `axis`, or whole if it has size 1 there. False after a fault. */
static bool along_batch(Streamer *s, const Node *node, int i, int axis, int64_t n, Flow *f) {
    char type[176];
    const Type *whole = graph_type(s->from, node->args[i]);
    if (f->axis != NOT_STREAMED && f->axis != axis)
        stream_fail(s, "%s joins the streamed axis of one operand with another axis of the other",
                    op_table[node->op].name);
    if (s->to->failed || f->axis == axis || axis >= whole->shape.rank || whole->shape.dims[axis] != n)
        return !s->to->failed;
    int64_t known = f->delay;
    *f = s->twins[(size_t)node->args[i] * MAX_RANK + (size_t)axis];
    f->delay = MAX(f->delay, known);
    if (f->value == NO_VALUE)
        stream_fail(s,
                    "%s joins the signal with a whole %s, which is as long as the signal and is not there by "
                    "chunks; if it does not depend on the signal, it may be an input with the size %s",
                    op_table[node->op].name, type_text(whole, type), s->spec->size);
    return !s->to->failed;
}

/* Brings the operands to one delay. */
static int64_t align(Streamer *s, const Node *node, Flow *flows, int64_t n) {
    int64_t delay = 0;
    for (int i = 0; i < node->nargs; i++) delay = MAX(delay, flows[i].delay);
    if (delay + n > MAX(s->spec->length, n))
        stream_fail(s,
                    "the first result of %s needs sample %" PRId64 " of %" PRId64
                    ", and a stream gives each result with its sample; a mean or an extremum of the whole "
                    "signal, or a look ahead, can only be taken beforehand",
                    op_table[node->op].name, delay, s->spec->length);
    for (int i = 0; i < node->nargs && !s->to->failed; i++) flows[i] = delayed(s, flows[i], delay);
    return delay;
}

static Flow *copy_flows(Streamer *s, const Node *node, const Flow *args, Value **values) {
    Flow *flows = arena_alloc(&s->to->arena, sizeof *flows * (size_t)node->nargs);
    *values = arena_alloc(&s->to->arena, sizeof **values * (size_t)node->nargs);
    if (!flows || !*values) {
        graph_fail(s->to, FRAX_MEMORY, "out of memory while streaming graph %s", s->from->name);
        return NULL;
    }
    for (int i = 0; i < node->nargs; i++) flows[i] = args[i];
    return flows;
}

/* Rows of the streamed axis do not meet: the op on a chunk. All operands have the rank of the result. */
static Flow stream_rowwise(Streamer *s, const Node *node, const Flow *args, int axis) {
    Value *values;
    Flow *flows = copy_flows(s, node, args, &values), result = {.axis = axis, .steady = true};
    int64_t n = 0;
    for (int i = 0; i < node->nargs && !n; i++)
        if (args[i].axis == axis) n = size_along(s, node, i, axis);
    for (int i = 0; flows && i < node->nargs; i++)
        if (!along_batch(s, node, i, axis, n, &flows[i])) return no_flow;
    result.delay = flows ? align(s, node, flows, n) : 0;
    if (s->to->failed) return no_flow;
    for (int i = 0; i < node->nargs; i++) {
        values[i] = flows[i].value;
        result.steady &= flows[i].steady || flows[i].axis == NOT_STREAMED;
    }
    result.value = emit_chunk(s, node, values, axis);
    return result;
}

/* ---- Ops that move axes ---- */

static int64_t product(const Shape *shape, int first, int end) {
    int64_t n = 1;
    for (int i = first; i < end; i++) n *= shape->dims[i];
    return n;
}

/* The axis of the result that holds what `axis` of the operand held, or NOT_STREAMED. */
static int reshaped_axis(const Shape *from, const Shape *to, int axis) {
    for (int i = 0; i < to->rank; i++)
        if (to->dims[i] == from->dims[axis] && product(to, 0, i) == product(from, 0, axis) &&
            product(to, i + 1, to->rank) == product(from, axis + 1, from->rank))
            return i;
    return NOT_STREAMED;
}

/* Where a reshape, transpose or anything else moves the axis of its operand. */
static int moved_axis(const Streamer *s, const Node *node, int axis) {
    const Shape *from = &graph_type(s->from, node->args[0])->shape;
    if (node->op == OP_reshape) return reshaped_axis(from, &node->type.shape, axis);
    if (node->op != OP_transpose) return axis;
    int i = 0;
    while (node->attrs->perm[i] != axis) i++;
    return i;
}

static Flow stream_moved(Streamer *s, const Node *node, const Flow *args) {
    Flow f = args[0];
    f.axis = moved_axis(s, node, f.axis);
    if (f.axis == NOT_STREAMED)
        return stream_fail(s, "reshape joins the streamed axis with others, or cuts it");
    f.value = emit_chunk(s, node, &args[0].value, f.axis);
    return f;
}

/* ---- Results so far ---- */

static double no_extremum(FraxDType dtype, Op op) {
    if (dtype == FRAX_I32) return op == OP_reduce_max ? INT_MIN : INT_MAX;
    return op == OP_reduce_max ? -INFINITY : INFINITY;
}

/* Joins what this chunk gives with what came before; `since`: the last sample that counts. Sums of floats are
   kept in f64. */
static Flow accumulate(Streamer *s, Op op, Value partial, int64_t since) {
    if (s->to->failed) return no_flow;
    Type own = *graph_type(s->to, partial), kept = own;
    if (op == OP_sum && dtype_is_float(own.dtype)) kept.dtype = FRAX_F64;
    Value state = state_input(s, kept), next;
    partial = g_cast(s->to, partial, kept.dtype);
    if (op == OP_sum) {
        next = g_add(s->to, state, partial);
    } else {
        Value none = s->to->failed ? NO_VALUE : g_like(s->to, state, no_extremum(own.dtype, op));
        Value before = g_select(s->to, when_passed(s, OP_eq, 0, state), none, state);
        next = g_binary(s->to, op == OP_reduce_max ? OP_max : OP_min, before, partial);
    }
    state_next(s, state, next);
    return (Flow){g_cast(s->to, next, own.dtype), NOT_STREAMED, since, false};
}

static Flow reduce_along(Streamer *s, const Node *node, const Flow *args, int axis) {
    int64_t n = size_along(s, node, 0, axis);
    double none = node->op == OP_sum ? 0 : no_extremum(node->type.dtype, node->op);
    Value rows = filled(s, &args[0], n, none);
    return accumulate(s, node->op, g_reduce(s->to, node->op, rows, node->attrs->axes), args[0].delay + n - 1);
}

/* Two operands that are summed over the streamed axis, at one delay, with zeros where they have no elements.
 *since: the last sample that counts. */
static bool factors_along(Streamer *s, const Node *node, const Flow *args, const int axes[2], Value values[2],
                          int64_t *since) {
    Flow flows[2] = {args[0], args[1]};
    int64_t n = size_along(s, node, 0, axes[0]);
    for (int i = 0; i < 2; i++)
        if (!along_batch(s, node, i, axes[i], n, &flows[i])) return false;
    int64_t delay = MAX(flows[0].delay, flows[1].delay);
    for (int i = 0; i < 2; i++) {
        flows[i] = delayed(s, flows[i], delay);
        values[i] = filled(s, &flows[i], n, 0);
    }
    *since = delay + n - 1;
    return !s->to->failed;
}

/* A bilinear op that sums over the streamed axis: each operand has it at its own place. */
static Flow contract_along(Streamer *s, const Node *node, const Flow *args, const int axes[2]) {
    Value values[2];
    int64_t since;
    if (!factors_along(s, node, args, axes, values, &since)) return no_flow;
    return accumulate(s, OP_sum, emit_chunk(s, node, values, NOT_STREAMED), since);
}

static Flow cross_spectrum_along(Streamer *s, const Node *node, const Flow *args, int axis) {
    if (node->attrs->axes >> axis & 1)
        return stream_fail(s, "a spectrum along the streamed axis needs the whole signal");
    return contract_along(s, node, args, (int[]){axis, axis});
}

static Flow stream_matmul(Streamer *s, const Node *node, const Flow *args) {
    int r = node->type.shape.rank, ta = node->attrs->ta, tb = node->attrs->tb;
    int row = r - 2 + ta, column = r - 1 - tb, inner[2] = {r - 1 - ta, r - 2 + tb};
    int a = args[0].axis, b = args[1].axis;
    if (a == inner[0] || b == inner[1]) return contract_along(s, node, args, inner);
    if ((a != NOT_STREAMED && a < r - 2) || (b != NOT_STREAMED && b < r - 2))
        return stream_rowwise(s, node, args, a != NOT_STREAMED ? a : b);
    if (a == row && b == column)
        return stream_fail(s, "matmul multiplies each sample by each other: a result with two streamed axes");
    Flow result = {.axis = a == row ? r - 2 : r - 1};
    Flow flows[2] = {args[0], args[1]};
    result.delay = align(s, node, flows, node->type.shape.dims[result.axis]);
    result.value = emit_chunk(s, node, (Value[]){flows[0].value, flows[1].value}, result.axis);
    return result;
}

/* ---- Ops that work along the streamed axis ---- */

/* Element number `since` of the signal's time, kept once it has passed. */
static Flow latch(Streamer *s, Flow f, int64_t since) {
    if (s->to->failed) return no_flow;
    FraxDType dtype = graph_type(s->to, f.value)->dtype;
    FraxDType summed = dtype == FRAX_BOOL ? FRAX_I32 : dtype;
    Flow wide = f;
    wide.value = g_cast(s->to, f.value, summed);
    Value zero = s->to->failed ? NO_VALUE : g_like(s->to, wide.value, 0);
    Value here = g_select(s->to, chunk_where(s, &wide, OP_eq, since), wide.value, zero);
    Value seen =
        since ? g_reduce(s->to, OP_sum, here, 1u << f.axis) : slice_along(s, wide.value, f.axis, 0, 1);
    if (s->to->failed) return no_flow;
    seen = g_cast(s->to, seen, dtype);
    Value state = state_input(s, *graph_type(s->to, seen));
    Value kept = g_select(s->to, when_passed(s, OP_gt, since, state), state, seen);
    state_next(s, state, kept);
    return (Flow){kept, NOT_STREAMED, since, false};
}

static Flow slice_of_stream(Streamer *s, const Node *node, const Flow *args, int axis) {
    const Attrs *at = node->attrs;
    Flow f = args[0];
    int64_t n = node->type.shape.dims[axis], delay = f.delay + at->lo[axis];
    if (at->step[axis] != 1 && n > 1)
        return stream_fail(s, "a slice with step %" PRId64 " along the streamed axis changes the rate",
                           at->step[axis]);
    if (n == 0) return (Flow){g_constant(s->to, node->type, 0), NOT_STREAMED, 0, false};
    Node chunk = *node;
    Attrs attrs = *at;
    attrs.step[axis] = 1;
    chunk.attrs = &attrs;
    f.value = emit_chunk(s, &chunk, &f.value, axis);
    if (n == 1) return latch(s, f, delay);
    f.delay = delay;
    return f;
}

static Flow pad_of_stream(Streamer *s, const Node *node, const Flow *args, int axis) {
    Flow f = args[0];
    Attrs attrs = *node->attrs;
    int64_t before = attrs.lo[axis], after = attrs.hi[axis], n = size_along(s, node, 0, axis);
    if (attrs.step[axis] != 1) return stream_fail(s, "zeros between the samples change the rate");
    attrs.lo[axis] = attrs.hi[axis] = 0;
    if (before) f.value = filled_before(s, &f, 0);
    if (after) f.value = filled_after(s, &f, n, 0);
    Node chunk = *node;
    chunk.attrs = &attrs;
    f.value = emit_chunk(s, &chunk, &f.value, axis);
    if (before > f.delay) f = delayed(s, f, before);
    f.delay -= before;
    return f;
}

/* A part of a concatenation as streamed: a single element stands for itself at any time. */
static Flow concat_part(Streamer *s, const Node *node, int i, Flow f, int axis) {
    if (f.axis == NOT_STREAMED && size_along(s, node, i, axis) == 1 && !s->to->failed) {
        Type type = chunk_type(s, graph_type(s->to, f.value), axis);
        f = (Flow){g_broadcast(s->to, f.value, type.shape), axis, f.delay, true};
    } else {
        along_batch(s, node, i, axis, size_along(s, node, i, axis), &f);
    }
    return f;
}

static Flow concat_of_streams(Streamer *s, const Node *node, const Flow *args, int axis) {
    Value *values;
    Flow *flows = copy_flows(s, node, args, &values), result = {.value = NO_VALUE, .axis = axis};
    int64_t start = 0;
    for (int i = 0; flows && i < node->nargs && !s->to->failed; i++) {
        if (size_along(s, node, i, axis) == 0) continue;
        flows[i] = concat_part(s, node, i, flows[i], axis);
        result.delay = MAX(result.delay, flows[i].delay - start);
        start += size_along(s, node, i, axis);
    }
    if (s->to->failed) return no_flow;
    for (int i = node->nargs - 1; i >= 0; i--) { /* from the last part, which stays where no other is */
        int64_t end = start;
        start -= size_along(s, node, i, axis);
        if (start == end || s->to->failed) continue;
        Flow part = delayed(s, flows[i], start + result.delay);
        if (result.value != NO_VALUE)
            part.value =
                g_select(s->to, chunk_where(s, &part, OP_lt, end + result.delay), part.value, result.value);
        result.value = part.value;
    }
    return result;
}

/* A kernel as long as the signal is allowed as long as it is short: its state would grow with the signal. */
static bool refuse_long_kernel(Streamer *s, int64_t taps, int64_t n) {
    enum { LONGEST = 64 };
    if (taps < n || taps <= LONGEST) return false;
    stream_fail(
        s,
        "a causal_conv with %" PRId64
        " weights, as many as samples, remembers all of the signal; fewer weights stream, and so does "
        "frac where its kind, scheme and order have engine=soe",
        taps);
    return true;
}

static Flow conv_of_stream(Streamer *s, const Node *node, const Flow *args, int axis) {
    Flow flows[2] = {args[0], args[1]};
    int64_t taps = size_along(s, node, 0, axis), n = size_along(s, node, 1, axis);
    if (args[0].axis != NOT_STREAMED)
        return stream_fail(s, "the weights of a causal_conv must not depend on the signal");
    if (taps < 1) return stream_fail(s, "a causal_conv without weights");
    if (refuse_long_kernel(s, taps, n)) return no_flow;
    align(s, node, flows, n);
    Value x = with_past(s, filled_before(s, &flows[1], 0), axis, taps - 1);
    Value y = g_causal_conv(s->to, flows[0].value, x, axis, (Engine)node->attrs->engine);
    flows[1].value = slice_along(s, y, axis, taps - 1, taps - 1 + s->spec->chunk);
    return flows[1];
}

/* Σ_t y_t x_{t − j}: over the batch, or over time with the last samples of x. */
static Flow correlation_of_streams(Streamer *s, const Node *node, const Flow *args, int axis) {
    const Attrs *at = node->attrs;
    const int axes[2] = {axis, axis};
    Value values[2];
    int64_t since, before[MAX_RANK] = {0}, after[MAX_RANK] = {0};
    if (at->axis != axis) return contract_along(s, node, args, axes);
    if (refuse_long_kernel(s, at->n, size_along(s, node, 0, axis))) return no_flow;
    if (!factors_along(s, node, args, axes, values, &since)) return no_flow;
    before[axis] = at->n - 1;
    values[0] = with_past(s, values[0], axis, at->n - 1);
    values[1] = g_pad(s->to, values[1], before, after, NULL);
    Value sum = g_causal_correlation(s->to, values[0], values[1], axis, at->sum, at->n, (Engine)at->engine);
    return accumulate(s, OP_sum, sum, since);
}

/* In x's shape and dtype: 1 at place `at` of the axis, 0 elsewhere. */
static Value impulse(Streamer *s, Value x, int axis, int64_t at) {
    if (s->to->failed) return NO_VALUE;
    Value places = g_iota(s->to, (Type){FRAX_I32, graph_type(s->to, x)->shape}, axis);
    Value there = g_binary(s->to, OP_eq, places, g_like(s->to, places, (double)at));
    return g_cast(s->to, there, graph_type(s->to, x)->dtype);
}

static double binomial(int64_t n, int64_t k) {
    double product = 1;
    for (int64_t i = 1; i <= k; i++) product *= (double)(n - k + i) / (double)i;
    return product;
}

/* A cascade of order n: s_j(t) = Σ_k C(k, j) r^(k−j) x_(t−k) for j ≤ n, per mode. */
typedef struct Cascade {
    int64_t n;
    Value c, r; /* of the op; r also in the states' shape: */
    Value rates, states[MAX_CASCADE + 1];
} Cascade;

/* The states after `chunk` samples of nothing, by Vandermonde: C(k+C, j) = Σ_p C(C, p) C(k, j−p). */
static Value faded(Streamer *s, const Cascade *d, int64_t j) {
    int64_t chunk = s->spec->chunk;
    Value sum = NO_VALUE;
    for (int64_t p = 0; p <= MIN(j, chunk) && !s->to->failed; p++) {
        Value fade = g_scale(s->to, d->states[j - p], binomial(chunk, p));
        if (chunk > p)
            fade = g_mul(s->to, fade,
                         g_binary(s->to, OP_pow, d->rates, g_like(s->to, d->rates, (double)(chunk - p))));
        sum = sum == NO_VALUE ? fade : g_add(s->to, sum, fade);
    }
    return sum;
}

/* What the states give in this chunk. The first sample sees them one step on, as u_j = r s_j + s_(j−1); by
   linearity that is the response of modes c u_j to an impulse. */
static Value response(Streamer *s, const Cascade *d, Value x, int axis) {
    Graph *g = s->to;
    Value sum = NO_VALUE, c = NO_VALUE;
    if (!g->failed) c = g_broadcast(g, d->c, graph_type(g, d->rates)->shape);
    for (int64_t j = 0; j <= d->n && !g->failed; j++) {
        Value u = g_mul(g, d->rates, d->states[j]);
        if (j) u = g_add(g, u, d->states[j - 1]);
        Value part = g_exponential_conv(g, impulse(s, x, axis, 0), g_mul(g, c, u), d->r,
                                        (Exponential){.axis = axis, .n = d->n - j});
        sum = sum == NO_VALUE ? part : g_add(g, sum, part);
    }
    return sum;
}

static Flow exponential_of_stream(Streamer *s, const Node *node, const Flow *args, int axis) {
    Flow flows[3] = {args[0], args[1], args[2]};
    Graph *g = s->to;
    int64_t chunk = s->spec->chunk;
    if (args[1].axis != NOT_STREAMED || args[2].axis != NOT_STREAMED)
        return stream_fail(s, "the modes of an exponential_conv must not depend on the signal");
    align(s, node, flows, size_along(s, node, 0, axis));
    Value x = with_past(s, filled_before(s, &flows[0], 0), axis, node->attrs->lag);
    x = slice_along(s, x, axis, 0, chunk);
    if (g->failed) return no_flow;
    Cascade d = {.n = node->attrs->n, .c = flows[1].value, .r = flows[2].value};
    Type modes = {FRAX_F64, graph_type(g, x)->shape};
    modes.shape.dims[axis] = graph_type(g, d.r)->shape.dims[axis];
    d.rates = g_broadcast(g, d.r, modes.shape);
    for (int64_t j = 0; j <= d.n; j++) d.states[j] = state_input(s, modes);
    for (int64_t j = 0; j <= d.n; j++) {
        Value gained = g_exponential_correlation(g, x, impulse(s, x, axis, chunk - 1), d.r,
                                                 (Exponential){.axis = axis, .n = j});
        state_next(s, d.states[j], g_add(g, faded(s, &d, j), gained));
    }
    flows[0].value = g_add(g, g_exponential_conv(g, x, d.c, d.r, (Exponential){.axis = axis, .n = d.n}),
                           response(s, &d, x, axis));
    return flows[0];
}

/* ---- The table ---- */

typedef Flow AlongRule(Streamer *s, const Node *node, const Flow *args, int axis);

/* What an op does that works along the streamed axis: a rule, or the reason why it cannot be streamed. */
static const struct {
    AlongRule *rule;
    const char *reason;
} along[OP_COUNT] = {
    [OP_slice] = {slice_of_stream, NULL},
    [OP_pad] = {pad_of_stream, NULL},
    [OP_concat] = {concat_of_streams, NULL},
    [OP_flip] = {NULL, "flip turns the streamed axis round: the last sample would come first"},
    [OP_sum] = {reduce_along, NULL},
    [OP_reduce_max] = {reduce_along, NULL},
    [OP_reduce_min] = {reduce_along, NULL},
    [OP_argmax] = {NULL, "argmax along the streamed axis is not kept from chunk to chunk"},
    [OP_rfft] = {NULL, "a transform along the streamed axis needs the whole signal"},
    [OP_spectral] = {NULL, "a periodic operator along the streamed axis needs the whole signal; a causal "
                           "kind of frac streams where it has engine=soe"},
    [OP_cross_spectrum] = {cross_spectrum_along, NULL},
    [OP_causal_conv] = {conv_of_stream, NULL},
    [OP_causal_correlation] = {correlation_of_streams, NULL},
    [OP_exponential_conv] = {exponential_of_stream, NULL},
    [OP_exponential_correlation] = {NULL, "the derivative of an exponential_conv by its coefficients is not "
                                          "kept from chunk to chunk"},
};

/* Does the op work along this axis of its operands? */
static bool works_along(const Streamer *s, const Node *node, int axis) {
    uint32_t attrs = op_table[node->op].attrs;
    const Attrs *at = node->attrs;
    if (attrs & A_AXES && at->axes >> axis & 1) return true;
    if (attrs & A_SUM && at->sum >> axis & 1) return true;
    if (attrs & A_AXIS && at->axis == axis) return true;
    if (node->op == OP_slice)
        return at->lo[axis] != 0 || at->hi[axis] != size_along(s, node, 0, axis) || at->step[axis] != 1;
    return node->op == OP_pad && (at->lo[axis] || at->hi[axis] || at->step[axis] != 1);
}

/* What is no element of the value must not fail the run: something within the range stands there. */
static Flow stream_guard(Streamer *s, const Node *node, Flow f) {
    const Attrs *at = node->attrs;
    double within = isfinite(at->value) ? at->value : isfinite(at->value2) ? at->value2 : 0;
    int64_t n = f.axis == NOT_STREAMED ? 1 : size_along(s, node, 0, f.axis);
    if (f.axis != NOT_STREAMED && (f.delay > 0 || n < s->spec->length)) {
        f.value = filled(s, &f, n, within);
    } else if (f.axis == NOT_STREAMED && f.delay > 0 && !s->to->failed) {
        Value known = when_passed(s, OP_gt, f.delay - s->spec->chunk, f.value);
        f.value = g_select(s->to, known, f.value, g_like(s->to, f.value, within));
    }
    if (f.axis == NOT_STREAMED) {
        f.value = emit_chunk(s, node, &f.value, f.axis);
        return f;
    }
    Node placed = *node;
    Attrs attrs = *at;
    attrs.n = n;
    attrs.axis = (uint8_t)f.axis;
    attrs.lag = f.delay;
    placed.attrs = &attrs;
    f.value = emit_chunk(s, &placed, &f.value, f.axis);
    s->counts = stream_offset(s) != NO_VALUE;
    return f;
}

Flow stream_node(Streamer *s, const Node *node, const Flow *args) {
    int axis = NOT_STREAMED;
    for (int i = 0; i < node->nargs && axis == NOT_STREAMED; i++) axis = args[i].axis;
    if (node->op == OP_guard) return stream_guard(s, node, args[0]);
    if (node->op == OP_matmul) return stream_matmul(s, node, args);
    if (node->op == OP_reshape || node->op == OP_transpose) return stream_moved(s, node, args);
    if (!works_along(s, node, axis)) return stream_rowwise(s, node, args, axis);
    if (along[node->op].rule) return along[node->op].rule(s, node, args, axis);
    return stream_fail(s, "%s", along[node->op].reason ? along[node->op].reason : op_table[node->op].name);
}

/* ---- Twins ---- */

static Flow iota_twin(Streamer *s, const Node *node, int axis) {
    Type type = chunk_type(s, &node->type, axis);
    bool along_axis = node->attrs->axis == axis;
    Value v = along_axis ? g_cast(s->to, chunk_times(s, type.shape, axis), type.dtype)
                         : g_iota(s->to, type, node->attrs->axis);
    return (Flow){v, axis, 0, !along_axis};
}

/* The twin of a pointwise node: of its operands' twins, where these need no state to meet. */
static Flow pointwise_twin(Streamer *s, const Node *node, int axis) {
    Value values[3];
    Flow result = {.axis = axis, .delay = -1, .steady = true};
    for (int i = 0; i < node->nargs && i < 3; i++) {
        const Flow *f = &s->twins[(size_t)node->args[i] * MAX_RANK + (size_t)axis];
        if (f->value == NO_VALUE || (!f->steady && !result.steady && f->delay != result.delay))
            return no_flow;
        values[i] = f->value;
        result.delay = f->steady ? MAX(result.delay, f->delay) : f->delay;
        result.steady &= f->steady;
    }
    result.value = emit_chunk(s, node, values, axis);
    return result;
}

static Flow broadcast_twin(Streamer *s, const Node *node, int axis) {
    const Flow *whole = &s->flows[node->args[0]];
    Flow result = {.axis = axis, .delay = whole->delay, .steady = true};
    if (size_along(s, node, 0, axis) != 1) {
        result = s->twins[(size_t)node->args[0] * MAX_RANK + (size_t)axis];
        whole = &result;
    }
    if (whole->value == NO_VALUE) return no_flow;
    result.value = emit_chunk(s, node, &whole->value, axis);
    return result;
}

/* Twins of a node that moves or keeps the axes of its one operand. */
static void moved_twins(Streamer *s, const Node *node, Flow *twins) {
    int rank = graph_type(s->from, node->args[0])->shape.rank;
    for (int from = 0; from < rank && !s->to->failed; from++) {
        Flow f = s->twins[(size_t)node->args[0] * MAX_RANK + (size_t)from];
        int axis =
            f.value == NO_VALUE || works_along(s, node, from) ? NOT_STREAMED : moved_axis(s, node, from);
        if (axis == NOT_STREAMED) continue;
        twins[axis] = f;
        twins[axis].axis = axis;
        twins[axis].value = emit_chunk(s, node, &f.value, axis);
    }
}

void stream_twins(Streamer *s, Value v) {
    const Node *node = graph_node(s->from, v);
    Flow *twins = &s->twins[(size_t)v * MAX_RANK];
    if (node->op == OP_reshape || node->op == OP_transpose || node->op == OP_slice) {
        moved_twins(s, node, twins);
        return;
    }
    for (int axis = 0; axis < node->type.shape.rank && !s->to->failed; axis++) {
        Type type = chunk_type(s, &node->type, axis);
        if (node->type.shape.dims[axis] < 2 || shape_overflows(&type.shape)) continue;
        if (node->op == OP_constant)
            twins[axis] = (Flow){g_constant(s->to, type, node->attrs->value), axis, 0, true};
        else if (node->op == OP_iota)
            twins[axis] = iota_twin(s, node, axis);
        else if (node->op == OP_broadcast)
            twins[axis] = broadcast_twin(s, node, axis);
        else if (op_is_pointwise(node->op))
            twins[axis] = pointwise_twin(s, node, axis);
    }
}
