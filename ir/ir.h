/* ir.h — the graph: values, nodes, attributes, the builder, and what can be done with a whole graph.
 *
 * A graph is a list of nodes in topological order; a Value is a node's index. Nodes are immutable and
 * hash-consed by the builder (g_*), which also folds constants. All arithmetic is real; nothing broadcasts
 * implicitly.
 *
 * Errors are sticky: after the first fault (shapes, dtypes, memory) the builder returns NO_VALUE, every
 * builder call that is given NO_VALUE returns NO_VALUE, and graph_status() tells what went wrong. So a
 * composite can be written as one expression and checked once.
 */
#ifndef FRAX_IR_H
#define FRAX_IR_H

#include "base.h"

typedef int32_t Value;
enum { NO_VALUE = -1, VARIADIC = -1, MAX_RANK = FRAX_MAX_RANK };
enum { /* orders of derivatives */
       MAX_POLYGAMMA = 32,
       MAX_MITTAG_LEFFLER = 12,
       MAX_WEIGHTS_ORDER = 8,
       MAX_CASCADE = 32
};

/* ---- Types ---- */

typedef struct Shape {
    int rank;
    int64_t dims[MAX_RANK];
} Shape;

typedef struct Type {
    FraxDType dtype;
    Shape shape;
} Type;

bool shape_equal(const Shape *a, const Shape *b);
int64_t shape_size(const Shape *shape);   /* elements; dims are known not to overflow once in a graph */
bool shape_overflows(const Shape *shape); /* more than 2^62 bytes of any element type, or a negative dim */
void shape_strides(const Shape *shape, int64_t strides[MAX_RANK]); /* row-major, in elements */
size_t type_bytes(const Type *type);                               /* of a dense array */
const char *shape_text(const Shape *shape, char buffer[160]);      /* [2,3] */
const char *type_text(const Type *type, char buffer[176]);         /* f64[2,3] */
bool dtype_is_float(FraxDType dtype);
bool dtype_is_half(FraxDType dtype); /* f16 or bf16: stored, and computed in f32 */

#define SHAPE(...) ((Shape){.rank = COUNT(((int64_t[]){__VA_ARGS__})), .dims = {__VA_ARGS__}})
#define SCALAR     ((Shape){0})

/* ---- Ops ---- */

typedef enum Op {
#define OP(name, arity, kind, infer, attrs) OP_##name,
#include "ops.def"
    OP_COUNT
} Op;

typedef enum OpKind {
    KIND_LEAF,
    KIND_DISCRETE,
    KIND_NONLINEAR,
    KIND_LINEAR,
    KIND_BILINEAR,
    KIND_PARAMETRIC,
    KIND_OPAQUE
} OpKind;

/* One list of attributes: flag, field of Attrs, its C type, text label, how it is written. A field that an op
   does not list is zero in its nodes. */
#define ATTRS(X)                                                                                             \
    X(A_NAME, name, const char *, "name", word)                                                              \
    X(A_INIT, init, uint8_t, "init", init)                                                                   \
    X(A_VALUE, value, double, "value", real)                                                                 \
    X(A_VALUE2, value2, double, "value2", real)                                                              \
    X(A_N, n, int64_t, "n", integer)                                                                         \
    X(A_AXIS, axis, uint8_t, "axis", byte)                                                                   \
    X(A_AXES, axes, uint32_t, "axes", set)                                                                   \
    X(A_SUM, sum, uint32_t, "sum", set)                                                                      \
    X(A_PERM, perm, uint8_t, "perm", bytes)                                                                  \
    X(A_LO, lo, int64_t, "lo", integers)                                                                     \
    X(A_HI, hi, int64_t, "hi", integers)                                                                     \
    X(A_STEP, step, int64_t, "step", integers)                                                               \
    X(A_TA, ta, uint8_t, "ta", flag)                                                                         \
    X(A_TB, tb, uint8_t, "tb", flag)                                                                         \
    X(A_PART, part, uint8_t, "part", part)                                                                   \
    X(A_ENGINE, engine, uint8_t, "engine", engine)                                                           \
    X(A_M, m, int64_t, "m", integer)                                                                         \
    X(A_LAG, lag, int64_t, "lag", integer)                                                                   \
    X(A_EXPECTED, expected, const char *, "expected", word)

enum {
#define X(flag, field, type, label, form) flag##_BIT,
    ATTRS(X)
#undef X
#define X(flag, field, type, label, form) flag = 1 << flag##_BIT,
        ATTRS(X)
#undef X
};

