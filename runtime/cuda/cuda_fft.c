/* cuda_fft.c — see cuda_fft.h. */
#include "cuda_fft.h"

/* Plans differ in what they transform, not in where it lies. */
typedef struct Plan {
    CudaTransform shape;
    FftHandle handle;
} Plan;

struct CudaFft {
    const Cufft *library;
    Plan *plans;
    size_t nplans;
    size_t *plan_of; /* by launch */
    size_t work_bytes;
};

static const char *words_of(int result) {
    static const char *const words[] = {[1] = "the plan is invalid",
                                        [2] = "device memory is exhausted",
                                        [3] = "invalid type",
                                        [4] = "invalid value",
                                        [5] = "internal error",
                                        [6] = "the GPU cannot execute it",
                                        [7] = "the library cannot start",
                                        [8] = "a length that it does not transform",
                                        [9] = "unaligned data",
                                        [11] = "invalid device",
                                        [13] = "no work area",
                                        [14] = "not implemented",
                                        [16] = "not supported",
                                        [17] = "a library that it needs is missing",
                                        [18] = "NVRTC fails within it",
                                        [19] = "nvJitLink fails within it"};
    bool known = result > 0 && (size_t)result < COUNT(words) && words[result];
    return known ? words[result] : "an error without a description";
}

static void print_shape(const CudaTransform *t, Text *out) {
    text_printf(out, "%lld row%s of ", (long long)t->rows, t->rows == 1 ? "" : "s");
    for (int i = 0; i < t->rank; i++) text_printf(out, "%s%lld", i ? " x " : "", (long long)t->dims[i]);
    text_printf(out, " %s samples", frax_dtype_name(t->dtype));
}

static FraxStatus status_of(int result) {
    bool unable = result == FFT_INVALID_SIZE || result == FFT_NOT_IMPLEMENTED || result == FFT_NOT_SUPPORTED;
    return result == FFT_ALLOC_FAILED ? FRAX_MEMORY : unable ? FRAX_UNSUPPORTED : FRAX_INTERNAL;
}

static FraxStatus fail_fft(const CudaExecutable *exe, const CudaLaunch *l, int result, const char *what,
                           FraxError *err) {
    int version = exe->fft->library->version;
    char left[64] = "";
    Text shape = {0};
    print_shape(&l->transform, &shape);
    if (result == FFT_ALLOC_FAILED)
        snprintf(left, sizeof left, "; %zu of %zu bytes are free", cuda_device_free_memory(&exe->device),
                 exe->device.memory);
    FraxStatus status = fail(err, status_of(result),
                             "CUDA: kernel %s of %s: cuFFT %d.%d.%d %s of %s: %s (its error %d)%s; "
                             "FRAX_CUFFT=none does without",
                             l->name, exe->graph->name, version / 1000, version % 1000 / 100, version % 100,
                             what, shape.failed ? "rows" : shape.data, words_of(result), result, left);
    text_free(&shape);
    return status;
}

/* Asked for a plan, cuFFT may call a shape that it has no kernels for an internal error: a refusal, too. */
static FraxStatus fail_plan(const CudaExecutable *exe, const CudaLaunch *l, int result, FraxError *err) {
    FraxStatus status = fail_fft(exe, l, result, "makes no plan", err);
    if (result != FFT_INTERNAL_ERROR) return status;
    if (err) err->status = FRAX_UNSUPPORTED;
    return FRAX_UNSUPPORTED;
}

/* ---- Plans ---- */

static bool same_plan(const CudaTransform *a, const CudaTransform *b) {
    bool same = a->dtype == b->dtype && a->rank == b->rank && a->rows == b->rows && a->inverse == b->inverse;
    for (int i = 0; i < a->rank; i++) same = same && a->dims[i] == b->dims[i];
    return same;
}

static int type_of(const CudaTransform *t) {
    if (t->dtype == FRAX_F32) return t->inverse ? FFT_C2R : FFT_R2C;
    return t->inverse ? FFT_Z2D : FFT_D2Z;
}

/* Dense rows and spectra. */
static int make_plan(const Cufft *library, const CudaTransform *t, FftHandle handle, size_t *work) {
    long long n[3], half[3], points = 1, bins = 1;
    for (int i = 0; i < t->rank; i++) {
        n[i] = half[i] = t->dims[i];
        if (i == t->rank - 1) half[i] = t->dims[i] / 2 + 1;
        points *= n[i];
        bins *= half[i];
    }
    long long *from = t->inverse ? half : n, *to = t->inverse ? n : half;
    return library->make_plan(handle, t->rank, n, from, 1, t->inverse ? bins : points, to, 1,
                              t->inverse ? points : bins, type_of(t), t->rows, work);
}

