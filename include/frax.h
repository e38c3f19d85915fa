/* frax.h — the public C interface of frax, a compiler for fractional models.
 *
 * In five calls:
 *
 *     FraxModel *model;  FraxExecutable *exe;  FraxError err;
 *     frax_model_load("nile.frax", &model, &err);                  // parse
 *     FraxOptions opt = frax_default_options();                    // what to compile
 *     opt.sizes = (FraxSize[]){{"T", 100}};  opt.nsizes = 1;
 *     frax_compile(model, &opt, &exe, &err);                       // to machine code
 *     frax_run(exe, inputs, params, outputs, &err);                // as often as you like, from any thread
 *     frax_executable_destroy(exe);  frax_model_destroy(model);
 *
 * Every call that can fail returns a FraxStatus and fills *err (which may be NULL) with a message that says
 * what was wrong, what was got and what was expected. The library never prints, exits or aborts on user
 * input. In builds with assertions a handle that was destroyed is FRAX_USAGE too.
 *
 * Arrays are dense and row-major, unless options.layouts says how else they lie. `inputs`, `params` and
 * `outputs` are arrays of pointers in the order of the signature (frax_executable_type); the caller owns all
 * buffers. An executable is immutable: any number of threads may run one at the same time.
 */
#ifndef FRAX_H
#define FRAX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRAX_VERSION   "0.1.0"
#define FRAX_MAX_RANK  8
#define FRAX_MAX_ORDER 6

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
    X(FRAX_INTERNAL, 3, "a defect in frax")                                                                  \
    X(FRAX_CANCELLED, 1, "stopped by the caller")

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

/* ---- Memory
   -------------------------------------------------------------------------------------------------

   Where frax gets its memory, if not from the C library; LLVM, FFTW and the BLAS have their own. allocate and
   resize give NULL when there is none; alignment is a power of two. resize is as realloc, for what was
   allocated with an alignment of at most 16. All may be called from any thread. */
typedef struct FraxAllocator {
    void *(*allocate)(void *context, size_t bytes, size_t alignment);
    void *(*resize)(void *context, void *memory, size_t bytes);
    void (*release)(void *context, void *memory);
    void *context;
} FraxAllocator;

/* For the whole process, before any other call; NULL: the C library again. FRAX_USAGE once frax holds memory.
 */
FRAX_API FraxStatus frax_set_allocator(const FraxAllocator *allocator, FraxError *err);

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

/* An array of the host that need not be dense. strides: how many bytes lie between neighbours along an axis;
   they may be negative, or 0 where all elements of an input are one. */
typedef struct FraxView {
    FraxDType dtype;
    int rank;
    int64_t dims[FRAX_MAX_RANK];
    int64_t strides[FRAX_MAX_RANK];
    void *data;    /* the element at 0, 0, …; inputs and params are only read */
    int read_only; /* non-zero: must not be an output */
} FraxView;

/* Where a model runs. eager and reference exist for comparison: node by node with FFTW and CBLAS, and the
   definition of the operators in f64 with naive loops. cuda: on an NVIDIA GPU; FRAX_UNSUPPORTED, with the
   remedy, where its driver or NVRTC is missing. */
#define FRAX_TARGETS(X)                                                                                      \
    X(FRAX_CPU, "cpu")                                                                                       \
    X(FRAX_EAGER, "eager")                                                                                   \
    X(FRAX_REFERENCE, "reference")                                                                           \
    X(FRAX_CUDA, "cuda")

typedef enum FraxTarget {
#define X(code, name) code,
    FRAX_TARGETS(X)
#undef X
} FraxTarget;

FRAX_API const char *frax_dtype_name(FraxDType dtype);
FRAX_API size_t frax_dtype_size(FraxDType dtype);

/* ---- Models
 * ------------------------------------------------------------------------------------------------- */

typedef struct FraxModel FraxModel;

