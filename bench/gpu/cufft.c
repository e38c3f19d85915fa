/* cufft.c — a fractional derivative as a program without frax does it on a GPU: cuFFT's batched real
 * transforms with plans, and one kernel between them that multiplies by a table of the filter, 1/n included.
 * See gpu_bench.h.
 */
#include "cuda_compile.h"
#include "gpu_bench.h"

enum { THREADS = 256 };

/* ---- The product: z[row][bin] *= k[bin] ---- */

/* The parameters are those of frax's kernels, so that the tests' stand-ins run it. */
static const char text[] =
    "typedef struct KernelContext {\n"
    "    char *z;\n"
    "    const char *k;\n"
    "    const void *unused[4];\n"
    "} KernelContext;\n"
    "typedef struct __align__(8) Pair {\n"
    "    float re, im;\n"
    "} Pair;\n"
    "#ifdef __cplusplus\n"
    "extern \"C\"\n"
    "#endif\n"
    "__global__ void product(const __grid_constant__ KernelContext c, char *scratch) {\n"
    "    Pair *z = (Pair *)c.z;\n"
    "    const Pair *k = (const Pair *)c.k;\n"
    "    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < %lluu;\n"
    "         i += gridDim.x * blockDim.x) {\n"
    "        const Pair a = z[i], b = k[i %% %lluu];\n"
    "        Pair y;\n"
    "        y.re = a.re * b.re - a.im * b.im;\n"
    "        y.im = a.re * b.im + a.im * b.re;\n"
    "        z[i] = y;\n"
    "    }\n"
    "}\n";

/* ---- A run ---- */

typedef struct Run {
    const CudaDevice *device;
    const CufftCase *c;
    int64_t bins;
    const Cufft *library;
    FftHandle plans[2];
    bool has_plan[2];
    CudaStream stream;
    CudaModule module;
    CudaFunction product;
    CudaEvent events[2];
    CudaAddress x, z, y, k, work;
} Run;

/* (iω)^order / n; the highest frequency of an even length keeps its real part alone, whatever the imaginary
 * one. */
static float *filter(const CufftCase *c, int64_t bins) {
    float *k = mem_alloc((size_t)bins * 2 * sizeof *k);
    for (int64_t i = 0; k && i < bins; i++) {
        double omega = 2 * 3.14159265358979323846 * (double)i / ((double)c->n * c->step),
               magnitude = i ? pow(omega, c->order) / (double)c->n : 0,
               angle = c->order * 3.14159265358979323846 / 2;
        k[2 * i] = (float)(magnitude * cos(angle));
        k[2 * i + 1] = 2 * i == c->n ? 0 : (float)(magnitude * sin(angle));
    }
    return k;
}

static FraxStatus compile_product(Run *r, FraxError *err) {
    CudaProgram program = {.program.graph = graph_create("product", "cufft.c")};
    CudaImage image = {0};
    FraxStatus status = program.program.graph ? FRAX_OK : fail_memory(err, "the product");
    text_printf(&program.source, text, (unsigned long long)(r->c->rows * r->bins),
                (unsigned long long)r->bins);
    if (!status) status = cuda_compile(&program, r->device, true, &image, err);
    const CudaDriver *cu = r->device->cu;
    int result = status ? 0 : cu->module_load(&r->module, image.data);
    if (!status && !result) result = cu->module_function(&r->product, r->module, "product");
    mem_free(image.data);
    text_free(&program.source);
    graph_destroy((Graph *)program.program.graph);
    return result ? cuda_fail(cu, result, err, "cuFFT: the kernel between its transforms") : status;
}

static void *pointer(CudaAddress address) {
    return (void *)(uintptr_t)address; /* never followed on the host */
}

/* Forward or back, with a work area of ours; *work: its bytes. */
static int make_plan(Run *r, int inverse, size_t *work) {
    const Cufft *fft = r->library;
    long long n = r->c->n, real = n, half = r->bins, *from = inverse ? &half : &real,
              *to = inverse ? &real : &half;
    FftHandle *plan = &r->plans[inverse];
    int result = fft->create(plan);
    r->has_plan[inverse] = !result;
    if (!result) result = fft->set_auto_allocation(*plan, 0);
    if (!result)
        result = fft->make_plan(*plan, 1, &n, from, 1, *from, to, 1, *to, inverse ? FFT_C2R : FFT_R2C,
                                r->c->rows, work);
    return result ? result : fft->set_stream(*plan, r->stream);
}

/* The transforms follow one another: one work area is enough. */
static FraxStatus make_plans(Run *r, FraxError *err) {
    size_t work[2] = {0};
    int result = 0;
    for (int i = 0; i < 2 && !result; i++) result = make_plan(r, i, &work[i]);
    if (result) return fail(err, FRAX_INTERNAL, "cuFFT makes no plan (its status %d)", result);
    FraxStatus status =
        cuda_device_allocate(r->device, MAX(MAX(work[0], work[1]), 1), "cuFFT's work area", &r->work, err);
    for (int i = 0; i < 2 && !status && !result; i++)
        result = r->library->set_work_area(r->plans[i], pointer(r->work));
    return result ? fail(err, FRAX_INTERNAL, "cuFFT takes no work area (its status %d)", result) : status;
}