/* One list of each kind of choice: enumerator, name in the text form. */
#define PARTS(X)                                                                                             \
    X(PART_RE, "re")                                                                                         \
    X(PART_IM, "im")
#define ENGINES(X)                                                                                           \
    X(ENGINE_AUTO, "auto")                                                                                   \
    X(ENGINE_DENSE, "dense")                                                                                 \
    X(ENGINE_DIRECT, "direct")                                                                               \
    X(ENGINE_FFT, "fft")
#define INITS(X) /* of a param; value, value2 are its parameters */                                          \
    X(INIT_CONSTANT, "constant")                                                                             \
    X(INIT_NORMAL, "normal")                                                                                 \
    X(INIT_UNIFORM, "uniform")                                                                               \
    X(INIT_GLOROT, "glorot")                                                                                 \
    X(INIT_HE, "he")
/* Where a stored value lives, decided by the memory plan. */
#define REGIONS(X)                                                                                           \
    X(REGION_NONE, "none")                                                                                   \
    X(REGION_INPUT, "input")                                                                                 \
    X(REGION_OUTPUT, "output")                                                                               \
    X(REGION_ARENA, "arena")                                                                                 \
    X(REGION_STATIC, "static")

#define X(code, name) code,
typedef enum Part { PARTS(X) PART_COUNT } Part;
typedef enum Engine { ENGINES(X) ENGINE_COUNT } Engine;
typedef enum Init { INITS(X) INIT_COUNT } Init;
typedef enum Region { REGIONS(X) REGION_COUNT } Region;
#undef X

extern const char *const part_names[PART_COUNT],
    *const engine_names[ENGINE_COUNT], *const init_names[INIT_COUNT], *const region_names[REGION_COUNT];

/* Attributes of a node: axes and sum are bit sets of axes; lo, hi, step, perm have one entry per axis. */
typedef struct Attrs {
    const char *name, *expected;
    double value, value2;
    int64_t n, m, lag;
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
    uint32_t axes, sum;
    uint8_t perm[MAX_RANK];
    uint8_t axis, init, ta, tb, part, engine;
} Attrs;

typedef struct OpInfo {
    const char *name;
    int arity;
    OpKind kind;
    uint32_t attrs;
} OpInfo;

extern const OpInfo op_table[OP_COUNT];
bool op_is_pointwise(Op op); /* result element i depends on element i of each operand, and on nothing else */
bool op_is_reduction(Op op); /* sum, reduce_max, reduce_min, argmax */
bool op_from_name(const char *name, Op *op);

/* ---- Nodes and graphs ---- */

typedef struct Loc {
    int line, column; /* in graph->file; 0 when unknown */
} Loc;

typedef struct Node {
    Op op;
    Type type;
    int nargs;
    const Value *args;
    const Attrs *attrs; /* never NULL */
    Loc loc;
    int32_t
        kernel; /* the kernel that stores this value, in order of running; -1: none (computed where used) */
    Region region;  /* set with `offset` by the memory plan; REGION_NONE before */
    int64_t offset; /* bytes from the start of its region; position for inputs and outputs */
} Node;

typedef struct Output {
    const char *name;
    Value value;
    Value donated;          /* an input or param whose buffer this output may overwrite, or NO_VALUE */
    const int64_t *strides; /* of the caller's array, one per axis, in elements; NULL: dense */
} Output;

/* An input or param that is not dense: elements between neighbours, one per axis. */
typedef struct InputStrides {
    Value value;
    const int64_t *strides;
} InputStrides;

/* What a front end or a pass has decided by itself, for the reader of `show`. */
typedef struct Note {
    Loc loc;
    const char *text;
} Note;

/* Bits of Graph.gpu_libraries. */
enum {
    GPU_PRODUCTS = 1,  /* matrix products, to cuBLASLt */
    GPU_TRANSFORMS = 2 /* Fourier transforms, to cuFFT */
};