/* What a size symbol of the model stands for. */
typedef struct FraxSize {
    const char *name;
    int64_t value;
} FraxSize;

/* Reads and checks the model named in `spec`: FILE.frax, or FILE.frax:NAME for one of several (the first is
   the default). Errors: FRAX_FILE, and those of the text. *model is NULL after a failure. */
FRAX_API FraxStatus frax_model_load(const char *spec, FraxModel **model, FraxError *err);
/* The same from text in memory; `file` is only used in messages; `name` NULL: the first model. */
FRAX_API FraxStatus frax_model_parse(const char *text, const char *file, const char *name, FraxModel **model,
                                     FraxError *err);
FRAX_API void frax_model_destroy(FraxModel *model); /* NULL is fine */

/* The roles that values play in a signature. A model has inputs, params and outputs; an executable has, by
   its mode, tangents or cotangents after its params, and gradients or products after its outputs. */
typedef enum FraxRole { FRAX_INPUT, FRAX_PARAM, FRAX_OUTPUT } FraxRole;

/* How many values of a role the model declares, the name of the i-th, and its type in the model's own symbols
   ("f64[T]"). The strings belong to the model; NULL when i is out of range, and for the type of an output of
   a model that only some sizes fit, as one that reshapes an input to fixed sizes. */
FRAX_API size_t frax_model_count(const FraxModel *model, FraxRole role);
FRAX_API const char *frax_model_value_name(const FraxModel *model, FraxRole role, size_t i);
FRAX_API const char *frax_model_value_type(const FraxModel *model, FraxRole role, size_t i);
FRAX_API const char *frax_model_name(const FraxModel *model);

/* The text of the file that the model was read from, or that a builder wrote. Belongs to the model. */
FRAX_API const char *frax_model_text(const FraxModel *model);

/* ---- Building models
   -----------------------------------------------------------------------------------------------

   A builder makes a model call by call, with the words and operators of the language:

       FraxBuilder *b;
       frax_builder_create("nile", &b, &err);
       FraxValue T = frax_builder_name(b, "T"),                                // model nile(x: f64[T]) {
                 x = frax_builder_input(b, "x", FRAX_F64, 1, &T),
                 d = frax_builder_param(b, "d", FRAX_F64, 0, NULL, frax_builder_number(b, 0.1)),
                 kind = frax_builder_name(b, "grunwald"),
                 e = frax_builder_call(b, "frac", 3, (FraxValue[]){x, d, kind},
                                       (const char *[]){NULL, NULL, "kind"}),  // frac(x, d, kind=grunwald)
                 two = frax_builder_number(b, 2),
                 square = frax_builder_call(b, "^", 2, (FraxValue[]){e, two}, NULL);
       frax_builder_return(b, "loss", frax_builder_call(b, "mean", 1, &square, NULL));
       FraxStatus status = frax_builder_finish(b, &model, &err);
       frax_builder_destroy(b);

   Nothing but create and finish needs to be checked: after a fault every call does nothing and gives 0, and
   finish tells the first one. Faults of the model itself are those of the language, and show the line of
   frax_model_text that is at fault. A builder belongs to one thread at a time. */

typedef struct FraxBuilder FraxBuilder;

/* What a call has made; belongs to its builder and may be used any number of times. 0: none. */
typedef int32_t FraxValue;

/* `name` is that of the model. *builder is NULL after a failure. */
FRAX_API FraxStatus frax_builder_create(const char *name, FraxBuilder **builder, FraxError *err);
FRAX_API void frax_builder_destroy(FraxBuilder *builder); /* NULL is fine */

/* A number; whole ones count as written without a point. */
FRAX_API FraxValue frax_builder_number(FraxBuilder *builder, double value);
/* A name as it stands in a text: a size (T), a word (weyl, f32, zeros), pi, true, false, none, the parameter
   of a function, or what input, param and let have named. */
FRAX_API FraxValue frax_builder_name(FraxBuilder *builder, const char *name);

