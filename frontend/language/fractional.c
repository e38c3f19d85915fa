/* fractional.c — frac(x, alpha, …): its arguments, read and checked against a row of the table of kinds.
 *
 * An argument that the row's operator would ignore is a fault, and so is a constant out of its range; what is
 * known only at run time is guarded, so that the run tells which argument left its range.
 */
#include "fractional.h"
#include <math.h>
#include <string.h>

/* ---- The row ---- */

static bool same_kind(const FracKind *a, const FracKind *b) {
    return !strcmp(a->name, b->name);
}

/* The first row of the kind that is asked for, by its name or its alias. */
static const FracKind *first_row(const Frac *f) {
    enum { MOST = 64 };
    const char *names[MOST];
    const FracKind *rows[MOST];
    size_t n = 0;
    for (size_t i = 0; i < frac_kind_count && n + 2 <= MOST; i++) {
        const FracKind *row = &frac_kinds[i];
        if (i && same_kind(row, row - 1)) continue;
        rows[n] = row;
        names[n++] = row->name;
        if (row->alias) rows[n] = row, names[n++] = row->alias;
    }
    int choice = choice_arg(f->lw, f->args, ARG_KIND, names, n);
    return choice < 0 ? NULL : rows[choice];
}

static const FracKind *end_row(const FracKind *first) {
    const FracKind *end = frac_kinds + frac_kind_count, *row = first;
    while (row < end && same_kind(row, first)) row++;
    return row;
}

/* The name of the scheme that is asked for, or NULL. */
static const char *asked_scheme(const Frac *f, const FracKind *first) {
    const char *names[16];
    size_t n = 0;
    if (failed(f->lw) || !f->args->given[ARG_SCHEME]) return NULL;
    for (const FracKind *row = first; row < end_row(first) && n < COUNT(names); row++)
        if (row->scheme && (n == 0 || strcmp(names[n - 1], row->scheme))) names[n++] = row->scheme;
    if (n == 0) {
        arg_fail(f->lw, f->args, ARG_SCHEME, FRAX_VALUE, "is for kinds that have several; kind=%s has one",
                 first->name);
        return NULL;
    }
    int choice = choice_arg(f->lw, f->args, ARG_SCHEME, names, n);
    return choice < 0 ? NULL : names[choice];
}

/* Bounds of all elements of v where they are known now; false where they are not. */
static bool constant_bounds(const Graph *g, Value v, double *lo, double *hi) {
    const Node *node = graph_node(g, v);
    switch (node->op) {
    case OP_constant: *lo = *hi = node->attrs->value; return true;
    case OP_reshape:
    case OP_broadcast:
    case OP_transpose:
    case OP_slice: return constant_bounds(g, node->args[0], lo, hi);
    case OP_concat:
        *lo = INFINITY, *hi = -INFINITY;
        for (int i = 0; i < node->nargs; i++) {
            double a, b;
            if (!constant_bounds(g, node->args[i], &a, &b)) return false;
            *lo = fmin(*lo, a), *hi = fmax(*hi, b);
        }
        return true;
    default: return false;
    }
}

/* The orders that the call may have. */
static const Range *orders_of(const Frac *f) {
    return f->soe ? &f->kind->soe : &f->kind->alpha;
}

static bool holds(const FracKind *row, double lo, double hi) {
    return in_range(&row->alpha, lo) && in_range(&row->alpha, hi);
}

static const FracKind *choose_row(const Frac *f, const FracKind *first) {
    const char *scheme = asked_scheme(f, first);
    FracArg variant = f->causal ? ARG_CAUSAL : f->args->given[ARG_TIMES] ? ARG_TIMES : ARG_X;
    const FracKind *found = NULL;
    double lo = 0, hi = 0;
    if (failed(f->lw)) return NULL;
    bool constant = constant_bounds(f->g, f->alpha, &lo, &hi);
    for (int pass = 0; pass < 2 && !found;
         pass++, variant = ARG_X) /* without the variant: it is refused later */
        for (const FracKind *row = first; row < end_row(first); row++) {
            if (row->variant != variant || (scheme && strcmp(row->scheme, scheme))) continue;
            if (!found || (constant && !holds(found, lo, hi) && holds(row, lo, hi))) found = row;
        }
    return found;
}

/* ---- Arguments that do not apply ---- */