typedef struct Graph {
    Arena arena;
    const char *name, *file;
    Node *nodes;
    size_t count, capacity;
    Output *outputs;
    size_t noutputs, outputs_capacity;
    Value *inputs; /* input and param nodes in the order of the signature: inputs first, then params */
    size_t ninputs, inputs_capacity;
    Value *checks; /* guard nodes that are kept although nothing reads them; see passes/guard.c */
    size_t nchecks, checks_capacity;
    const char **words; /* the names and messages of the nodes, each once: equal ones have equal pointers */
    size_t nwords, words_capacity;
    Note *notes;
    size_t nnotes, notes_capacity;
    InputStrides *layouts; /* of the inputs and params that are not dense */
    size_t nlayouts, layouts_capacity;
    Value *buckets; /* hash-consing */
    size_t nbuckets;
    Loc loc;                /* stamped on the nodes that are built next */
    bool self_contained;    /* its program may call no library but libm */
    bool gpu;               /* its program is CUDA C, whose text calls nothing; self_contained holds too */
    unsigned gpu_libraries; /* what of it may be left to the GPU's libraries all the same: bits */
    bool failed;
    FraxError error;
} Graph;

Graph *graph_create(const char *name, const char *file); /* NULL when out of memory */
void graph_destroy(Graph *graph);
/* FRAX_OK, or the first fault, copied to *err. */
FraxStatus graph_status(const Graph *graph, FraxError *err);
/* Marks the graph as failed (the first fault stays) and returns NO_VALUE. */
Value graph_fail(Graph *graph, FraxStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);

static inline const Node *graph_node(const Graph *graph, Value v) {
    return &graph->nodes[v];
}
static inline const Type *graph_type(const Graph *graph, Value v) {
    return &graph->nodes[v].type;
}

/* The copy of `s` inside the graph, the same for equal strings. */
const char *graph_intern(Graph *graph, const char *s);

void graph_output(Graph *graph, const char *name, Value value);
/* As graph_output; the result may be written over `donated`, an input or param of the same type. */
void graph_output_donated(Graph *graph, const char *name, Value value, Value donated);

/* Keeps a guard node alive without an output that needs it: a run checks its operand. */
void graph_check(Graph *graph, Value guard);
/* The value that check i looks at: its guard's operand, before any reshapes. */
Value graph_checked(const Graph *graph, size_t i);
/* The first of n elements that is outside a guard's range; n if none is. */
int64_t guard_find(const Node *guard, FraxDType dtype, const void *data, int64_t n);
/* FRAX_VALUE if element `i` of a guard, v, is outside its range. `passed`: samples of a stream before this
 * run. */
FraxStatus guard_test(const Graph *graph, const Node *guard, double v, int64_t i, double passed,
                      FraxError *err);
/* Which of the graph's inputs holds how many samples have passed, an f64[]; ninputs if none does. */
#define STREAM_OFFSET "state.offset"
size_t graph_offset_input(const Graph *graph);

/* ---- Strides: elements between neighbours along each axis, of arrays that need not be dense (strides.c)
 * ----
 */

/* Of an input or param, or of the i-th output; given once. Strides that are dense are forgotten. */
void graph_set_strides(Graph *graph, Value input, const int64_t *strides);
void graph_set_output_strides(Graph *graph, size_t i, const int64_t *strides);
const int64_t *graph_strides(const Graph *graph, Value input); /* NULL: dense, or not an input */
bool graph_is_strided(const Graph *graph);                     /* is any input or output? */
/* Row-major without gaps; axes of size 1 do not count, and arrays without elements always are. */
bool strides_are_dense(const Shape *shape, const int64_t *strides);
bool strides_reach_too_far(const Shape *shape, const int64_t *strides); /* places overflow an int64_t */
/* May elements, `size` long in the unit of the strides, lie over each other? False only if each axis steps
   over all that axes of smaller steps span. */
bool strides_overlap(const Shape *shape, const int64_t *strides, int64_t size);
/* The strides of the same elements under another shape, in row-major order; false if there are none. */
bool strides_reshape(const Shape *from, const int64_t *strides, const Shape *to, int64_t result[MAX_RANK]);
/* In bytes; NULL stands for dense. */
void strides_bytes(const Type *type, const int64_t *strides, int64_t bytes[MAX_RANK]);
/* All elements, from and to arrays with strides in bytes; two dense ones may overlap. */
void strides_copy(const Type *type, char *to, const int64_t *to_bytes, const char *from,
                  const int64_t *from_bytes);

/* A note of one line, at most 511 bytes. Rewriting keeps the notes; the text form does not hold them. The
   same note at the same place is kept once. */