/* Declares an input, or a param with its initial value: a number, a name (glorot), or a call of normal or
   uniform. dims: the sizes of its axes: numbers, names, and + - * / of them. */
FRAX_API FraxValue frax_builder_input(FraxBuilder *builder, const char *name, FraxDType dtype, int rank,
                                      const FraxValue *dims);
/* Declares an input of type key, for random numbers: i32[2], of any values, to those who run the model. */
FRAX_API FraxValue frax_builder_key(FraxBuilder *builder, const char *name);
FRAX_API FraxValue frax_builder_param(FraxBuilder *builder, const char *name, FraxDType dtype, int rank,
                                      const FraxValue *dims, FraxValue initial);

/* A call of `what` with n arguments: a built-in function, a function of frax_builder_functions, or one of
       + - * / ^ @ < <= > >= == != and or not    operators; - and + with one argument too
       ()                                        a tuple of the arguments
       []                                        the first argument with the others as subscripts
       : and ...                                 subscripts: from, to, step, where 0 stands for absent; and
   the ellipsis
       =>                                        a function, as in w => w^2: names, then its value
   names (may be NULL): for each argument its name, as in axis=1, or NULL where it goes by position. */
FRAX_API FraxValue frax_builder_call(FraxBuilder *builder, const char *what, size_t n, const FraxValue *args,
                                     const char *const *names);

/* Gives a value a name in the model's text. */
FRAX_API FraxValue frax_builder_let(FraxBuilder *builder, const char *name, FraxValue value);
/* The next output of the model, under a name (NULL: that which the value has). */
FRAX_API void frax_builder_return(FraxBuilder *builder, const char *name, FraxValue value);
/* Functions in the language, "fn …", which calls may then name; those with a derivative of their own, say. */
FRAX_API void frax_builder_functions(FraxBuilder *builder, const char *text);

/* The model, which does not refer to the builder afterwards. Errors: as frax_model_parse, FRAX_USAGE for
   wrong calls. *model is NULL after a failure. */
FRAX_API FraxStatus frax_builder_finish(FraxBuilder *builder, FraxModel **model, FraxError *err);

/* ---- Compiling
 * ---------------------------------------------------------------------------------------------- */

typedef struct FraxExecutable FraxExecutable;

/* What an executable computes besides the model's outputs.
   FRAX_REVERSE adds grad.NAME for every name in `wrt`: the gradient of output `of`.
   FRAX_JVP takes tangent.NAME for every name in `wrt` as further inputs, and adds tangent.OUT for every
   floating output. FRAX_HVP takes tangent.NAME as well, and adds grad.NAME and hvp.NAME, the Hessian of `of`
   times the tangents.
   FRAX_VJP takes cotangent.OUT for every floating output as further inputs, and computes grad.NAME for every
   name in `wrt`, the sum over the outputs of their cotangents times the Jacobian, in place of the model's
   outputs: what a framework's backward pass asks for. options.order = 2 does the same to the function so
   made, for the backward pass of the backward pass: it takes cotangent.grad.NAME as well, and computes
   grad2.NAME, and grad2.cotangent.OUT for the cotangents; and so on. */
typedef enum FraxMode { FRAX_FORWARD, FRAX_REVERSE, FRAX_JVP, FRAX_HVP, FRAX_VJP } FraxMode;

/* How the caller's array of one value lies, if not densely: how many bytes there are between neighbours along
   each axis, as in a FraxView. They are part of the compiled code, which reads and writes the array in place.
   Strides may be negative and leave gaps, which are never touched. Those of inputs and params may be 0, where
   all elements along an axis are one; each axis of an output has to step over all that its axes of smaller
   strides span. Strides of axes of size 1 do not count. The targets for comparison, eager and reference, copy
   such arrays. */