/* "kind=caputo, scheme=l2 and kind=caputo, scheme=gl": the rows that take an argument. */
static void takers(FracArg arg, char *text, size_t size) {
    char name[96], last[96] = "";
    size_t used = 0;
    *text = '\0';
    for (size_t i = 0; i < frac_kind_count && used < size; i++) {
        if (!(frac_kinds[i].options >> arg & 1)) continue;
        FracKind row = frac_kinds[i];
        row.variant = ARG_X;
        if (!strcmp(kind_text(&row, name), last)) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " and " : "", name);
        snprintf(last, sizeof last, "%s", name);
    }
}

static void check_options(const Frac *f) {
    static const FracArg optional[] = {ARG_LAMBDA, ARG_THETA,    ARG_SLOPE, ARG_CAUSAL,
                                       ARG_STEP,   ARG_CENTERED, ARG_TIMES};
    char name[96], others[512];
    kind_text(f->kind, name);
    for (size_t i = 0; i < COUNT(optional); i++) {
        FracArg arg = optional[i];
        if (!f->args->given[arg] || f->kind->options >> arg & 1) continue;
        takers(arg, others, sizeof others);
        if (arg == ARG_STEP)
            arg_fail(f->lw, f->args, arg, FRAX_VALUE, "and times are both given");
        else
            arg_fail(f->lw, f->args, arg, FRAX_VALUE, "is for %s, not for %s", others, name);
    }
}

/* ---- The engine ---- */

static void read_engine(Frac *f) {
    const char *names[ENGINE_SOE + 1];
    for (int e = 0; e < ENGINE_COUNT; e++) names[e] = engine_names[e];
    names[ENGINE_SOE] = "soe";
    int choice = choice_arg(f->lw, f->args, ARG_ENGINE, names, COUNT(names));
    f->soe = choice == ENGINE_SOE;
    f->engine = choice < 0 || f->soe ? ENGINE_AUTO : (Engine)choice;
    uint32_t engines = f->kind->engines;
    if (failed(f->lw) || engines >> choice & 1) return;
    char kind[96], others[96] = "";
    size_t used = 0;
    for (size_t e = 0; e < COUNT(names); e++)
        if (engines >> e & 1)
            used += (size_t)snprintf(others + used, sizeof others - used, "%s%s", used ? ", " : "", names[e]);
    arg_fail(f->lw, f->args, ARG_ENGINE, FRAX_VALUE, "is %s; %s runs by %s", names[choice],
             kind_text(f->kind, kind), others);
}

/* `auto` takes sums of exponentials once a tolerance is given and the order is known to be served, for
   signals of more samples than transforms were measured to be faster for: 600 to 900 for tolerances of 1e-6
   and 1e-10, one row or many, alone and with gradients. */
static void choose_soe(Frac *f, int64_t n) {
    enum { SHORTEST = 1000 };
    const Range *range = &f->kind->soe;
    char kind[96], text[96];
    double lo, hi;
    bool known = constant_bounds(f->g, f->alpha, &lo, &hi);
    bool served = known && in_range(range, lo) && in_range(range, hi);
    f->soe = served && n > SHORTEST;
    if (served && !f->soe)
        graph_note(f->g, f->g->loc, "%s of %lld samples: not soe, measured to pay from %d samples",
                   kind_text(f->kind, kind), (long long)n, SHORTEST + 1);
    if (!served)
        graph_note(f->g, f->g->loc, "%s: not soe, since alpha is %s %s", kind_text(f->kind, kind),
                   known ? "outside" : "not known to stay in", range_text(range, "alpha", text));
}