/* With a work area of ours, so that all plans share one and none is allocated behind the memory plan. */
static FraxStatus add_plan(CudaExecutable *exe, const CudaLaunch *l, FraxError *err) {
    CudaFft *fft = exe->fft;
    Plan *plan = &fft->plans[fft->nplans];
    size_t work = 0;
    int result = fft->library->create(&plan->handle);
    if (result) return fail_plan(exe, l, result, err);
    plan->shape = l->transform;
    fft->nplans++;
    result = fft->library->set_auto_allocation(plan->handle, 0);
    if (!result) result = make_plan(fft->library, &l->transform, plan->handle, &work);
    if (!result) result = fft->library->get_size(plan->handle, &work);
    if (!result) result = fft->library->set_stream(plan->handle, exe->stream);
    fft->work_bytes = MAX(fft->work_bytes, work);
    return result ? fail_plan(exe, l, result, err) : FRAX_OK;
}

static FraxStatus plan_launch(CudaExecutable *exe, size_t i, FraxError *err) {
    const CudaLaunch *l = &exe->program.launches[i];
    CudaFft *fft = exe->fft;
    size_t p = 0;
    while (p < fft->nplans && !same_plan(&fft->plans[p].shape, &l->transform)) p++;
    fft->plan_of[i] = p;
    return p < fft->nplans ? FRAX_OK : add_plan(exe, l, err);
}

FraxStatus cuda_fft_open(CudaExecutable *exe, FraxError *err) {
    size_t n = exe->program.nlaunches, transforms = 0;
    for (size_t i = 0; i < n; i++) transforms += exe->program.launches[i].kind == CUDA_TRANSFORM;
    const Cufft *library = transforms ? cuda_fft(err) : NULL;
    if (!library) return transforms ? FRAX_UNSUPPORTED : FRAX_OK;
    CudaFft *fft = exe->fft = mem_calloc(1, sizeof *fft);
    if (!fft) return fail_memory(err, "cuFFT's plans");
    fft->library = library;
    fft->plans = mem_calloc(transforms, sizeof *fft->plans);
    fft->plan_of = mem_calloc(n, sizeof *fft->plan_of);
    return fft->plans && fft->plan_of ? FRAX_OK : fail_memory(err, "cuFFT's plans");
}

FraxStatus cuda_fft_create(CudaExecutable *exe, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; exe->fft && i < exe->program.nlaunches && !status; i++)
        if (exe->program.launches[i].kind == CUDA_TRANSFORM) status = plan_launch(exe, i, err);
    return status;
}

size_t cuda_fft_bytes(const CudaExecutable *exe) {
    return exe->fft ? exe->fft->work_bytes : 0;
}

FraxStatus cuda_fft_place(CudaExecutable *exe, CudaAddress work, FraxError *err) {
    const CudaFft *fft = exe->fft;
    for (size_t i = 0; fft && i < exe->program.nlaunches; i++) {
        const CudaLaunch *l = &exe->program.launches[i];
        if (l->kind != CUDA_TRANSFORM) continue;
        int result = fft->library->set_work_area(fft->plans[fft->plan_of[i]].handle, cuda_pointer(work));
        if (result) return fail_fft(exe, l, result, "takes no work area for its plan", err);
    }
    return FRAX_OK;
}

void cuda_fft_destroy(CudaExecutable *exe) {
    CudaFft *fft = exe->fft;
    if (!fft) return;
    for (size_t p = 0; p < fft->nplans; p++) fft->library->destroy(fft->plans[p].handle);
    mem_free(fft->plans);
    mem_free(fft->plan_of);
    mem_free(fft);
    exe->fft = NULL;
}

/* ---- Launches ---- */

FraxStatus cuda_fft_launch(CudaExecutable *exe, size_t i, FraxError *err) {
    const CudaLaunch *l = &exe->program.launches[i];
    const Cufft *library = exe->fft->library;
    FftHandle plan = exe->fft->plans[exe->fft->plan_of[i]].handle;
    void *signal = cuda_pointer(cuda_value_address(exe, l->transform.signal) + l->transform.offset),
         *spectra = cuda_pointer((uintptr_t)exe->context.workspace + l->transform.spectra);
    int result;
    switch (type_of(&l->transform)) {
    case FFT_R2C: result = library->r2c(plan, signal, spectra); break;
    case FFT_C2R: result = library->c2r(plan, spectra, signal); break;
    case FFT_D2Z: result = library->d2z(plan, signal, spectra); break;
    default: result = library->z2d(plan, spectra, signal);
    }
    return result ? fail_fft(exe, l, result, "does not run its transform", err) : FRAX_OK;
}
