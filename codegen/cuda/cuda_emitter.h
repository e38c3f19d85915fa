/* cuda_emitter.h — the emitter for NVIDIA GPUs: kernels become device functions of one CUDA C text.
 *
 * A team of threads is the vector: a warp, or for long transforms all threads of a block (Emitter.team). A
 * value of L lanes lives in the T threads of a team: lane i in thread i mod T, in register i/T of the value;
 * or in functions that are packed (Emitter.packed), with R = L/T registers, in thread i/R, register i mod R.
 * Where L < T the threads repeat the lanes; a uniform value is the same in all. Control flow is uniform by
 * the emitter's contract, so a team stays together, and a reduction over the lanes is a tree of shuffles.
 * What one lane writes to scratch another may read: a barrier of the team stands between (see `Hazards` in
 * cuda_memory.c).
 *
 * The text is in the subset that C11 and CUDA C++ have in common, so that a C compiler can build it for the
 * CPU; it includes nothing.
 */
#ifndef FRAX_CUDA_EMITTER_H
#define FRAX_CUDA_EMITTER_H

#include "emitter.h"

enum {
    CUDA_VECTOR_BYTES = 256, /* 64 lanes of f32, two registers each; 32 of f64 */
    CUDA_PACKED_BYTES = 512, /* what a thread moves at once, for each of a warp */
    CUDA_ACCESS_BYTES = 16
};

/* What Em.ref points to. */
typedef struct CudaValue {
    char text[40];  /* a name, or a constant */
    bool is_named;  /* registers have names of their own: NAME_0, NAME_1 */
    bool is_shared; /* pointers: other lanes of the warp may read what is written there */
    bool is_context;
    bool is_number; /* places: `number`, known when the code is made */
    int64_t number;
    int multiple;  /* places and addresses of one lane: a power of two that divides them; 0: 1 */
    bool is_whole; /* in packed functions. Places: each thread's are R neighbours from a multiple of R on;
                      conditions: the same in all registers of a thread */
} CudaValue;

typedef struct CudaEmitter {
    Emitter base;
    Arena arena;          /* of the values */
    Text prototypes;      /* of all functions */
    Text tables;          /* constants */
    Text functions;       /* that are complete */
    Text variables, body; /* of the current one */
    int depth;
    int names;
    bool loads;         /* since the last barrier: of anything, */
    bool earlier;       /* of values, before a loop or a branch began or in its round before; */
    bool reads, writes; /* and of memory that lanes share */
    bool is_prepare;    /* the current function fills static memory */
    bool needs_special; /* Gamma and Mittag-Leffler functions are called */
    bool needs_random;  /* Philox is */
    bool out_of_memory;
    struct CudaTable *constants;
    size_t nconstants, constants_capacity;
} CudaEmitter;

CudaEmitter *cuda_emitter_create(void); /* NULL when out of memory */
void cuda_emitter_destroy(CudaEmitter *emitter);
/* The text of all functions emitted, without the prelude of types that they use. False when out of memory. */
bool cuda_emitter_text(const CudaEmitter *emitter, Text *out);

/* ---- Shared by the emitter's files ---- */

static inline CudaEmitter *cuda_self(Emitter *e) {
    return (CudaEmitter *)e;
}
static inline int cuda_registers(const CudaEmitter *c, int lanes) {
    return lanes > c->base.team ? lanes / c->base.team : 1;
}

const char *cuda_type(EmType type);
const char *cuda_memory_type(FraxDType dtype);
/* A line of the current function, with its indentation and line end. */
void cuda_line(CudaEmitter *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A new value, each register defined by `fmt`: $a, $b, $c stand for that register of the operands, $l for the
   lane. */
Em cuda_define(CudaEmitter *c, EmType type, int lanes, const char *fmt, const Em *operands);
/* A value of this name, defined by lines that the caller writes. */
Em cuda_declare(CudaEmitter *c, EmType type, int lanes);
/* The name of register r. */
const char *cuda_register(CudaEmitter *c, Em value, int r);
/* The lane that register r of a value holds in this thread. */
const char *cuda_lane(CudaEmitter *c, int lanes, int r);
/* The team's memory for exchanges: shared memory of the block, which the teams' parts begin. The second part
   lies `apart` bytes behind the first. */
void cuda_exchange_memory(Emitter *e, size_t bytes, size_t apart, Em exchange[2]);
void cuda_barrier(CudaEmitter *c); /* of the team */
void cuda_sync(CudaEmitter *c);    /* the same, if anything waits for it */

/* The power of two, at most 2^16, that is known to divide a place or an address. */
int cuda_multiple(Em value);

/* cuda_memory.c */
Em cuda_gather(Emitter *e, Em base, FraxDType dtype, Em places);
void cuda_scatter(Emitter *e, Em base, FraxDType dtype, Em places, Em value);
Em cuda_table(Emitter *e, FraxDType dtype, const double *values, int64_t count);
Em cuda_pointer(Emitter *e, Em base, Em bytes);
Em cuda_load_pointer(Emitter *e, Em base, int64_t bytes);
Em cuda_load(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, int lanes, Em mask);
void cuda_store(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, Em value, Em mask);
Em cuda_round_to(Emitter *e, Em value, FraxDType dtype);
void cuda_prefetch(Emitter *e, Em base, FraxDType dtype, Em at, bool write);
void cuda_load_complex(Emitter *e, Em base, FraxDType dtype, Em at, int lanes, Em *re, Em *im);
void cuda_store_complex(Emitter *e, Em base, FraxDType dtype, Em at, Em re, Em im);

/* cuda_lanes.c */
Em cuda_reduce(Emitter *e, Op op, Em value);
Em cuda_sum_lanes(Emitter *e, const Em *values);
Em cuda_interleave(Emitter *e, const Em *values, int count, int unit);
Em cuda_reverse(Emitter *e, Em value);
void cuda_transpose(Emitter *e, Em *values, int count, int unit);

/* cuda_math.c */
Em cuda_arith(Emitter *e, Op op, Em a, Em b);
Em cuda_convert(Emitter *e, Em value, EmType type);
Em cuda_pointwise(Emitter *e, const Node *node, const Em *args);

#endif