static FraxStatus make_memory(Run *r, const float *noise, FraxError *err) {
    const CudaDriver *cu = r->device->cu;
    size_t real = (size_t)(r->c->rows * r->c->n) * sizeof(float),
           half = (size_t)(r->c->rows * r->bins) * 2 * sizeof(float),
           table = (size_t)r->bins * 2 * sizeof(float);
    const struct {
        CudaAddress *address;
        size_t bytes;
    } wanted[] = {{&r->x, real}, {&r->z, half}, {&r->y, real}, {&r->k, table}};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(wanted) && !status; i++)
        status = cuda_device_allocate(r->device, wanted[i].bytes, "cuFFT's data", wanted[i].address, err);
    float *k = filter(r->c, r->bins);
    if (!status && !k) status = fail_memory(err, "the filter");
    int result = status ? 0 : cu->copy_to_device(r->x, noise, real, r->stream);
    if (!status && !result) result = cu->copy_to_device(r->k, k, table, r->stream);
    if (!status && !result) result = cu->stream_wait(r->stream);
    mem_free(k);
    return result ? cuda_fail(cu, result, err, "cuFFT: copying its data") : status;
}

static FraxStatus make(Run *r, const float *noise, FraxError *err) {
    const CudaDriver *cu = r->device->cu;
    int result = cu->stream_create(&r->stream, CUDA_STREAM_NON_BLOCKING);
    for (int i = 0; i < 2 && !result; i++) result = cu->event_create(&r->events[i], 0);
    if (result) return cuda_fail(cu, result, err, "cuFFT: a stream");
    FraxStatus status = make_memory(r, noise, err);
    if (!status) status = make_plans(r, err);
    return status ? status : compile_product(r, err);
}

/* The inverse transform may write over z. */
static FraxStatus enqueue(const Run *r, FraxError *err) {
    void *context[6] = {pointer(r->z), pointer(r->k)}, *scratch = NULL, *parameters[] = {context, &scratch};
    int64_t blocks = (r->c->rows * r->bins + THREADS - 1) / THREADS;
    int result = r->library->r2c(r->plans[0], pointer(r->x), pointer(r->z));
    if (result) return fail(err, FRAX_INTERNAL, "cuFFT: the transform fails (its status %d)", result);
    result = r->device->cu->launch(r->product, (unsigned)blocks, 1, 1, THREADS, 1, 1, 0, r->stream,
                                   parameters, NULL);
    if (result) return cuda_fail(r->device->cu, result, err, "cuFFT: the kernel between its transforms");
    result = r->library->c2r(r->plans[1], pointer(r->z), pointer(r->y));
    return result ? fail(err, FRAX_INTERNAL, "cuFFT: the inverse transform fails (its status %d)", result)
                  : FRAX_OK;
}

/* ---- Checking and timing ---- */

static FraxStatus check(const Run *r, FraxError *err) {
    const CudaDriver *cu = r->device->cu;
    FraxTensor type = {FRAX_F32, 2, {r->c->expected_rows, r->c->n}, NULL};
    size_t bytes = (size_t)(r->c->expected_rows * r->c->n) * sizeof(float);
    float *y = mem_alloc(bytes);
    FraxStatus status = y ? enqueue(r, err) : fail_memory(err, "the results");
    int result = status ? 0 : cu->copy_to_host(y, r->y, bytes, r->stream);
    if (!status && !result) result = cu->stream_wait(r->stream);
    if (result) status = cuda_fail(cu, result, err, "cuFFT: a run");
    if (!status) status = compare_arrays("y", &type, r->c->expected, y, "cuFFT", err);
    mem_free(y);
    return status;
}

static FraxStatus sample(const Run *r, size_t runs, double *result, FraxError *err) {
    const CudaDriver *cu = r->device->cu;
    float milliseconds = 0;
    FraxStatus status = FRAX_OK;
    int failed = cu->event_record(r->events[0], r->stream);
    for (size_t i = 0; i < runs && !failed && !status; i++) status = enqueue(r, err);
    if (!failed) failed = cu->event_record(r->events[1], r->stream);
    if (!failed) failed = cu->stream_wait(r->stream);
    if (!failed) failed = cu->event_elapsed(&milliseconds, r->events[0], r->events[1]);
    *result = 1e-3 * (double)milliseconds / (double)runs;
    return failed ? cuda_fail(cu, failed, err, "cuFFT: timing") : status;
}

static FraxStatus measure(GpuBench *b, const Run *r, double *result) {
    double times[MOST_SAMPLES];
    size_t n = samples_of(b), runs = 1;
    FraxStatus status = check(r, &b->err);
    for (int warm = 0; warm < 3 && !status; warm++) {
        status = sample(r, runs, result, &b->err);
        if (!status) runs = runs_of(b, *result);
    }
    for (size_t i = 0; i < n && !status; i++) status = sample(r, runs, &times[i], &b->err);
    if (!status) *result = median(times, n);
    return status;
}

static void release(const Run *r) {
    const CudaDriver *cu = r->device->cu;
    const CudaAddress memory[] = {r->x, r->z, r->y, r->k, r->work};
    if (r->stream) cu->stream_wait(r->stream);
    for (int i = 0; i < 2; i++) {
        if (r->has_plan[i]) r->library->destroy(r->plans[i]);
        if (r->events[i]) cu->event_destroy(r->events[i]);
    }
    for (size_t i = 0; i < COUNT(memory); i++)
        if (memory[i]) cu->memory_free(memory[i]);
    if (r->module) cu->module_unload(r->module);
    if (r->stream) cu->stream_destroy(r->stream);
}

FraxStatus time_cufft(GpuBench *b, const CufftCase *c, double *result) {
    Run r = {.device = &b->device, .c = c, .bins = c->n / 2 + 1, .library = cuda_fft(&b->err)};
    if (!r.library) return FRAX_UNSUPPORTED;
    FraxStatus status = cuda_device_enter(&b->device, &b->err);
    if (status) return status;
    status = make(&r, b->noise, &b->err);
    if (!status) status = measure(b, &r, result);
    release(&r);
    cuda_device_leave(&b->device);
    return status;
}
