/* eager_view.c — views: made, shared, dropped, reordered, read and copied.
 *
 * All copies of the eager target are here: from any strides to any strides, with neighbouring axes merged and
 * with transpositions in square blocks, so that neither side jumps through the cache.
 */
#include "eager.h"
#include <stdlib.h>
#include <string.h>

/* ---- Making and dropping ---- */

static size_t dense_bytes(FraxDType dtype, const Shape *shape) {
    return (size_t)shape_size(shape) * frax_dtype_size(dtype);
}

FraxStatus view_create(Run *run, FraxDType dtype, const Shape *shape, View *view) {
    *view = (View){.dtype = dtype, .shape = *shape};
    FraxStatus status = run_scratch(run, dense_bytes(dtype, shape), &view->buffer);
    if (status) return status;
    view->data = view->buffer->data;
    shape_strides(shape, view->strides);
    return FRAX_OK;
}

FraxStatus view_result(Run *run, Value v) {
    const Type *type = graph_type(run->graph, v);
    int output = run->eager->direct[v];
    /* Transforms want 16-byte alignment. */
    if (output < 0 || (uintptr_t)run->outputs[output] % 16)
        return view_create(run, type->dtype, &type->shape, &run->values[v]);
    run->values[v] = (View){.data = run->outputs[output], .dtype = type->dtype, .shape = type->shape};
    shape_strides(&type->shape, run->values[v].strides);
    return FRAX_OK;
}

void view_drop(Run *run, View *view) {
    if (view->buffer) pool_give(run->eager->pool, view->buffer);
    *view = (View){0};
}

View view_share(const View *view) {
    if (view->buffer) view->buffer->views++;
    return *view;
}

bool view_is_dense(const View *view) {
    int64_t stride = 1;
    for (int i = view->shape.rank - 1; i >= 0; i--) {
        if (view->shape.dims[i] == 0) return true;
        if (view->shape.dims[i] > 1 && view->strides[i] != stride) return false;
        stride *= view->shape.dims[i];
    }
    return true;
}

FraxStatus view_dense(Run *run, const View *x, FraxDType dtype, View *dense) {
    if (x->dtype == dtype && view_is_dense(x)) {
        *dense = view_share(x);
        shape_strides(&x->shape, dense->strides); /* axes of size 1 may have had any stride */
        return FRAX_OK;
    }
    View copy;
    FraxStatus status = view_create(run, x->dtype, &x->shape, &copy);
    if (status) return status;
    view_copy(run, &copy, x);
    *dense = copy;
    if (x->dtype == dtype) return FRAX_OK;
    status = view_create(run, dtype, &x->shape, dense); /* a 16-bit format to f32 */
    if (!status) widen(x->dtype, copy.data, (float *)dense->data, shape_size(&x->shape));
    view_drop(run, &copy);
    return status;
}

/* ---- Order of axes ---- */

View view_permuted(const View *x, const uint8_t *perm) {
    View y = *x;
    for (int i = 0; i < x->shape.rank; i++) {
        y.shape.dims[i] = x->shape.dims[perm[i]];
        y.strides[i] = x->strides[perm[i]];
    }
    return y;
}

View view_unpermuted(const View *dense, const uint8_t *perm) {
    View y = *dense;
    for (int i = 0; i < dense->shape.rank; i++) {
        y.shape.dims[perm[i]] = dense->shape.dims[i];
        y.strides[perm[i]] = dense->strides[i];
    }
    return y;
}

void axes_last(int rank, uint32_t axes, uint8_t *perm) {
    int n = 0;
    for (int last = 0; last < 2; last++)
        for (int i = 0; i < rank; i++)
            if ((int)(axes >> i & 1) == last) perm[n++] = (uint8_t)i;
}

/* ---- Reading in order ---- */

Walk walk_create(const View *view) {
    Walk w = {.data = view->data, .size = frax_dtype_size(view->dtype)};
    for (int i = 0; i < view->shape.rank; i++) {
        int64_t n = view->shape.dims[i], stride = view->strides[i];
        if (n == 1) continue;
        if (w.rank && w.strides[w.rank - 1] == stride * n) {
            w.dims[w.rank - 1] *= n;
            w.strides[w.rank - 1] = stride;
        } else {
            w.dims[w.rank] = n;
            w.strides[w.rank++] = stride;
        }
    }
    if (!w.rank) w.dims[w.rank++] = 1;
    return w;
}

bool walk_is_scalar(const Walk *walk) {
    return walk->rank == 1 && walk->strides[0] == 0;
}

/* Rows × columns elements from strides f to strides t. */
#define COPY_BLOCK(name, T)                                                                                  \
    static void name(void *to, const int64_t t[2], const void *from, const int64_t f[2],                     \
                     const int64_t n[2]) {                                                                   \
        for (int64_t i = 0; i < n[0]; i++) {                                                                 \
            T *y = (T *)to + i * t[0];                                                                       \
            const T *x = (const T *)from + i * f[0];                                                         \
            if (t[1] == 1 && f[1] == 1)                                                                      \
                memcpy(y, x, (size_t)n[1] * sizeof(T));                                                      \
            else if (t[1] == 1)                                                                              \
                for (int64_t j = 0; j < n[1]; j++) y[j] = x[j * f[1]];                                       \
            else                                                                                             \
                for (int64_t j = 0; j < n[1]; j++) y[j * t[1]] = x[j * f[1]];                                \
        }                                                                                                    \
    }
COPY_BLOCK(copy_1, uint8_t)
COPY_BLOCK(copy_2, uint16_t)
COPY_BLOCK(copy_4, uint32_t)
COPY_BLOCK(copy_8, uint64_t)