/* tol and horizon are for sums of exponentials. */
static void read_soe(Frac *f) {
    const bool *given = f->args->given;
    char kind[96];
    int extra = given[ARG_TOL] ? ARG_TOL : ARG_HORIZON;
    if (failed(f->lw)) return;
    int64_t n = shape_of(f->lw, f->x)->dims[f->axis];
    if (!(given[extra] || f->soe)) return;
    if (!(f->kind->engines >> ENGINE_SOE & 1))
        arg_fail(f->lw, f->args, extra, FRAX_VALUE, "is for engine=soe, which %s does not have",
                 kind_text(f->kind, kind));
    else if (!f->soe && (f->engine != ENGINE_AUTO || !given[ARG_TOL]))
        arg_fail(f->lw, f->args, extra, FRAX_VALUE, "is for engine=soe%s",
                 f->engine == ENGINE_AUTO ? ", or for auto with tol" : "");
    f->horizon = given[ARG_HORIZON] ? whole_arg(f->lw, f->args, ARG_HORIZON) : n;
    bool generic = f->lw->sizes == SIZES_GENERIC;
    double least = soe_least_tolerance(generic ? 1 : f->horizon);
    f->tol = given[ARG_TOL] ? number_arg(f->lw, f->args, ARG_TOL) : fmax(1e-10, least);
    if (!failed(f->lw) && f->horizon < n && !generic)
        arg_fail(f->lw, f->args, ARG_HORIZON, FRAX_VALUE, "is %lld, less than the %lld samples of x",
                 (long long)f->horizon, (long long)n);
    if (!failed(f->lw) && !(f->tol <= SOE_MOST_TOLERANCE))
        arg_fail(f->lw, f->args, ARG_TOL, FRAX_VALUE, "is %g, expected %g or less", f->tol,
                 SOE_MOST_TOLERANCE);
    if (!failed(f->lw) && f->tol < least)
        arg_fail(f->lw, f->args, ARG_TOL, FRAX_VALUE, "is %g, expected %g to %g for %lld samples", f->tol,
                 least, SOE_MOST_TOLERANCE, (long long)f->horizon);
    if (!failed(f->lw) && !f->soe) choose_soe(f, n);
}

/* ---- Values ---- */

void read_axes(Frac *f, int axis, int axes, int most, const char *who) {
    Lower *lw = f->lw;
    int arg = f->args->given[axes] ? axes : axis;
    if (f->args->given[axes] && f->args->given[axis])
        arg_fail(lw, f->args, axes, FRAX_VALUE, "and axis are both given");
    if (failed(lw)) return;
    Shape shape = *shape_of(lw, f->x);
    f->axes = axes_arg(lw, f->args, arg, shape.rank);
    int n = __builtin_popcount(f->axes);
    if (!failed(lw) && (n < 1 || n > most))
        arg_fail(lw, f->args, arg, FRAX_SHAPE, "names %d axes; %s acts along %s", n, who,
                 most == 1 ? "one" : "one to three");
    if (failed(lw)) return;
    f->axis = 31 - __builtin_clz(f->axes);
    for (int i = 0; i <= f->axis; i++)
        if (f->axes >> i & 1 && shape.dims[i] == 0)
            arg_fail(lw, f->args, arg, FRAX_SHAPE, "is %d, along which x is empty", i);
}

/* Argument i as f64 of x's rank, with size 1 on the operator's axes. */
static Value aligned(const Frac *f, int i, Item item) {
    Lower *lw = f->lw;
    if (failed(lw)) return NO_VALUE;
    if (item.kind != ITEM_VALUE && item.kind != ITEM_NUMBER)
        return arg_fail(lw, f->args, i, FRAX_TYPE, "must be an array or a number");
    Value v = any_value(lw, item);
    char text[176], other[176];
    if (failed(lw)) return NO_VALUE;
    Type type = *graph_type(f->g, v), x = *graph_type(f->g, f->x);
    Shape lifted = {.rank = x.shape.rank}, joint;
    int lead = lifted.rank - type.shape.rank;
    for (int k = MAX(0, lead); k < lifted.rank; k++) lifted.dims[k] = type.shape.dims[k - lead];
    for (int k = 0; k < lead; k++) lifted.dims[k] = 1;
    bool fits = lead >= 0 && shape_broadcast(&lifted, &x.shape, &joint);
    for (int k = 0; fits && k < lifted.rank; k++) fits = !(f->axes >> k & 1) || lifted.dims[k] == 1;
    if (!dtype_is_float(type.dtype))
        return arg_fail(lw, f->args, i, FRAX_TYPE, "is %s, expected a floating dtype",
                        type_text(&type, text));
    if (!fits)
        return arg_fail(lw, f->args, i, FRAX_SHAPE,
                        "is %s; expected a scalar, or sizes that broadcast against x %s with size 1 on axis "
                        "%d, as in a[:, none]",
                        type_text(&type, text), type_text(&x, other), f->axis);
    return g_cast(f->g, g_reshape(f->g, v, lifted), FRAX_F64);
}

static Value guarded(const Frac *f, int arg, Value v, const Range *range, const char *name,
                     const char *expected) {
    Loc loc = f->g->loc;
    double lo = range->lo_open ? nextafter(range->lo, INFINITY) : range->lo;
    double hi = range->hi_open ? nextafter(range->hi, -INFINITY) : range->hi;
    if (f->args->items[arg].loc.line) f->g->loc = f->args->items[arg].loc;
    Value guard = g_guard(f->g, v, lo, hi, name, expected);
    if (!failed(f->lw)) f->g->loc = loc;
    return guard;
}

