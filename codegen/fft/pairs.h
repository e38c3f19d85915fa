/* pairs.h — shared by the parts of the template for rows in pairs: pairs.c (layout, loops over pairs),
 * pair_steps.c (transforms and the passes that live in them), pair_spectra.c (filters and cross spectra). */
#ifndef FRAX_PAIRS_H
#define FRAX_PAIRS_H

#include "pair_fft.h"
#include "rows.h"

/* An input row of operations, and its spectrum, which takes its place. */
typedef struct Slot {
    int row, input; /* where it is owned */
    int item;
    bool reads; /* by the transform itself, from its operands */
    bool transformed;
    int64_t planes; /* see pairs_slot_planes */
    Em energy[2];   /* variables */
    /* A team's: registers of both rows in place of planes, from the pass that makes them to the transform. */
    Em held[2][TEAM_MAX_RADIX];
    int nheld[2];
} Slot;

/* K in the order of the bins, times 1/n. */
typedef struct Filter {
    const RowOp *op; /* the first that uses it */
    int64_t planes;
} Filter;

/* Where filters are. The workspace has those of all groups of rows, which other teams of a GPU wrote. */
typedef enum FilterPlace { FILTERS_IN_SCRATCH, FILTERS_STATIC, FILTERS_IN_WORKSPACE } FilterPlace;

/* What an operation's transform does on the way. */
typedef struct Step {
    int stage;
    Slot *slot;    /* transformed forward; NULL: none */
    int filter;    /* row operation transformed back; −1: none */
    bool sums;     /* adds to the stage's cross spectra */
    bool keeps;    /* the spectrum is wanted after it */
    bool has_body; /* the pass runs where results are stored */
} Step;

/* What `at` counts: elements of a row; those of line `line` of an image; or lines, at column `column`. */
typedef enum Phase { ALONG_ROW, ALONG_LINE, ALONG_COLUMN } Phase;

typedef struct Pairs {
    PairPlan plan; /* of rows, or of an image's lines */
    EmType type;
    int64_t length;               /* of the rows in memory, without zeros behind them */
    int64_t lines;                /* of an image; 1: rows have one axis */
    PairPlan column;              /* of its columns, a vector side by side; */
    int64_t buffer, buffer_apart; /* where they are transformed: bytes in scratch, and from plane to plane */
    Phase phase;
    Em line, at_column;
    Slot slots[2 * MAX_ROW_OPS];
    int nslots;
    Filter filters[MAX_ROW_OPS];
    int nfilters, filter_of[MAX_ROW_OPS];
    FilterPlace place;
    Em filter_base;              /* where they are not in scratch */
    int64_t planes[MAX_ROW_OPS]; /* of each filtered row, see pairs_result_planes */
    Em now[MAX_ROW_OPS][2];      /* its elements at the current place; ref NULL: in its planes */
    bool holds;                  /* the pass that is run leaves inputs in registers */
    int next_held;               /* of the slot that is transformed */
    bool first_pass_waits;       /* until the first transform of the pair */
    bool first_pass_done;
    Em *values[2]; /* of the items, by row; and which are known */
    bool *known[2];
    Em loops[4][MAX_LOOPS]; /* of both rows, and of the next pair's */
    Em exists[2];           /* pairs side by side: the lanes that have a row; ref NULL: all */
    bool prefetches;
    Tile *tile;                        /* pairs side by side: passes go by tiles; NULL: element by element */
    int vector;                        /* number of the last vector of bins that was emitted */
    Em partner, row, finished, loaded; /* variables: the pair, whether it is done, whose K is loaded */
    Em alone, weight;                  /* of the current pair: a row with itself; its weight in sums */
    EmIf open[2 * MAX_ROW_OPS];
    int nopen;
    Step step;
} Pairs;

/* pairs.c */
Em pairs_constant(Rows *r, double value);
Em pairs_arith(Rows *r, Op op, Em a, Em b);
bool pairs_is_filter(const Rows *r, int row);
Slot *pairs_slot(const Rows *r, int row, int input);
/* Is the filter the only operation from its stage on that wants its signal's spectrum? Sums of its stage are
   made before. */
bool pairs_filters_in_place(const Rows *r, int row);
void pairs_select(Rows *r, int half);
/* The planes of an input or of a filtered row. A team of a GPU keeps in registers what it can: there they are
   reserved when they are first asked for. */
int64_t pairs_slot_planes(Rows *r, Slot *slot);
int64_t pairs_result_planes(Rows *r, int row);
void pairs_find_filters(Rows *r, Em group);        /* of this group of rows; static ones have only one */
Em pairs_plane(Rows *r, int64_t planes, int part); /* its address */
/* The vector at place `at` of a plane (see Phase), of all pairs side by side. */
Em pairs_load(Rows *r, Em base, Em at);
void pairs_store(Rows *r, Em base, Em at, Em value);

/* pair_spectra.c */
bool pairs_fill_filters(Rows *r, Em row); /* of the group of rows that `row` belongs to */
bool pairs_fill_groups(Rows *r);          /* those in the workspace: a block is a vector of one group's */
int64_t pairs_fill_blocks(const Rows *r); /* how many there are */
bool pairs_load_filters(Rows *r, Em row); /* of the row, unless they are there already */
void pairs_multiply(Rows *r, int row, Em at, Em *re, Em *im); /* z·K, for K with its signs */
void pairs_clear_sums(Rows *r);
void pairs_add_crosses(Rows *r, Em at, Em re, Em im); /* of the current step's stage */
void pairs_add_kept_crosses(Rows *r);                 /* the same where all spectra are kept */

/* pair_steps.c */
void pairs_make_weights(Rows *r);
void pairs_clear_weights(Rows *r);
bool pairs_run_stage(Rows *r, int stage, bool *has_body); /* *has_body: the pass after it ran within */
void pairs_run_pass(Rows *r);                             /* by itself */

#endif
