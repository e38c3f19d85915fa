/* lower.h — what the files of lowering share: items, scopes, and the calls that build nodes for the language.
 *
 * Lowering walks a tree and builds the graph; every expression becomes an Item. Numbers stay numbers until an
 * array's dtype is known. Faults go into the graph (sticky), with graph->loc as their place; after a fault
 * items are ITEM_NOTHING and values NO_VALUE, and all helpers accept them silently.
 */
#ifndef FRAX_LOWER_H
#define FRAX_LOWER_H

#include "ast.h"
#include "handle.h"
#include "model.h"

/* ---- Models ---- */

struct FraxModel {
    HandleKind kind;
    Arena arena;
    Source source;
    File file;
    const ModelDecl *decl;
    const char **sizes; /* size symbols in order of appearance */
    Loc *size_locs;
    size_t nsizes;
    const char **types[FRAX_OUTPUT + 1]; /* symbolic types by role; outputs: NULL until checked */
};

/* Fills sizes and the types of inputs and params; faults: repeated names. */
FraxStatus model_declare(FraxModel *model, FraxError *err);
/* Writes a size as in the text, without blanks. */
void size_text(const Expr *size, Text *out);

/* What the values of the sizes are. SIZES_GENERIC stand for sizes in general, as `check` needs them: limits
   that only large signals meet do not apply. */
typedef enum Sizes { SIZES_GIVEN, SIZES_GENERIC } Sizes;

/* The graph; a fault is left raw in *err (message, line, column), with "called from" lines in *trace, which
   the caller frees. */
FraxStatus lower_model(const FraxModel *model, const int64_t *values, Sizes sizes, Graph **out, Text *trace,
                       FraxError *err);

/* Puts place, line and trace around the raw fault in *err. */
FraxStatus locate_fault(const FraxModel *model, const Text *trace, FraxError *err);

/* ---- Items ---- */

typedef enum ItemKind {
    ITEM_NOTHING, /* absent argument, or the result of a fault */
    ITEM_NUMBER,  /* no dtype yet */
    ITEM_TRUTH,   /* true or false: number.value */
    ITEM_VALUE,
    ITEM_TUPLE,
    ITEM_WORD,     /* kind=weyl */
    ITEM_FUNCTION, /* w => w^2, before it is applied */
} ItemKind;

typedef struct Item {
    ItemKind kind;
    Loc loc;
    Number number;
    Value value;
    const char *word;
    const Expr *function;
    struct Item *items; /* of a tuple, in the graph's arena */
    int count;
} Item;

/* The operations on two numbers, `op` as in the text; false when there is none. Whole operands give a whole
   result where it exists and fits. */
bool number_binary(const char *op, Number a, Number b, Number *result);
Number number_whole(int64_t integer);
Number number_real(double value);

typedef struct Scope {
    NameMap names; /* to positions in items */
    Item *items;
    size_t count, capacity;
    const struct Scope *outer; /* of a function in an expression: where it stands */
} Scope;

typedef struct Lower {
    Graph *g;
    const FraxModel *model;
    const struct Scope *scope;
    Sizes sizes;
    const struct Call *call; /* innermost function being inlined */
    int depth;               /* of nested expressions, through calls */
    int64_t budget;          /* expressions that may still be lowered */
    const char *builtin;     /* whose rule is running, for messages */
    int64_t holes;           /* tangents made for user-given derivatives */
    int64_t streams;         /* of random numbers */
    Text trace;              /* "called from" lines, once a fault is passed upward */
} Lower;

Item lower_expr(Lower *lw, const Expr *e);
/* The result of an ITEM_FUNCTION for n arguments, which `what` describes for the message that its names are
   more or fewer: "one for each axis". Only while the call that it is an argument of is lowered. */
Item apply_function(Lower *lw, const Item *function, const Item *args, size_t n, const char *what);
/* x[subscripts…]: items[1…] of the index expression. */
Item lower_index(Lower *lw, const Expr *e);
/* lo:hi:step along one axis, as NumPy reads it; absent bounds are NULL. */
Value slice_axis(Lower *lw, Value x, int axis, const int64_t *lo, const int64_t *hi, int64_t step);

/* ---- Faults ---- */

