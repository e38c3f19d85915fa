/* frax.h — the public C interface of frax, a compiler for fractional models.
 *
 * In five calls:
 *
 *     FraxModel *model;  FraxExecutable *exe;  FraxError err;
 *     frax_model_load("nile.frax", NULL, &model, &err);            // parse
 *     FraxOptions opt = frax_default_options();                    // what to compile
 *     opt.sizes = (FraxSize[]){{"T", 100}};  opt.nsizes = 1;
 *     frax_compile(model, &opt, &exe, &err);                       // to machine code
 *     frax_run(exe, inputs, params, outputs, &err);                // as often as you like, from any thread
 *     frax_executable_destroy(exe);  frax_model_destroy(model);
 *
 * Every call that can fail returns a FraxStatus and fills *err (which may be NULL) with a message that says
 * what was wrong, what was got and what was expected. The library never prints, exits or aborts on user
 * input.
 *
 * Arrays are dense and row-major. `inputs`, `params` and `outputs` are arrays of pointers in the order of the
 * signature (frax_executable_value); the caller owns all buffers. An executable is immutable: any number of
 * threads may run one at the same time.
 */
#ifndef FRAX_H
#define FRAX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRAX_VERSION  "0.1.0"
#define FRAX_MAX_RANK 8

#if defined(__GNUC__)
#define FRAX_API __attribute__((visibility("default")))
#else
#define FRAX_API
#endif

/* ---- Status
 * ------------------------------------------------------------------------------------------------- */

/* One list of statuses: code, process exit status of the command line, meaning. */
#define FRAX_STATUSES(X)                                                                                     \
    X(FRAX_OK, 0, "done")                                                                                    \
    X(FRAX_SYNTAX, 1, "the model's text is not well formed")                                                 \
    X(FRAX_TYPE, 1, "dtypes do not fit")                                                                     \
    X(FRAX_SHAPE, 1, "shapes do not fit")                                                                    \
    X(FRAX_NAME, 1, "unknown or repeated name")                                                              \
    X(FRAX_VALUE, 1, "a value is outside its domain")                                                        \
    X(FRAX_NOT_DIFFERENTIABLE, 1, "no derivative rule")                                                      \
    X(FRAX_FILE, 1, "a file is missing, malformed or cannot be written")                                     \
    X(FRAX_DIVERGED, 1, "a fit left the finite numbers")                                                     \
    X(FRAX_USAGE, 2, "the call itself is wrong")                                                             \
    X(FRAX_MEMORY, 3, "out of memory")                                                                       \
    X(FRAX_UNSUPPORTED, 3, "not supported by this build or machine")                                         \
    X(FRAX_INTERNAL, 3, "a defect in frax")

typedef enum FraxStatus {
#define X(code, exit_status, meaning) code,
    FRAX_STATUSES(X)
#undef X
} FraxStatus;

/* What went wrong, for people. line and column are 0 where no model text is at fault. The message is
   complete: for faults in a model it holds file:line:col, the source line and a caret. */
typedef struct FraxError {
    FraxStatus status;
    int line, column;
    char message[1024];
} FraxError;

/* The meaning of a status in a few words; never NULL. */
FRAX_API const char *frax_status_string(FraxStatus status);

/* ---- Types
 * -------------------------------------------------------------------------------------------------- */

/* One list of element types: enumerator, name in the language, bytes. */
#define FRAX_DTYPES(X)                                                                                       \
    X(FRAX_F64, "f64", 8)                                                                                    \
    X(FRAX_F32, "f32", 4)                                                                                    \
    X(FRAX_BF16, "bf16", 2)                                                                                  \
    X(FRAX_F16, "f16", 2)                                                                                    \
    X(FRAX_I32, "i32", 4)                                                                                    \
    X(FRAX_BOOL, "bool", 1)

typedef enum FraxDType {
#define X(code, name, bytes) code,
    FRAX_DTYPES(X)
#undef X
} FraxDType;

/* A dense row-major array. `data` is owned by whoever made the tensor; see each function. */
typedef struct FraxTensor {
    FraxDType dtype;
    int rank;
    int64_t dims[FRAX_MAX_RANK];
    void *data;
} FraxTensor;

/* Where a model runs. eager and reference exist for comparison: node by node with FFTW and CBLAS, and the
   definition of the operators in f64 with naive loops. */
#define FRAX_TARGETS(X)                                                                                      \
    X(FRAX_CPU, "cpu")                                                                                       \
    X(FRAX_EAGER, "eager")                                                                                   \
    X(FRAX_REFERENCE, "reference")

typedef enum FraxTarget {
#define X(code, name) code,
    FRAX_TARGETS(X)
#undef X
} FraxTarget;

FRAX_API const char *frax_dtype_name(FraxDType dtype);
FRAX_API size_t frax_dtype_size(FraxDType dtype);

#ifdef __cplusplus
}
#endif
#endif