typedef struct FraxLayout {
    FraxRole role;
    const char *name; /* in the executable's signature: grad.d is an output, tangent.d a param */
    int rank;
    int64_t strides[FRAX_MAX_RANK];
} FraxLayout;

typedef struct FraxOptions {
    FraxTarget target;      /* FRAX_CPU */
    FraxMode mode;          /* FRAX_FORWARD */
    const char *of;         /* the scalar output to differentiate; NULL: "loss" */
    const char *const *wrt; /* names of params or floating inputs; NULL: all params */
    size_t nwrt;
    const FraxSize *sizes; /* what the model's size symbols stand for; each must be given here or by `inputs`,
                              or the call is FRAX_USAGE */
    size_t nsizes;
    const FraxTensor *inputs; /* NULL, or one per input in order: shapes that fix size symbols (rank −1: not
                                 given; data unused) */
    int threads;              /* 0: as many as there are processors */
    int no_cache;             /* non-zero: do not use the kernel cache on disk */
    int debug;                /* non-zero: make JIT code known to gdb and perf */
    const char *stream; /* NULL, or the size along which the model takes its data in chunks; see below */
    int64_t chunk;      /* with stream: how many of them one run takes */
    /* Called now and then by the calling thread during a compilation, and by a trainer before each evaluation
       of the model: what begins ("lowering", a pass, "emitting code", "step"), and how many of how many such
       are done (total 0: it is not known). Non-zero ends the call with FRAX_CANCELLED; LLVM is not
       interrupted. May be NULL. */
    int (*progress)(void *context, const char *stage, int64_t done, int64_t total);
    /* Called with a line on what was done and why ("2 kernels, compiled in 31 ms"). May be NULL. */
    void (*log)(void *context, const char *message);
    void *context;             /* for both; all three must stay valid as long as a trainer lives */
    int order;                 /* FRAX_VJP: how many times, at most FRAX_MAX_ORDER; 0 is once */
    const FraxLayout *layouts; /* arrays that are not dense; a trainer takes none */
    size_t nlayouts;
    int device; /* FRAX_CUDA: which GPU, from 0 */
} FraxOptions;

FRAX_API FraxOptions frax_default_options(void);

/* Compiles the model. The executable does not refer to the model or the options' lists afterwards. Faults of
   options.layouts: FRAX_NAME for a name that is not there or is there twice, FRAX_SHAPE for another rank,
   FRAX_VALUE for strides that are not whole elements, reach too far, or lay an output's elements over each
   other. */
FRAX_API FraxStatus frax_compile(const FraxModel *model, const FraxOptions *options, FraxExecutable **exe,
                                 FraxError *err);
FRAX_API void frax_executable_destroy(FraxExecutable *exe); /* NULL is fine */

/* The executable's signature with all sizes known: count, names, and types (data is NULL) by role and
 * position. */
FRAX_API size_t frax_executable_count(const FraxExecutable *exe, FraxRole role);
FRAX_API const char *frax_executable_name(const FraxExecutable *exe, FraxRole role, size_t i);
FRAX_API FraxTensor frax_executable_type(const FraxExecutable *exe, FraxRole role, size_t i);

/* The position of a name in a role: "d" among the params, "grad.d" among the outputs. The first params are
   the model's, in the same order, for frax_trainer_set_param too. FRAX_NAME where there is none, with the
   near name; FRAX_USAGE for NULL or a role that does not exist. */
FRAX_API FraxStatus frax_executable_find(const FraxExecutable *exe, FraxRole role, const char *name,
                                         size_t *index, FraxError *err);

/* The same with the compiled strides; data is NULL. rank −1: there is no such value. */
FRAX_API FraxView frax_executable_view(const FraxExecutable *exe, FraxRole role, size_t i);

typedef struct FraxMemory {
    size_t temporary_bytes; /* allocated for each run in flight */
    size_t live_bytes; /* the largest set of temporaries alive at once; temporary_bytes cannot be below it */
    size_t static_bytes; /* tables computed once, shared by all runs */
    size_t moved_bytes;  /* read and written by the kernels of one run */
    size_t kernels;
    double compile_seconds;
    int from_cache; /* non-zero: machine code came from the cache on disk */
} FraxMemory;

