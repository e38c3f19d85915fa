/* rows.h — shared by the parts of the rows template: rows.c (loops and stages), items.c (values), row_ops.c
 * (whole rows), recurrence.c (streamed rows), pairs.c (rows two at a time). */
#ifndef FRAX_ROWS_H
#define FRAX_ROWS_H

#include "program.h"

enum { MAX_UNROLL = 4, STREAM = 512 /* elements of a piece of a streamed row; a multiple of all lanes */ };

/* State while one kernel is emitted. */
typedef struct Rows {
    Emitter *e;
    Program *program;
    const Graph *graph;
    const Kernel *k;
    Em params[4];        /* context, scratch, begin, end */
    Em loops[MAX_LOOPS]; /* current places; the lane loop's: of lane 0 */
    int lanes;           /* of a full vector */
    int lane_loop;       /* neighbours in a vector are neighbours along this loop, */
    int lane_step;       /* so many steps of it apart */
    bool across;         /* lanes lie across rows */
    Em mask;             /* lanes that exist; ref NULL: all */
    Em *values;          /* per item */
    bool *known;         /* values[i] can be used here */
    Em *bases;           /* per node: the buffer's address; ref NULL: not asked for yet */
    struct Reduction *reductions;
    size_t nreductions;
    int unroll; /* accumulators in use in this pass */
    int pass;
    int *first_pass;                  /* per item: the first pass that computes it along the row; −1 */
    int *visited;                     /* per item: the last pass that asked for it; −1 */
    uint32_t row_read[MAX_ROW_OPS];   /* per row operation: bits of the passes that look at its result */
    int64_t *cached;                  /* per item: bytes in scratch where its row is kept; −1 */
    int64_t row[MAX_ROW_OPS][2];      /* per row operation: bytes in scratch of its input rows, */
    int64_t spectrum[MAX_ROW_OPS][2]; /* their spectra, */
    bool transformed[MAX_ROW_OPS][2]; /* (done already in this row; kept with the slot's owner) */
    int64_t product[MAX_ROW_OPS];     /* the filtered spectrum, */
    int64_t result[MAX_ROW_OPS];      /* and the resulting row */
    int64_t fft_work;                 /* where generated transforms work */
    int64_t lead[MAX_ROW_OPS];        /* zeros kept before the input row, in elements */
    Em origin;                        /* streamed rows: the first element of the piece; ref NULL otherwise */
    Em piece;                         /* and how many there are */
    int64_t rates[MAX_ROW_OPS];       /* recurrences: bytes in scratch of r, */
    int64_t states[MAX_ROW_OPS];      /* of the states (both with the first that shares them), */
    int64_t modes[MAX_ROW_OPS];       /* of c or of the sums over time, */
    int64_t wide[MAX_ROW_OPS][2];     /* and of the input rows as f64 */
    Em block;                         /* number of the current block, */
    Em part, part_first, part_end; /* and of the part of its rows (Kernel.part, or a chunk along the row) */
    struct Pairs *pairs;           /* rows are taken in pairs; NULL: one by one */
    struct Tile *tile;             /* of rows side by side, see tile.c; NULL: elements go one by one */
    int half;                      /* which row of the pair `values` are of; */
    int64_t apart;                 /* bytes in scratch from what is kept of the first row to the second's */
    size_t scratch;
} Rows;

/* A reduction over the row: accumulators, one per unrolled copy. */
typedef struct Reduction {
    int item;
    Op op;
    EmType type;         /* of the accumulators */
    Em best[MAX_UNROLL]; /* variables */
    Em place;            /* argmax: where the best was found */
} Reduction;

/* items.c */
Em rows_value(Rows *r, int item);
Em rows_affine(Rows *r, const Affine *a); /* at lane 0 */
int64_t rows_lane_stride(const Rows *r, const Affine *a);
Em rows_base(Rows *r, Value node);
Em rows_row_position(Rows *r); /* linear position along the row, at lane 0 */
void rows_forget(Rows *r, bool inner_only);
EmType item_type(const Graph *g, const Item *item);
Em scratch_at(Rows *r, int64_t bytes);
Em rows_kept_position(Rows *r); /* position in rows that are kept in scratch, at lane 0 */
int64_t rows_kept_length(const Rows *r);
FraxDType scratch_dtype(EmType type);