void graph_note(Graph *graph, Loc loc, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* `# 4:9 text`, one line each. */
void graph_print_notes(const Graph *graph, Text *out);

/* ---- Whole graphs ---- */

/* Copies the live part of `from` (all inputs stay) into a new graph through the builder, so that folding and
   common-subexpression elimination happen again. `rewrite` (may be NULL) is offered each live node with its
   operands already rewritten, and returns its replacement in `to`, or NO_VALUE for a plain copy. */
typedef Value GraphRewrite(Graph *to, const Graph *from, Value node, const Value *args, void *context);
Graph *graph_rewrite(const Graph *from, GraphRewrite *rewrite, void *context, FraxError *err);
/* Emits a copy of node v of `from` with new operands into `to`. */
Value graph_copy_node(Graph *to, const Graph *from, Value v, const Value *args);
/* Sets live[v] for every node that an output, a check or the signature needs, and clears the others. */
void graph_live(const Graph *graph, bool *live);

/* The node of the graph that agrees with `node` in op, type, operands and attributes, or NO_VALUE. */
Value graph_find(const Graph *graph, const Node *node);

/* Checks every invariant stated here and in graph.c; a violation is FRAX_INTERNAL and names the node. */
FraxStatus graph_verify(const Graph *graph, FraxError *err);

/* The text form: live nodes, renumbered densely. graph_read of it gives a graph that prints the same text.

     graph nile @nile.frax {
       %0: f64[100] = input {name=x} @2:12
       %1: f64[] = param {name=d, init=constant, value=0.1} @3:5
       %7: f64[32,128] = spectral %5, %6, %8 {axes=[1]} k3 arena+4096 @4:9
       check %8
       return loss = %9, d.next = %12 -> %1
     }

   A node is its number, type, op, operands, the attributes its op lists, the strides of an input that is not
   dense (`strides [1,64]`), the kernel that stores it, region and offset, line and column in the file;
   `check` lists the guards that nothing reads; `->` names the input whose buffer an output may overwrite, and
   strides may follow here too. Names
   that are not [A-Za-z_][A-Za-z0-9_.]* are quoted. `#` starts a comment. graph_read takes any text: a fault
   is reported with its line and a caret. */
void graph_print(const Graph *graph, Text *out);
FraxStatus graph_read(const char *text, const char *file, Graph **graph, FraxError *err);

/* The reference evaluator: the meaning of a graph, in f64 with naive loops. `inputs` in the order of
   graph->inputs; `outputs` (data allocated by the caller) in the order of graph->outputs. */
FraxStatus reference_run(const Graph *graph, const FraxTensor *inputs, FraxTensor *outputs, FraxError *err);
/* The value of a pointwise op on scalars; `node` gives op, attributes and dtype. */
double reference_pointwise(const Node *node, const double *args);
/* i32 arithmetic wraps modulo 2^32, in every target. */
double wrap_i32(int64_t v);

/* ---- Builder ---- */

/* The general form: `type` is read by ops whose infer rule takes a given dtype or shape (input, param,
   constant, iota, hole; dtype of cast and uniform; shape of reshape and broadcast), and ignored otherwise
   (may be NULL).
 */
Value graph_emit(Graph *g, Op op, const Value *args, int nargs, const Attrs *attrs, const Type *type);
/* Computes type from args and attrs; the rules of ir/infer.c. */
FraxStatus infer_type(const Graph *g, Op op, const Value *args, int nargs, const Attrs *attrs,
                      const Type *given, Type *type, FraxError *err);

Value g_input(Graph *g, const char *name, Type type);
Value g_param(Graph *g, const char *name, Type type, Init init, double value, double value2);
Value g_constant(Graph *g, Type type, double value);
Value g_like(Graph *g, Value x, double value); /* a constant of x's type */
Value g_iota(Graph *g, Type type, int axis);
Value g_hole(Graph *g, Type type, int64_t id);

Value g_unary(Graph *g, Op op, Value x);
Value g_binary(Graph *g, Op op, Value a, Value b); /* equal shapes and dtypes */
Value g_select(Graph *g, Value condition, Value yes, Value no);
Value g_polygamma(Graph *g, int64_t n, Value x);
Value g_complex_lgamma(Graph *g, int64_t n, Part part, Value x, Value y);
Value g_mittag_leffler(Graph *g, int64_t n, int64_t m, Value alpha, Value beta, Value z);
/* Number i of a stream of random ones, uniform in (0, 1): a function of i and the key alone (philox.h). i,
   key_low and key_high: i32, taken as 32 bits each. dtype: f64, with 52 random bits, or f32, with 23; the
   numbers are odd multiples of 2^-53 and 2^-24, and the same bits on every target. `which` of those that one
   i gives: 0 or 1 of f64, 0 … 3 of f32. */
typedef struct UniformDraw {
    FraxDType dtype;
    int64_t stream; /* 0 … 2^32 − 1 */
    int which;
} UniformDraw;
Value g_uniform(Graph *g, UniformDraw draw, Value i, Value key_low, Value key_high);
Value g_cast(Graph *g, Value x, FraxDType dtype);
/* x, of a floating dtype; a run in which an element is NaN or outside [lo, hi] fails with "NAME is 1.2 at
   element 3, expected EXPECTED". For an open end, the next number inside it: nextafter(0, 1). A constant x is
   judged at once. */
/* A guard of a stream's chunk has n > 0: of the whole value with n elements along `axis` it holds those from
   STREAM_OFFSET − lag on, which its message counts. */
Value g_guard(Graph *g, Value x, double lo, double hi, const char *name, const char *expected);

Value g_reshape(Graph *g, Value x, Shape shape);
Value g_transpose(Graph *g, Value x, const uint8_t *perm);
Value g_broadcast(Graph *g, Value x, Shape shape); /* same rank */
Value g_slice(Graph *g, Value x, const int64_t *lo, const int64_t *hi, const int64_t *step);
Value g_pad(Graph *g, Value x, const int64_t *lo, const int64_t *hi, const int64_t *step);
Value g_concat(Graph *g, const Value *parts, int n, int axis);
Value g_flip(Graph *g, Value x, uint32_t axes);

Value g_reduce(Graph *g, Op op, Value x,
               uint32_t axes); /* sum, reduce_max, reduce_min; axes stay with size 1 */
Value g_argmax(Graph *g, Value x, int axis);
Value g_matmul(Graph *g, Value a, Value b, bool ta, bool tb);

Value g_rfft(Graph *g, Value x, uint32_t axes, Part part);
Value g_spectral(Graph *g, Value x, Value k_re, Value k_im, uint32_t axes);
Value g_cross_spectrum(Graph *g, Value x, Value y, uint32_t axes, uint32_t sum, Part part);
Value g_causal_conv(Graph *g, Value w, Value x, int axis, Engine engine);
Value g_causal_correlation(Graph *g, Value x, Value y, int axis, uint32_t sum, int64_t n, Engine engine);
Value g_grunwald_weights(Graph *g, Value alpha, int64_t n);
Value g_grunwald_derivative(Graph *g, Value alpha, int64_t n, int64_t m); /* the m-th, in alpha */
/* How an exponential op stands: along `axis`, kernel of order n (≤ MAX_CASCADE), first at `lag`. */
typedef struct Exponential {
    int axis;
    int64_t n, lag;
} Exponential;
Value g_exponential_conv(Graph *g, Value x, Value c, Value r, Exponential how);
Value g_exponential_correlation(Graph *g, Value x, Value y, Value r, Exponential how);
Value g_custom(Graph *g, Value y, const Value *x, const Value *holes, int n, Value dy);

/* Shorthands for the commonest pointwise ops. */
static inline Value g_add(Graph *g, Value a, Value b) {
    return g_binary(g, OP_add, a, b);
}
static inline Value g_sub(Graph *g, Value a, Value b) {
    return g_binary(g, OP_sub, a, b);
}
static inline Value g_mul(Graph *g, Value a, Value b) {
    return g_binary(g, OP_mul, a, b);
}
static inline Value g_div(Graph *g, Value a, Value b) {
    return g_binary(g, OP_div, a, b);
}
static inline Value g_neg(Graph *g, Value x) {
    return g_unary(g, OP_neg, x);
}
/* x · value and x + value with a constant of x's type. */
static inline Value g_scale(Graph *g, Value x, double value) {
    return g_mul(g, x, g_like(g, x, value));
}
static inline Value g_shift(Graph *g, Value x, double value) {
    return g_add(g, x, g_like(g, x, value));
}

/* NumPy broadcasting: x viewed with leading axes of size 1 and grown to `shape`. */
Value g_broadcast_to(Graph *g, Value x, Shape shape);
/* The common shape of a and b under NumPy rules; false if there is none. */
bool shape_broadcast(const Shape *a, const Shape *b, Shape *result);
/* x without the axes of the set (each of size 1); and with axes of size 1 inserted at these positions of the
 * result. */
Value g_squeeze(Graph *g, Value x, uint32_t axes);
Value g_unsqueeze(Graph *g, Value x, uint32_t axes);

#endif
