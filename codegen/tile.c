/* tile.c — where lanes lie across rows, but memory along them: a square of as many rows as a vector has lanes
 * and as many positions is loaded row by row and transposed in registers, and stored the same way. A gather
 * or a scatter takes about as long for each element as a tile for eight.
 *
 * While a tile is in use, rows_value is asked for one position after the other (tile_select); loads of the
 * first one serve all. Stores are put off to tile_end, so that no store comes before a load of the tile.
 */
#include "rows.h"

enum { MOST = 16 /* lanes */, HALVES = 2 };

typedef struct Put {
    const Store *store;
    Em values[MOST];
    Em loops[MAX_LOOPS]; /* of lane 0 at the first position */
} Put;

struct Tile {
    int place;
    Em first;
    Em (*loaded[HALVES])[MOST]; /* by item; ref NULL: not loaded yet */
    Put *puts;
    int nputs;
};

Tile *tile_create(const Rows *r) {
    Tile *t = mem_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->puts = mem_calloc(HALVES * (r->k->nstores + 1), sizeof *t->puts);
    bool ok = t->puts;
    for (int h = 0; h < HALVES; h++) {
        t->loaded[h] = mem_calloc(r->k->nitems + 1, sizeof **t->loaded);
        ok = ok && t->loaded[h];
    }
    if (ok) return t;
    tile_free(t);
    return NULL;
}

void tile_free(Tile *t) {
    if (!t) return;
    for (int h = 0; h < HALVES; h++) mem_free(t->loaded[h]);
    mem_free(t->puts);
    mem_free(t);
}

static int position_loop(const Rows *r) {
    return r->k->nouter;
}

/* Rows side by side are full, apart from each other, and contiguous. */
static bool is_tiled(const Rows *r, const Affine *at) {
    return r->tile && !r->mask.ref && rows_lane_stride(r, at) && at->coeff[position_loop(r)] == 1;
}

/* Vector l, lane i becomes vector i, lane l. */
static void transpose(Rows *r, Em *v) {
    int n = r->lanes;
    for (int size = n, count; size > 1; size /= count) {
        count = size == 2 || size == 8 ? 2 : 4;
        int unit = size / count;
        for (int base = 0; base < n; base += size)
            for (int i = 0; i < unit; i++) {
                Em part[4];
                for (int q = 0; q < count; q++) part[q] = v[base + i + q * unit];
                r->e->ops->transpose(r->e, part, count, unit);
                for (int q = 0; q < count; q++) v[base + i + q * unit] = part[q];
            }
    }
}

void tile_begin(Rows *r, Tile *t, Em first) {
    r->tile = t;
    t->first = first;
    t->nputs = 0;
    for (int h = 0; h < HALVES; h++)
        for (size_t i = 0; i < r->k->nitems; i++) t->loaded[h][i][0].ref = NULL;
    tile_select(r, 0);
}

void tile_select(Rows *r, int place) {
    const EmitterOps *o = r->e->ops;
    r->tile->place = place;
    r->loops[position_loop(r)] = o->index_op(r->e, INDEX_ADD, r->tile->first, o->index(r->e, place));
}

/* Element `at` of lane 0 at the first position, and of row l. */
static Em row_start(Rows *r, const Affine *at, int l) {
    const EmitterOps *o = r->e->ops;
    return o->index_op(r->e, INDEX_ADD, rows_affine(r, at), o->index(r->e, l * rows_lane_stride(r, at)));
}

bool tile_load(Rows *r, int i, Em *value) {
    const Item *item = &r->k->items[i];
    Tile *t = r->tile;
    if (!is_tiled(r, &item->at) || item->guard != NO_GUARD) return false;
    Em *loaded = t->loaded[r->half][i];
    if (!loaded[0].ref) {
        FraxDType dtype = graph_type(r->graph, item->node)->dtype;
        int place = t->place;
        tile_select(r, 0);
        for (int l = 0; l < r->lanes; l++)
            loaded[l] = r->e->ops->load(r->e, rows_base(r, item->node), dtype, row_start(r, &item->at, l), 1,
                                        r->lanes, (Em){0});
        transpose(r, loaded);
        tile_select(r, place);
    }
    *value = loaded[t->place];
    return true;
}

bool tile_store(Rows *r, const Store *store, Em value) {
    Tile *t = r->tile;
    if (!is_tiled(r, &store->at)) return false;
    if (t->place == 0) {
        Put *put = &t->puts[t->nputs++];
        put->store = store;
        for (int l = 0; l < r->k->nloops; l++) put->loops[l] = r->loops[l];
    }
    for (int p = 0; p < t->nputs; p++)
        if (t->puts[p].store == store && t->puts[p].loops[r->lane_loop].ref == r->loops[r->lane_loop].ref)
            t->puts[p].values[t->place] = r->e->ops->splat(r->e, value, r->lanes);
    return true;
}

void tile_end(Rows *r) {
    Tile *t = r->tile;
    for (int p = 0; p < t->nputs; p++) {
        Put *put = &t->puts[p];
        FraxDType dtype = graph_type(r->graph, put->store->node)->dtype;
        for (int l = 0; l < r->k->nloops; l++) r->loops[l] = put->loops[l];
        transpose(r, put->values);
        for (int l = 0; l < r->lanes; l++)
            r->e->ops->store(r->e, rows_base(r, put->store->node), dtype, row_start(r, &put->store->at, l), 1,
                             put->values[l], (Em){0});
    }
    r->tile = NULL;
}