FRAX_API FraxMemory frax_executable_memory(const FraxExecutable *exe);

/* Runs once. FRAX_VALUE where an order or another guarded value is out of its range; the outputs' values are
   not defined then. inputs, params, outputs: one pointer per value in the order of the signature, each to an
   array of exactly that type, owned by the caller: dense and row-major, or to the element at 0, 0, … of one
   with the strides that options.layouts gave. No element of an output may lie over one of another array, but
   for a state, which may be written over its own param if both have the same strides. Arrays begin
   at a multiple of their element's size, or FRAX_USAGE; 64 bytes serve vectors best; an empty one may be
   NULL. May be called from many threads at once, and in a child that was forked while no thread was inside
   frax; runs have one thread there if the parent's had several. Where something else in the parent has used
   OpenMP's threads, options.threads = 1 keeps the child from waiting for them. */
FRAX_API FraxStatus frax_run(const FraxExecutable *exe, const void *const *inputs, const void *const *params,
                             void *const *outputs, FraxError *err);

/* A dense row-major array as a view. */
FRAX_API FraxView frax_view(FraxTensor tensor);

/* frax_run on views: inputs, then params, then outputs, each in the order of the signature; `count` is how
   many there are in all. dtypes and shapes are compared with the compiled ones (FRAX_TYPE, FRAX_SHAPE). A
   view with the compiled strides (dense ones, without options.layouts; axes of size 1 may have any) that
   begins at a multiple of its element's size is used where it lies, without a copy. Others are copied: an
   input or param into a buffer before the run, an output from one after it. So is an output of which it
   cannot be seen by strides and addresses that its elements lie apart from another view's; so outputs may be
   written over inputs. Elements of one output must not lie over those of another. FRAX_VALUE for an output
   whose own elements may lie over each other, as wherever an axis does not step over all that axes of smaller
   strides span; and for a view with other strides where the compiled ones lay elements over each other (0,
   say): no copy could lie so. */
FRAX_API FraxStatus frax_run_views(const FraxExecutable *exe, const FraxView *views, size_t count,
                                   FraxError *err);

/* ---- Tensors of other libraries, by DLPack
   ------------------------------------------------------------------------------

   Libraries hand each other tensors as DLManagedTensor (capsules "dltensor" in Python) or, since DLPack 1.0,
   as DLManagedTensorVersioned ("dltensor_versioned"). Their structures are in dlpack.h, or in frax_dlpack.h.
 */

struct DLManagedTensor;
struct DLManagedTensorVersioned;

/* A view of the tensor's own memory: good as long as the tensor, which stays the caller's to delete.
   FRAX_UNSUPPORTED for memory of a device that the host cannot read, FRAX_TYPE for dtypes that frax lacks. */
FRAX_API FraxStatus frax_view_from_dlpack(const struct DLManagedTensor *tensor, FraxView *view,
                                          FraxError *err);
FRAX_API FraxStatus frax_view_from_dlpack_versioned(const struct DLManagedTensorVersioned *tensor,
                                                    FraxView *view, FraxError *err);

/* A new tensor of the view's memory; whoever takes it calls its deleter, which calls release(context)
   (release may be NULL). With view->data NULL the tensor owns new memory, dense and aligned to 64 bytes,
   where view->data points then: for an output, say. FRAX_VALUE for strides that are not whole elements, and
   for read-only memory without a version, which has no way to say so. */
FRAX_API FraxStatus frax_view_to_dlpack(FraxView *view, void (*release)(void *context), void *context,
                                        struct DLManagedTensor **tensor, FraxError *err);