/* v inside its range, which `expected` tells: a fault now where v is constant, at run time elsewhere. */
static Value within(const Frac *f, int arg, Value v, const Range *range, const char *expected) {
    double lo, hi;
    char number[32];
    if (failed(f->lw)) return v;
    if (!constant_bounds(f->g, v, &lo, &hi)) {
        char name[64];
        arg_name(f->args, arg, name);
        return guarded(f, arg, v, range, name, expected);
    }
    double wrong = in_range(range, lo) ? hi : lo;
    if (in_range(range, wrong)) return v;
    return arg_fail(f->lw, f->args, arg, FRAX_VALUE, "is %s, expected %s", double_text(wrong, number),
                    expected);
}

void read_steps(Frac *f, int arg) {
    const Range positive = {0, INFINITY, true, true};
    const Item *item = &f->args->items[arg];
    int n = __builtin_popcount(f->axes), k = 0;
    if (item->kind == ITEM_TUPLE && item->count != n)
        arg_fail(f->lw, f->args, arg, FRAX_SHAPE, "has %d entries for %d axes", item->count, n);
    for (int i = 0; i <= f->axis && !failed(f->lw); i++) {
        if (!(f->axes >> i & 1)) continue;
        const Item *step = item->kind == ITEM_TUPLE ? &item->items[k++] : item;
        f->steps[i] = within(f, arg, aligned(f, arg, *step), &positive, "more than 0");
    }
}

/* The first scheme of the kind that holds what this one does not; of several schemes it may be none. */
static void suggest_scheme(const Frac *f, double lo, double hi, char *text, size_t size) {
    char range[96];
    const FracKind *row = f->kind;
    while (row > frac_kinds && same_kind(row, row - 1)) row--;
    for (const FracKind *end = end_row(row); row < end && !*text; row++)
        if (row->variant == ARG_X && holds(row, lo, hi))
            snprintf(text, size, "; scheme=%s has %s", row->scheme, range_text(&row->alpha, "alpha", range));
    if (!*text && f->kind->scheme) snprintf(text, size, "; no other scheme has it");
}

static void read_alpha(Frac *f) {
    char kind[96], range[96], expected[300], other[128] = "";
    const FracKind *row = f->kind;
    double lo, hi;
    if (failed(f->lw)) return;
    if (constant_bounds(f->g, f->alpha, &lo, &hi) && !holds(row, lo, hi))
        suggest_scheme(f, lo, hi, other, sizeof other);
    range_text(orders_of(f), "alpha", range);
    if (isinf(row->alpha.lo) && isinf(row->alpha.hi) && !f->soe)
        snprintf(range, sizeof range, "a finite alpha");
    snprintf(expected, sizeof expected, "%s (%s%s)%s", range, kind_text(row, kind),
             f->soe ? ", engine=soe" : "", other);
    f->alpha = within(f, ARG_ALPHA, f->alpha, orders_of(f), expected);
}

/* |theta| ≤ min(alpha, 2 − alpha), up to rounding */
static void read_theta(Frac *f) {
    const Range range = {-1e-12, INFINITY, false, true};
    f->theta = aligned(f, ARG_THETA, f->args->items[ARG_THETA]);
    if (failed(f->lw) || !(f->kind->options >> ARG_THETA & 1)) return;
    Value left = g_sub(f->g, g_like(f->g, f->alpha, 2), f->alpha);
    Value most = g_binary(f->g, OP_min, f->alpha, left);
    Value slack = mix(f, OP_sub, most, g_unary(f->g, OP_abs, f->theta));
    double lo, hi;
    if (failed(f->lw)) return;
    if (!constant_bounds(f->g, slack, &lo, &hi))
        graph_check(
            f->g, guarded(f, ARG_THETA, slack, &range, "frac: min(alpha, 2 - alpha) - |theta|", "0 or more"));
    else if (!in_range(&range, lo))
        arg_fail(f->lw, f->args, ARG_THETA, FRAX_VALUE, "exceeds min(alpha, 2 - alpha) by %g", -lo);
}

