/* emitter.h — the small interface that kernel templates are written against: values, typed ops, loads,
 * stores, counted loops.
 *
 * A value has an element type and a number of lanes (1: uniform). Operands of different lanes are brought to
 * the wider one by repetition. Masks are bool values; a masked load gives 0 where the mask is false, a masked
 * store leaves memory alone. The implementation for the CPU (llvm_emitter.c) makes lanes SIMD vectors.
 * Emission cannot fail half-way: an emitter that runs out of memory keeps accepting calls and reports at the
 * end.
 */
#ifndef FRAX_EMITTER_H
#define FRAX_EMITTER_H

#include "ir.h"

/* What is computed with; bf16 and f16 exist in memory only and are computed in f32. */
typedef enum EmType { EM_F64, EM_F32, EM_I32, EM_BOOL, EM_INDEX, EM_POINTER } EmType;

typedef struct Em {
    void *ref;
    EmType type;
    int lanes;
} Em;

enum { WARP = 32 /* threads of a GPU that go together: the smallest team */ };

typedef enum IndexOp { INDEX_ADD, INDEX_SUB, INDEX_MUL, INDEX_DIV, INDEX_REM, INDEX_MIN } IndexOp;

typedef struct EmLoop {
    void *header, *exit, *phi;
    Em index, step;
} EmLoop;

typedef struct EmIf {
    void *exit;
} EmIf;

typedef struct Emitter Emitter;

typedef struct EmitterOps {
    /* void name(params…): pointers among them never overlap. */
    void (*function_begin)(Emitter *e, const char *name, const EmType *types, int count, Em *params);
    void (*function_end)(Emitter *e);

    Em (*constant)(Emitter *e, EmType type, double value);
    Em (*index)(Emitter *e, int64_t value);
    Em (*index_op)(Emitter *e, IndexOp op, Em a, Em b); /* either may be a vector */
    Em (*index_less)(Emitter *e, Em a, Em b);           /* unsigned a < b; either may be a vector */
    Em (*index_lanes)(Emitter *e, Em first, int64_t step, int lanes); /* first + step · lane */
    Em (*convert)(Emitter *e, Em value, EmType type);                 /* of index, float, integer, bool */
    Em (*round_to)(Emitter *e, Em value, FraxDType dtype);            /* f32 to f16 or bf16, and back */
    Em (*pointwise)(Emitter *e, const Node *node,
                    const Em *args);            /* the op of the table, args of its compute types */
    Em (*arith)(Emitter *e, Op op, Em a, Em b); /* add, sub, mul, max, min, lt, and, … without a node */
    Em (*fma)(Emitter *e, Em a, Em b, Em c);    /* a·b + c */
    Em (*fnma)(Emitter *e, Em a, Em b, Em c);   /* c − a·b */
    Em (*select)(Emitter *e, Em condition, Em yes, Em no);
    Em (*splat)(Emitter *e, Em value, int lanes);
    Em (*reduce)(Emitter *e, Op op,
                 Em value); /* sum, reduce_max, reduce_min over the lanes, in a fixed tree */

    /* As many vectors as each has lanes: lane i of the result is the sum over the lanes of values[i]. */
    Em (*sum_lanes)(Emitter *e, const Em *values);
    /* a0 b0 … a1 b1 …: `count` (2 or 4) vectors in units of `unit` lanes, as one vector of all lanes. */
    Em (*interleave)(Emitter *e, const Em *values, int count, int unit);
    Em (*reverse)(Emitter *e, Em value); /* lanes in reverse order */
    /* In each group of count·unit lanes, unit q of vector i changes places with unit i of vector q; count is
       2 or 4. */
    void (*transpose)(Emitter *e, Em *values, int count, int unit);

    Em (*table)(Emitter *e, FraxDType dtype, const double *values,
                int64_t count);                   /* the address of constants: f64, f32, i32 */
    Em (*pointer)(Emitter *e, Em base, Em bytes); /* base + bytes */
    Em (*load_pointer)(Emitter *e, Em base, int64_t bytes);
    /* Element `at` of the array at base; lanes > 1: elements at, at + stride, … mask.ref NULL: all. */
    Em (*load)(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, int lanes, Em mask);
    void (*store)(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, Em value, Em mask);
    /* The elements at these places, one for each lane of `places`. */
    Em (*gather)(Emitter *e, Em base, FraxDType dtype, Em places);
    /* Asks for the cache line of element `at`, which need not exist, for reading or for writing. */
    void (*prefetch)(Emitter *e, Em base, FraxDType dtype, Em at, bool write);
    /* Interleaved complex elements at, at + 1, … */
    void (*load_complex)(Emitter *e, Em base, FraxDType dtype, Em at, int lanes, Em *re, Em *im);
    void (*store_complex)(Emitter *e, Em base, FraxDType dtype, Em at, Em re, Em im);

    Em (*variable)(Emitter *e, EmType type, int lanes); /* a mutable cell */
    Em (*get)(Emitter *e, Em variable, EmType type, int lanes);
    void (*set)(Emitter *e, Em variable, Em value);

    EmLoop (*loop_begin)(Emitter *e, Em first, Em end, int64_t step); /* while index < end */
    void (*loop_end)(Emitter *e, EmLoop *loop);
    /* do … while (again): what repeat_begin returns is for repeat_end. */
    void *(*repeat_begin)(Emitter *e);
    void (*repeat_end)(Emitter *e, void *repeat, Em again);
    EmIf (*if_begin)(Emitter *e, Em condition);
    void (*if_end)(Emitter *e, EmIf *branch);
    void (*call)(Emitter *e, const char *name, const Em *args,
                 int nargs); /* a void function of the runtime */
} EmitterOps;

struct Emitter {
    const EmitterOps *ops;
    int vector_bytes; /* of the target's widest vector registers */
    int packed_bytes; /* GPU: of a vector that is packed; 0: none is */
    /* GPU, set before a function begins: */
    int team;    /* threads that hold the lanes of a vector */
    bool packed; /* lanes side by side are one thread's, so that it moves them at once. Nothing is asked for
                    that gives other lanes a value, but reduce. */
};

EmType em_type_of(FraxDType dtype); /* the type that elements of dtype are computed in */

#endif