FRAX_API FraxStatus frax_view_to_dlpack_versioned(FraxView *view, void (*release)(void *context),
                                                  void *context, struct DLManagedTensorVersioned **tensor,
                                                  FraxError *err);

/* Writes the declared initial value of the i-th param, with the compiled strides; random ones depend on seed
   and i alone. Of a state: zeros. */
FRAX_API FraxStatus frax_initial_param(const FraxExecutable *exe, size_t i, uint64_t seed, void *data,
                                       FraxError *err);

/* ---- Streaming
 * ----------------------------------------------------------------------------------------------

   With options.stream = "T" and options.chunk = 512, an executable takes 512 samples of a signal a run, and
   runs one after the other filter a signal without end in bounded memory. Inputs with an axis of size T have
   512 elements there. What the model remembers of the past becomes states: further params and outputs, called
   state.0, state.1, …, state.offset, that stand last in the signature, in the same order in both roles. They
   start at zero (frax_initial_param writes that), and each run is given the states that the one before it
   wrote; a state may be written over itself:

       size_t k = frax_executable_states(exe), np = frax_executable_count(exe, FRAX_PARAM),
              ny = frax_executable_count(exe, FRAX_OUTPUT);
       for (size_t i = 0; i < k; i++) {
           params[np - k + i] = outputs[ny - k + i] = state[i];
           frax_initial_param(exe, np - k + i, 0, state[i], &err);
       }
       while (next_chunk(x)) frax_run(exe, inputs, params, outputs, &err);

   States belong to the model and T, not to the chunk: executables of different chunks may carry on from each
   other. A last chunk that is short may also be filled up with any samples (the last one again, say), and
   what they give ignored, if nothing runs after it.

   T itself keeps the length of the whole signal, two or more, which sizes or inputs give as ever; it is what
 a mean divides by, and how far the memory of a sum of exponentials reaches. For a signal without end it is a
   promise: results are exact for the first T samples, and beyond them where nothing in the model depends on
 T.

   An output without the axis T (a sum, a loss, a first sample) is complete after the run that holds the last
   sample it needs. Whatever cannot be had sample by sample (a periodic operator along T, data minus their own
   mean) is FRAX_SHAPE when compiled, with its place in the model. */

/* Where a value of the signature stands in the stream. axis < 0: it is not streamed. Otherwise it has the
   size `chunk` along `axis` in each run, and `length` over the whole signal. Element i of the whole comes
   with sample i + skip: over all runs, the first `skip` elements of an output are not part of it (x[1:],
   say). */
typedef struct FraxStream {
    int axis;
    int64_t skip, length;
} FraxStream;

FRAX_API FraxStream frax_executable_stream(const FraxExecutable *exe, FraxRole role, size_t i);
/* How many states there are: the last so many params and outputs. 0 without options.stream, too. */
FRAX_API size_t frax_executable_states(const FraxExecutable *exe);

/* ---- Fitting
 * ------------------------------------------------------------------------------------------------ */

#define FRAX_OPTIMIZERS(X)                                                                                   \
    X(FRAX_SGD, "sgd")                                                                                       \
    X(FRAX_ADAM, "adam")                                                                                     \
    X(FRAX_ADAMW, "adamw")                                                                                   \
    X(FRAX_LBFGS, "lbfgs")

typedef enum FraxOptimizer {
#define X(code, name) code,
    FRAX_OPTIMIZERS(X)
#undef X
} FraxOptimizer;

typedef struct FraxFitOptions {
    FraxOptimizer optimizer;
    double lr;                    /* 0: the optimizer's default */
    double momentum;              /* sgd */
    double beta1, beta2, epsilon; /* adam, adamw */
    double weight_decay;          /* adamw: decoupled; sgd, adam: added to the gradient */
    double clip_norm, clip_value; /* 0: off; the norm is over all gradients together */
    int64_t steps;
    int64_t batch;    /* rows of the inputs' common leading axis in one step; 0: all */
    uint64_t seed;    /* order of the mini-batches */
    double tolerance; /* lbfgs ends when all |g_i| * max(1, |p_i|) are at most tolerance * max(1, |loss|) */
    /* Called after each step (evaluations: model evaluations so far); a non-zero result stops the fit. May be
     * NULL. */
    int (*progress)(void *context, int64_t step, int64_t evaluations, double loss);
    void *context;
} FraxFitOptions;