/* rows.c */
void rows_store(Rows *r, const Store *store);
void rows_load_bases(Rows *r);      /* addresses of all buffers, before any loop */
void rows_decode(Rows *r, Em unit); /* outer loops (but the lanes') from the number of a row */
void rows_values_of_row(Rows *r); /* values that are the same along the row, stores of one element per row */
void rows_begin_reductions(Rows *r);
void rows_end_reductions(Rows *r);
bool rows_pass_has_elements(const Rows *r);
/* One vector of elements in this pass: values, what is kept of them, and reductions; then their stores. */
void rows_element_values(Rows *r, int copy);
void rows_element_stores(Rows *r);

/* row_ops.c */
bool rows_layout_row_ops(Rows *r);         /* reserves scratch; false when out of memory */
void rows_run_row_ops(Rows *r, int stage); /* those that stand before pass `stage` */
void rows_begin_block(Rows *r);
void rows_zero_margins(Rows *r);   /* zeros beside rows, which nothing overwrites */
bool rows_finish_spectra(Rows *r); /* sums the blocks' partial cross spectra; false when out of memory */
bool rows_input_slot(const Rows *r, int row,
                     int input); /* must this input be kept? (not if another operation keeps it) */

int64_t rows_reserve(Rows *r, int64_t elements, FraxDType dtype); /* bytes in scratch */
void rows_slot_owner(const Rows *r, int row, int input, int *owner, int *slot);

FftShape rows_fft_shape(const Rows *r, int row);                     /* the transform of an operation */
const Store *rows_spectrum_store(const Rows *r, int row, Part part); /* NULL: that part is not wanted */
Em rows_partial_spectrum(Rows *r, Em block, int row, Part part);     /* a block's share of a sum over rows */

/* pairs.c; false: out of memory */
bool pairs_begin(Rows *r); /* r->pairs, if rows can be taken in pairs, with all their scratch */
void pairs_end(Rows *r);
void pairs_start(Rows *r);   /* at the start of a function */
bool pairs_prepare(Rows *r); /* fills the filters that stay: see ProgramKernel.prepared */
bool pairs_block(Rows *r, Em first, Em end);
void pairs_sum_functions(Rows *r);  /* GPU: what pairs_finish_spectra then finds summed */
bool pairs_finish_spectra(Rows *r); /* of one kept index, whose first block is r->block */
int64_t pairs_spectrum_elements(const Rows *r);
Em pairs_row_value(Rows *r, int row); /* the element of a row operation; ref NULL: it is in scratch */
Em pairs_input(Rows *r, int row, int input, Em value);     /* an element of an input, 0 where there is none */
bool pairs_reads_input(const Rows *r, int row, int input); /* by itself: it need not be kept */
/* In registers, or false: r->row says where to keep it. */
bool pairs_hold_input(Rows *r, int row, int input, Em value);

/* tile.c: as many positions as there are lanes, all at once; see there */
typedef struct Tile Tile;
Tile *tile_create(const Rows *r); /* NULL: out of memory */
void tile_free(Tile *tile);
void tile_begin(Rows *r, Tile *tile, Em first); /* positions from `first` on */
void tile_select(Rows *r, int place);           /* what follows is at this position of it */
void tile_end(Rows *r);                         /* stores */
bool tile_load(Rows *r, int item, Em *value);   /* false: not by tiles */
bool tile_store(Rows *r, const Store *store, Em value);

/* recurrence.c */
void rows_layout_recurrence(Rows *r, int row);
void rows_begin_recurrences(Rows *r);          /* before the first piece of a row; */
void rows_complete_inputs(Rows *r, int stage); /* for each piece: rows made before pass `stage`, */
void rows_run_recurrence(Rows *r, int row);    /* and one operation; */
void rows_finish_recurrences(Rows *r);         /* after the last piece */

#endif
