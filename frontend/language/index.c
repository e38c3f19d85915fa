/* index.c — subscripts: x[1:, none, ::2, ..., -1] with NumPy's meaning, for subscripts known when compiled.
 *
 * Each subscript but none consumes one axis. All slices become at most one flip and one slice node; a reshape
 * drops the axes of single subscripts and inserts those of none.
 */
#include "lower.h"
#include <string.h>

/* One axis's part of the slice, in terms of the flipped axis where flip is set. */
typedef struct Range {
    int64_t lo, hi, step;
    bool flip;
} Range;

static int64_t clip(int64_t i, int64_t least, int64_t most) {
    return i < least ? least : i > most ? most : i;
}

/* NumPy's rule: negative bounds count from the end, then both are clipped to the axis. */
static Range resolve(int64_t n, const int64_t *lo, const int64_t *hi, int64_t step) {
    int64_t least = step > 0 ? 0 : -1, most = step > 0 ? n : n - 1;
    int64_t start = lo ? clip(*lo < 0 ? *lo + n : *lo, least, most) : step > 0 ? 0 : n - 1;
    int64_t stop = hi ? clip(*hi < 0 ? *hi + n : *hi, least, most) : step > 0 ? n : -1;
    Range range = {start, stop, step, false};
    if (step < 0) range = (Range){n - 1 - start, n - 1 - stop, -step, true};
    if (range.lo >= range.hi) range = (Range){0, 0, 1, false};
    return range;
}

static Value apply_ranges(Lower *lw, Value x, const Range *ranges) {
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
    uint32_t flips = 0;
    for (int i = 0; i < shape_of(lw, x)->rank; i++) {
        lo[i] = ranges[i].lo;
        hi[i] = ranges[i].hi;
        step[i] = ranges[i].step;
        if (ranges[i].flip) flips |= 1u << i;
    }
    return g_slice(lw->g, flips ? g_flip(lw->g, x, flips) : x, lo, hi, step);
}

static void full_ranges(const Shape *shape, Range *ranges) {
    for (int i = 0; i < shape->rank; i++) ranges[i] = (Range){0, shape->dims[i], 1, false};
}

Value slice_axis(Lower *lw, Value x, int axis, const int64_t *lo, const int64_t *hi, int64_t step) {
    Range ranges[MAX_RANK];
    if (failed(lw)) return NO_VALUE;
    if (step == 0 || step == INT64_MIN)
        return lower_fail(lw, FRAX_VALUE, "slice: step %lld", (long long)step);
    full_ranges(shape_of(lw, x), ranges);
    ranges[axis] = resolve(shape_of(lw, x)->dims[axis], lo, hi, step);
    return apply_ranges(lw, x, ranges);
}

/* A bound or step of a range; false after a fault. */
static bool whole_part(Lower *lw, const Expr *e, const char *what, int64_t *result) {
    Item item = lower_expr(lw, e);
    if (!failed(lw)) lw->g->loc = e->loc;
    return whole_item(lw, &item, what, result);
}

static bool range_subscript(Lower *lw, const Expr *e, int64_t n, Range *range) {
    int64_t parts[3] = {0, 0, 1};
    for (int i = 0; i < 3; i++)
        if (e->items[i] && !whole_part(lw, e->items[i], "a bound of a slice", &parts[i])) return false;
    if (parts[2] == 0 || parts[2] == INT64_MIN) {
        lower_fail(lw, FRAX_VALUE, "the step of a slice is %lld, expected a whole number other than 0",
                   (long long)parts[2]);
        return false;
    }
    *range = resolve(n, e->items[0] ? &parts[0] : NULL, e->items[1] ? &parts[1] : NULL, parts[2]);
    return true;
}

static bool single_subscript(Lower *lw, const Expr *e, int axis, int64_t n, Range *range) {
    int64_t i = 0;
    if (!whole_part(lw, e, "a subscript", &i)) return false;
    if (i < -n || i >= n) {
        lower_fail(lw, FRAX_VALUE, "subscript %lld is outside axis %d of size %lld", (long long)i, axis,
                   (long long)n);
        return false;
    }
    i += i < 0 ? n : 0;
    *range = (Range){i, i + 1, 1, false};
    return true;
}

static bool is_none(const Expr *e) {
    return e->kind == EXPR_NAME && !strcmp(e->text, "none");
}

/* How many axes of x the subscripts consume; false if there are two ellipses or too many subscripts. */
static bool count_subscripts(Lower *lw, const Expr *e, int rank, int *consumed) {
    int ellipses = 0;
    size_t added = 0;
    *consumed = 0;
    for (size_t i = 1; i < e->count; i++) {
        ellipses += e->items[i]->kind == EXPR_ELLIPSIS;
        added += is_none(e->items[i]);
        *consumed += e->items[i]->kind != EXPR_ELLIPSIS && !is_none(e->items[i]);
    }
    if (ellipses > 1)
        lower_fail(lw, FRAX_SHAPE, "more than one '...' in a subscript");
    else if (*consumed > rank)
        lower_fail(lw, FRAX_SHAPE, "%d subscripts for an array of rank %d", *consumed, rank);
    else if (added > MAX_RANK)
        lower_fail(lw, FRAX_SHAPE, "rank %zu is beyond the limit of %d", added + (size_t)rank, MAX_RANK);
    return !failed(lw);
}

Item lower_index(Lower *lw, const Expr *e) {
    Item base = lower_expr(lw, e->items[0]);
    lw->g->loc = e->loc;
    Value x = any_value(lw, base);
    if (x == NO_VALUE) return (Item){0};
    Shape from = *shape_of(lw, x), to = {0};
    Range ranges[MAX_RANK] = {{0}};
    int consumed, axis = 0, kept[3 * MAX_RANK], nkept = 0; /* axes of the result; −1: inserted */
    if (!count_subscripts(lw, e, from.rank, &consumed)) return (Item){0};
    full_ranges(&from, ranges);
    for (size_t i = 1; i < e->count; i++) {
        const Expr *s = e->items[i];
        if (is_none(s)) {
            kept[nkept++] = -1;
        } else if (s->kind == EXPR_ELLIPSIS) {
            for (int n = from.rank - consumed; n > 0; n--) kept[nkept++] = axis++;
        } else if (s->kind == EXPR_RANGE) {
            if (!range_subscript(lw, s, from.dims[axis], &ranges[axis])) return (Item){0};
            kept[nkept++] = axis++;
        } else {
            if (!single_subscript(lw, s, axis, from.dims[axis], &ranges[axis])) return (Item){0};
            axis++;
        }
    }
    while (axis < from.rank) kept[nkept++] = axis++;
    if (nkept > MAX_RANK)
        return item_fail(lw, FRAX_SHAPE, "rank %d is beyond the limit of %d", nkept, MAX_RANK);
    lw->g->loc = e->loc;
    x = apply_ranges(lw, x, ranges);
    if (x == NO_VALUE) return (Item){0};
    for (int i = 0; i < nkept; i++) to.dims[i] = kept[i] < 0 ? 1 : shape_of(lw, x)->dims[kept[i]];
    to.rank = nkept;
    return item_value(g_reshape(lw->g, x, to));
}