FRAX_API FraxFitOptions frax_default_fit_options(FraxOptimizer optimizer);

/* A fit in progress: one compiled step of forward, adjoint and update, with parameters and optimizer state
 * inside. */
typedef struct FraxTrainer FraxTrainer;

/* options->of and ->wrt choose what is minimised and which params move; options->mode is ignored. Params
   start at their declared initial values with fit->seed.
   With fit->batch each step sees that many rows: the leading size of the first input must be a symbol, which
   options gives its full value; all inputs that lead with it are batched, and it may stand nowhere else in an
   input or param. Each epoch draws the rows without replacement, in an order that depends on fit->seed and
   the epoch alone; rows that do not fill a last batch wait for the next epoch's draw. lbfgs takes no batches.
   Inputs of type key are read as those of the whole fit: each step has a key of its own, which depends on
   them and on the step's number alone, so that its random numbers are new. lbfgs needs one function, and
   draws the same ones at each step. */
FRAX_API FraxStatus frax_trainer_create(const FraxModel *model, const FraxOptions *options,
                                        const FraxFitOptions *fit, FraxTrainer **trainer, FraxError *err);
FRAX_API void frax_trainer_destroy(FraxTrainer *trainer); /* NULL is fine */
/* One optimizer step on `inputs` (full arrays; the trainer draws the mini-batch). *loss (may be NULL) is the
   loss before the update. FRAX_DIVERGED names the step and the parameter that left the finite numbers; all
   params are to be set before another step then. FRAX_VALUE says at which step which order or other guarded
   value has left its range; the params are then those of the last step at which all were inside. lbfgs steps
   back from such points as from a loss that is not finite, so that only the first one can fail. It expects
   the same values in `inputs` at each step, and does nothing once it has ended. A trainer belongs to one
   thread at a time. */
FRAX_API FraxStatus frax_trainer_step(FraxTrainer *trainer, const void *const *inputs, double *loss,
                                      FraxError *err);
/* fit->steps steps, or until the optimizer has ended or fit->progress has asked to stop. *loss (may be
   NULL) is that of the last step, NaN without one. FRAX_CANCELLED where options->progress says so, here and
   in frax_trainer_step: the params are then those of the last step, and the fit may go on. */
FRAX_API FraxStatus frax_trainer_run(FraxTrainer *trainer, const void *const *inputs, double *loss,
                                     FraxError *err);
FRAX_API int64_t frax_trainer_steps(const FraxTrainer *trainer);
FRAX_API int64_t frax_trainer_evaluations(const FraxTrainer *trainer);
/* Non-zero once lbfgs has come to an end by itself, but for one that a guarded value at the end of its range
   has stopped: the loss may fall on beyond it. */
FRAX_API int frax_trainer_converged(const FraxTrainer *trainer);
/* Why the last frax_trainer_run ended, in a few words; never NULL. */
FRAX_API const char *frax_trainer_outcome(const FraxTrainer *trainer);
/* The signature of the inputs of one step and of the params (as frax_executable_*; not to be run), and copies
   of the params' current values out of and into the trainer. */
FRAX_API const FraxExecutable *frax_trainer_executable(const FraxTrainer *trainer);
FRAX_API FraxStatus frax_trainer_get_param(const FraxTrainer *trainer, size_t i, void *data, FraxError *err);
FRAX_API FraxStatus frax_trainer_set_param(FraxTrainer *trainer, size_t i, const void *data, FraxError *err);

#ifdef __cplusplus
}
#endif
#endif