/* Sample times, one for each sample, and the intervals between them. */
static void read_times(Frac *f) {
    const Range positive = {0, INFINITY, true, true};
    Lower *lw = f->lw;
    char text[176];
    if (failed(lw) || !f->args->given[ARG_TIMES]) return;
    Value t = float_arg(lw, f->args, ARG_TIMES);
    if (failed(lw)) return;
    int64_t n = shape_of(lw, f->x)->dims[f->axis];
    const Shape *shape = shape_of(lw, t);
    if (shape->rank != 1 || shape->dims[0] != n) {
        arg_fail(lw, f->args, ARG_TIMES, FRAX_SHAPE, "is %s, expected a vector of the %lld times of x",
                 type_text(graph_type(f->g, t), text), (long long)n);
        return;
    }
    Frac along = {.lw = lw, .g = f->g, .axis = 0};
    f->times = g_cast(f->g, t, FRAX_F64);
    Value gaps = n == 1 ? g_like(f->g, f->times, 1)
                        : g_sub(f->g, cut(&along, f->times, 1, n), cut(&along, f->times, 0, n - 1));
    double lo, hi;
    if (!failed(lw) && n > 1 && constant_bounds(f->g, gaps, &lo, &hi)) {
        arg_fail(lw, f->args, ARG_TIMES, FRAX_VALUE, "do not increase");
        return;
    }
    if (n > 1)
        gaps = guarded(f, ARG_TIMES, gaps, &positive, "frac: an interval between times", "more than 0");
    int64_t before[1] = {n > 1}, after[1] = {0};
    f->intervals = g_reshape(f->g, g_pad(f->g, gaps, before, after, NULL), SHAPE(1, 1, n));
}

static void read_values(Frac *f) {
    const Range not_negative = {0, INFINITY, false, true};
    const Item *items = f->args->items;
    read_steps(f, ARG_STEP);
    read_alpha(f);
    f->lambda = aligned(f, ARG_LAMBDA, items[ARG_LAMBDA]);
    f->lambda = within(f, ARG_LAMBDA, f->lambda, &not_negative, "0 or more");
    f->slope = aligned(f, ARG_SLOPE, items[ARG_SLOPE]);
    read_theta(f);
    read_times(f);
    double lo, hi;
    if (failed(f->lw) || !f->args->given[ARG_SLOPE]) return;
    if (constant_bounds(f->g, f->alpha, &lo, &hi) && hi <= 1)
        arg_fail(f->lw, f->args, ARG_SLOPE, FRAX_VALUE, "is for orders above 1, but alpha is %g", hi);
}

/* x grown to the sizes that its parameters bring. */
static void grow_x(Frac *f) {
    if (failed(f->lw)) return;
    Shape joint = *shape_of(f->lw, f->x);
    const Value parts[] = {f->alpha, f->lambda, f->theta, f->slope};
    bool fits = true;
    for (int i = 0; i < joint.rank; i++)
        if (f->axes >> i & 1) fits = fits && shape_broadcast(&joint, shape_of(f->lw, f->steps[i]), &joint);
    for (size_t i = 0; i < COUNT(parts); i++)
        fits = fits && shape_broadcast(&joint, shape_of(f->lw, parts[i]), &joint);
    if (fits)
        f->x = g_broadcast_to(f->g, f->x, joint);
    else
        lower_fail(f->lw, FRAX_SHAPE,
                   "frac: alpha, step and the other parameters do not broadcast against each other");
}

Item frac_rule(Lower *lw, const Args *args) {
    Frac f = {.lw = lw, .g = lw->g, .args = args, .times = NO_VALUE, .intervals = NO_VALUE};
    const FracKind *first = first_row(&f);
    f.x = float_arg(lw, args, ARG_X);
    f.causal = truth_arg(lw, args, ARG_CAUSAL);
    f.centered = truth_arg(lw, args, ARG_CENTERED);
    if (failed(lw)) return (Item){0};
    char who[64];
    snprintf(who, sizeof who, "kind=%s", first->name);
    read_axes(&f, ARG_AXIS, ARG_AXES, first->most_axes, who);
    f.alpha = aligned(&f, ARG_ALPHA, args->items[ARG_ALPHA]);
    f.kind = choose_row(&f, first);
    if (!failed(lw)) check_options(&f);
    if (!failed(lw)) read_engine(&f);
    read_soe(&f);
    if (!failed(lw)) read_values(&f);
    if (failed(lw)) return (Item){0};
    FraxDType dtype = graph_type(lw->g, f.x)->dtype;
    f.x = f.kind->differences ? g_cast(lw->g, f.x, FRAX_F64) : widen_half(lw, f.x);
    grow_x(&f);
    return failed(lw) ? (Item){0} : item_value(g_cast(lw->g, f.kind->build(&f), dtype));
}
