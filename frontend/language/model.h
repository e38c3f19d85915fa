/* model.h — a parsed model: what it declares, how its sizes are bound, and its graph for given sizes.
 *
 * A text goes through model_parse once; model_check types it with symbolic sizes; for each set of sizes
 * model_bind finds the value of every size symbol and model_lower builds the graph. Strings that are handed
 * out belong to the model. A model is not changed by binding and lowering: many threads may do so at once.
 */
#ifndef FRAX_MODEL_H
#define FRAX_MODEL_H

#include "ir.h"

/* Reads the text (len bytes, need not end in NUL) and picks the model called `name`; NULL: the first one.
 *out is NULL after a failure. */
FraxStatus model_parse(const char *text, size_t len, const char *file, const char *name, FraxModel **out,
                       FraxError *err);
void model_destroy(FraxModel *model); /* NULL is fine */

/* ---- What it declares; names and types are NULL when i is out of range ---- */

const char *model_name(const FraxModel *model);
const char *model_text(const FraxModel *model);
size_t model_size_count(const FraxModel *model);
const char *model_size_name(const FraxModel *model, size_t i);
size_t model_count(const FraxModel *model, FraxRole role);
const char *model_value_name(const FraxModel *model, FraxRole role, size_t i);
/* In the model's own symbols: f32[8*N,10]. Of an output: NULL until model_check has succeeded. */
const char *model_value_type(const FraxModel *model, FraxRole role, size_t i);
/* Of an input or param. */
FraxDType model_value_dtype(const FraxModel *model, FraxRole role, size_t i);

/* Is the i-th input a key of random numbers? */
bool model_is_key(const FraxModel *model, size_t i);

/* ---- From sizes to a graph ---- */

/* Finds values[model_size_count()] from the shapes of the given inputs (one entry per input, NULL where not
   given; the array may be NULL) and from `sizes`. A dimension that is an expression is solved for its unknown
   symbol when linear in it, and checked otherwise. Errors name who said what. */
FraxStatus model_bind(const FraxModel *model, const FraxTensor *const *inputs, const FraxSize *sizes,
                      size_t nsizes, int64_t *values, FraxError *err);

/* The graph for these sizes: inputs, then params, then outputs, each in the order of the text. The caller
   owns it. */
FraxStatus model_lower(const FraxModel *model, const int64_t *values, Graph **graph, FraxError *err);

/* Types the model for sizes in general and learns its outputs' types. Appends the signature to *signature
   (NULL: not wanted). What holds only for some sizes (N = 3, say) is an error here. Sizes are taken as large:
   x[:3] has 3 elements. */
FraxStatus model_check(FraxModel *model, Text *signature, FraxError *err);

/* The position of a size symbol; a fault that suggests the near one if there is none. */
FraxStatus model_find_size(const FraxModel *model, const char *name, size_t *index, FraxError *err);
/* The axis of the i-th input whose size is this symbol, or −1 if the input does not have it. A fault if the
   input has it otherwise: on two axes, or in an expression. */
FraxStatus model_size_axis(const FraxModel *model, size_t size, size_t input, int *axis, FraxError *err);
/* Puts file, line and caret around a fault whose place in the text is in *err, and returns its status. */
FraxStatus model_locate(const FraxModel *model, FraxError *err);

/* ---- The built-in functions, for listings ---- */

typedef struct BuiltinInfo {
    const char *name, *params, *summary, *group;
} BuiltinInfo;

/* The i-th built-in, sorted by group; false when there is none. */
bool builtin_info(size_t i, BuiltinInfo *info);

typedef struct FracKindInfo {
    const char *name, *alias; /* alias: NULL where there is none */
    char choice[64];          /* the arguments that ask for this scheme: "scheme=l1", or "" */
    char domain[96], soe[96]; /* orders, and those that engine=soe has: "" for none */
    const char *formula, *order, *reference;
} FracKindInfo;

/* The i-th operator of frac, kinds together; false when there is none. */
bool frac_kind_info(size_t i, FracKindInfo *info);

#endif