Value lower_fail(Lower *lw, FraxStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);
Item item_fail(Lower *lw, FraxStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void *lower_alloc(Lower *lw, size_t bytes); /* in the graph's arena; a fault when out of memory */
/* "frac: unknown kind 'grunwal'; …", with the names there are and the near one. */
Value fail_unknown(Lower *lw, const char *where, const char *what, const char *name, const char *const *names,
                   size_t n);

static inline bool failed(const Lower *lw) {
    return lw->g->failed;
}

/* ---- Items and values ---- */

Item item_value(Value v);
Item item_number(Number number);
bool is_number(const Item *item); /* a number or a truth value */
/* The item as an array: numbers become constants of `dtype` (truth values always bool). */
Value to_value(Lower *lw, Item item, FraxDType dtype);
/* to_value with the dtype that numbers have when nothing else decides: f64. */
Value any_value(Lower *lw, Item item);
/* Brings items to one dtype (numbers adopt it) and one shape; false after a fault. */
bool unify(Lower *lw, const char *what, const Item *items, int n, Value *values);
/* A pointwise op under broadcasting; numbers alone give a number. */
Item pointwise(Lower *lw, const char *what, Op op, const Item *items, int n);
Item binary_operator(Lower *lw, const char *op, Item a, Item b);
Item power(Lower *lw, Item a, Item b);
Value matmul_values(Lower *lw, Value a, Value b);

static inline const Shape *shape_of(const Lower *lw, Value v) {
    return &graph_type(lw->g, v)->shape;
}

/* ---- Calls of built-ins ---- */

enum { MAX_PARAMS = 20 };

typedef struct Args {
    const struct Builtin *builtin;
    Item items[MAX_PARAMS]; /* in the order of the builtin's params; absent ones are ITEM_NOTHING */
    bool given[MAX_PARAMS]; /* by the caller, not by default */
    Loc loc;                /* of the call */
} Args;

typedef Item BuiltinRule(Lower *lw, const Args *args);

typedef struct Builtin {
    const char *name;
    const char *params; /* "x, axis=-1, gamma?": default after =, ? for one that may be absent */
    BuiltinRule *rule;
    Op op; /* for rules shared by several */
    const char *summary;
    const char *group;
} Builtin;

/* The parts of the one table of built-ins; each file of built-ins owns one. */
extern const Builtin math_builtins[], reduce_builtins[], shape_builtins[], nn_builtins[], random_builtins[],
    fractional_builtins[];
extern const size_t math_builtin_count, reduce_builtin_count, shape_builtin_count, nn_builtin_count,
    random_builtin_count, fractional_builtin_count;

Item lower_builtin(Lower *lw, const Expr *call); /* a fault if there is none of this name */
const Builtin *find_builtin(const char *name);

/* Arguments by position; each reports a fault that names function and parameter. */
Value array_arg(Lower *lw, const Args *args, int i);   /* numbers become f64 */
Value float_arg(Lower *lw, const Args *args, int i);   /* … and other dtypes are a fault */
int64_t whole_arg(Lower *lw, const Args *args, int i); /* a whole number known when compiled */
double number_arg(Lower *lw, const Args *args, int i);
bool truth_arg(Lower *lw, const Args *args, int i);
/* The position of the word in names, or −1 with a fault that lists them. */
int choice_arg(Lower *lw, const Args *args, int i, const char *const *names, size_t n);
FraxDType dtype_arg(Lower *lw, const Args *args, int i);
int axis_arg(Lower *lw, const Args *args, int i, int rank);      /* one axis, 0 … rank−1 */
uint32_t axes_arg(Lower *lw, const Args *args, int i, int rank); /* a set; all axes when absent */
Shape shape_arg(Lower *lw, const Args *args, int i);
void arg_name(const Args *args, int i, char name[64]); /* "frac: step" */
/* Why argument i is wrong: "frac: step is -1, expected …". */
Value arg_fail(Lower *lw, const Args *args, int i, FraxStatus status, const char *fmt, ...) PRINTF_LIKE(5, 6);
int whole_item(Lower *lw, const Item *item, const char *what, int64_t *result); /* 0 after a fault */

/* ---- Compositions that several built-ins use ---- */

/* A fault of the built-in being called if x has no elements along the axes. */
bool has_elements(Lower *lw, Value x, uint32_t axes);
/* Compositions of 16-bit floats are computed in f32, since sums and squares within them go beyond f16: the
   operand as f32, and the result as the operand's dtype. Others pass. */
Value widen_half(Lower *lw, Value x);
Value narrow_half(Lower *lw, Value y, FraxDType dtype);
Value mean_over(Lower *lw, Value x, uint32_t axes); /* axes stay with size 1 */
Value logsumexp_over(Lower *lw, Value x, uint32_t axes);
Value softplus_value(Lower *lw, Value x);
/* a ∘ b with b broadcast to a's shape (ranks equal). */
Value op_broadcast(Lower *lw, Op op, Value a, Value b);
/* select(mask, constant, x) */
Value replace_where(Lower *lw, Value mask, double constant, Value x);

#endif