static void copy_block(size_t size, void *to, const int64_t t[2], const void *from, const int64_t f[2],
                       const int64_t n[2]) {
    switch (size) {
    case 1: copy_1(to, t, from, f, n); break;
    case 2: copy_2(to, t, from, f, n); break;
    case 4: copy_4(to, t, from, f, n); break;
    default: copy_8(to, t, from, f, n);
    }
}

void walk_read(const Walk *walk, int64_t start, int64_t n, void *out) {
    int64_t index[MAX_RANK], at = 0;
    int last = walk->rank - 1;
    for (int i = last; i >= 0; i--) {
        index[i] = start % walk->dims[i];
        start /= walk->dims[i];
        at += index[i] * walk->strides[i];
    }
    for (char *to = out; n > 0;) {
        int64_t length = MIN(n, walk->dims[last] - index[last]);
        copy_block(walk->size, to, (int64_t[]){0, 1}, walk->data + at * (int64_t)walk->size,
                   (int64_t[]){0, walk->strides[last]}, (int64_t[]){1, length});
        to += length * (int64_t)walk->size;
        n -= length;
        at += length * walk->strides[last];
        index[last] += length;
        for (int i = last; i > 0 && index[i] == walk->dims[i]; i--) {
            at += walk->strides[i - 1] - walk->dims[i] * walk->strides[i];
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

/* ---- Copying ---- */

enum { SQUARE = 32 }; /* side of a block of a transposition */

typedef struct Copy {
    char *to;
    const char *from;
    size_t size;
    int rank; /* ≥ 2; the last two axes are copied in blocks, the others are walked */
    int64_t dims[MAX_RANK + 1], t[MAX_RANK + 1], f[MAX_RANK + 1];
    int64_t block[2];  /* of the last two axes, copied by one call */
    int64_t across;    /* blocks along the last axis */
    int64_t down;      /* along the one before */
    int64_t per_chunk; /* blocks */
    int64_t blocks;
} Copy;

static void copy_merge(Copy *c, const View *to, const View *from) {
    c->dims[0] = 1, c->t[0] = c->f[0] = 0, c->rank = 1; /* an axis of size 1 in front: there are always two */
    for (int i = 0; i < to->shape.rank; i++) {
        int64_t n = to->shape.dims[i], t = to->strides[i], f = from->strides[i];
        int last = c->rank - 1;
        if (n == 1) continue;
        if (last && c->t[last] == t * n && c->f[last] == f * n) {
            c->dims[last] *= n, c->t[last] = t, c->f[last] = f;
        } else {
            c->dims[c->rank] = n, c->t[c->rank] = t, c->f[c->rank] = f;
            c->rank++;
        }
    }
    if (c->rank == 1) c->dims[1] = 1, c->t[1] = c->f[1] = 1, c->rank = 2;
}

static void swap_axes(Copy *c, int i, int j) {
    int64_t *lists[] = {c->dims, c->t, c->f};
    for (size_t k = 0; k < COUNT(lists); k++) {
        int64_t v = lists[k][i];
        lists[k][i] = lists[k][j], lists[k][j] = v;
    }
}

/* Puts the axis along which `from` is densest next to the last; true if that is a transposition. */
static bool copy_transposes(Copy *c) {
    int last = c->rank - 1, best = last;
    for (int i = 1; i < last; i++)
        if (c->f[i] && (!c->f[best] || llabs(c->f[i]) < llabs(c->f[best]))) best = i;
    if (best == last || !c->f[last] || c->dims[best] < 4 || c->dims[last] < 4) return false;
    swap_axes(c, best, last - 1);
    return true;
}

static void copy_chunk(const void *context, int64_t chunk) {
    const Copy *c = context;
    int last = c->rank - 1;
    int64_t end = MIN((chunk + 1) * c->per_chunk, c->blocks);
    for (int64_t b = chunk * c->per_chunk; b < end; b++) {
        int64_t rest = b, j = rest % c->across * c->block[1];
        rest /= c->across;
        int64_t i = rest % c->down * c->block[0];
        rest /= c->down;
        int64_t t = i * c->t[last - 1] + j * c->t[last], f = i * c->f[last - 1] + j * c->f[last];
        for (int a = last - 2; a >= 0; a--) {
            t += rest % c->dims[a] * c->t[a];
            f += rest % c->dims[a] * c->f[a];
            rest /= c->dims[a];
        }
        int64_t n[2] = {MIN(c->block[0], c->dims[last - 1] - i), MIN(c->block[1], c->dims[last] - j)};
        int64_t size = (int64_t)c->size;
        copy_block(c->size, c->to + t * size, &c->t[last - 1], c->from + f * size, &c->f[last - 1], n);
    }
}

void view_copy(const Run *run, const View *to, const View *from) {
    if (shape_size(&to->shape) == 0) return;
    Copy c = {.to = to->data, .from = from->data, .size = frax_dtype_size(to->dtype)};
    copy_merge(&c, to, from);
    int last = c.rank - 1;
    if (copy_transposes(&c)) {
        c.block[0] = c.block[1] = SQUARE;
    } else {
        c.block[1] = MIN(c.dims[last], CHUNK);
        c.block[0] = MIN(c.dims[last - 1], MAX(1, CHUNK / c.dims[last]));
    }
    c.across = chunks_of(c.dims[last], c.block[1]);
    c.down = chunks_of(c.dims[last - 1], c.block[0]);
    c.blocks = c.across * c.down;
    for (int a = 0; a < last - 1; a++) c.blocks *= c.dims[a];
    c.per_chunk = MAX(1, CHUNK / (c.block[0] * c.block[1]));
    for_chunks(run, (double)shape_size(&to->shape), chunks_of(c.blocks, c.per_chunk), copy_chunk, &c);
}
