/* fake_cufft.c — a libcufft.so that transforms on the CPU, in f64, on the streams of the fake driver. See
 * fake_cuda.h.
 *
 * It refuses what cuFFT's documentation excludes, and answers what that leaves undefined with NaN: spectra of
 * no real signal. A work area is written over by each transform, and so are the spectra that an inverse
 * transform read.
 */
#include "fake_library.h"
#include <complex.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

#define API __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    INVALID_PLAN = 1,
    ALLOC_FAILED = 2,
    INVALID_TYPE = 3,
    INVALID_VALUE = 4,
    EXEC_FAILED = 6,
    SETUP_FAILED = 7,
    INVALID_SIZE = 8,
    NO_WORKSPACE = 13
};
enum { R2C = 0x2a, C2R = 0x2c, D2Z = 0x6a, Z2D = 0x6c };
enum { MOST_PLANS = 256, MOST_AXES = 3 };

typedef double complex Complex;

/* Real rows and halved spectra with their strides; all that a transform needs, copied when it is launched. */
typedef struct Plan {
    bool exists, is_made, allocates;
    int type, rank;
    long long n[MOST_AXES], real_embed[MOST_AXES], half_embed[MOST_AXES];
    long long real_step, real_apart, half_step, half_apart, batch;
    size_t work_bytes;
    void *work, *stream;
    const void *from;
    void *to;
} Plan;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Plan plans[MOST_PLANS];
static long started;

static bool is_inverse(const Plan *p) {
    return p->type == C2R || p->type == Z2D;
}

static size_t real_bytes(const Plan *p) {
    return p->type == R2C || p->type == C2R ? 4 : 8;
}

/* ---- Plans ---- */

static long setting(const char *name) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : 0;
}

static int fault(const char *call) {
    return asked_fault("FAKE_CUFFT_FAIL", call);
}

static Plan *find(int handle) {
    return handle > 0 && handle < MOST_PLANS && plans[handle].exists ? &plans[handle] : NULL;
}

static int answer(int result) {
    pthread_mutex_unlock(&lock);
    return result;
}

API int cufftGetVersion(int *version) {
    long chosen = setting("FAKE_CUFFT_VERSION");
    *version = chosen ? (int)chosen : 12000;
    return SUCCESS;
}

/* Transforms of rows that were started since the start. */
API long fake_cufft_count(void) {
    return started;
}

API int cufftCreate(int *handle) {
    int i = 1, failed = fault("cufftCreate");
    if (failed) return failed;
    if (!holds(NULL, 0)) return SETUP_FAILED; /* no context */
    pthread_mutex_lock(&lock);
    while (i < MOST_PLANS && plans[i].exists) i++;
    if (i == MOST_PLANS) return answer(ALLOC_FAILED);
    plans[i] = (Plan){.exists = true, .allocates = true};
    *handle = i;
    count(1);
    return answer(SUCCESS);
}

API int cufftDestroy(int handle) {
    pthread_mutex_lock(&lock);
    Plan *p = find(handle);
    if (!p) return answer(INVALID_PLAN);
    *p = (Plan){0};
    count(-1);
    return answer(SUCCESS);
}

API int cufftSetAutoAllocation(int handle, int allocates) {
    pthread_mutex_lock(&lock);
    Plan *p = find(handle);
    if (!p || p->is_made) return answer(INVALID_PLAN);
    p->allocates = allocates;
    return answer(SUCCESS);
}

API int cufftSetStream(int handle, void *stream) {
    pthread_mutex_lock(&lock);
    Plan *p = find(handle);
    if (p) p->stream = stream;
    return answer(p ? SUCCESS : INVALID_PLAN);
}

/* Elements that an array of these embeddings spans, up to its last row's last element. */
static long long span(const Plan *p, const long long *embed, long long step, long long apart) {
    long long elements = 1;
    for (int i = 0; i < p->rank; i++) elements *= embed[i];
    return (p->batch - 1) * apart + (elements - 1) * step + 1;
}

static bool embeds(const Plan *p, const long long *embed, bool halved) {
    for (int i = 1; i < p->rank; i++)
        if (embed[i] < (halved && i == p->rank - 1 ? p->n[i] / 2 + 1 : p->n[i])) return false;
    return true;
}

API int cufftMakePlanMany64(int handle, int rank, long long *n, long long *inembed, long long istride,
                            long long idist, long long *onembed, long long ostride, long long odist, int type,
                            long long batch, size_t *work) {
    pthread_mutex_lock(&lock);
    Plan *p = find(handle);
    int failed = fault("cufftMakePlanMany64");
    if (failed) return answer(failed);
    if (!p || p->is_made || p->allocates) return answer(INVALID_PLAN);
    if (rank < 1 || rank > MOST_AXES || batch < 1 || !inembed || !onembed) return answer(INVALID_SIZE);
    if (type != R2C && type != C2R && type != D2Z && type != Z2D) return answer(INVALID_TYPE);
    p->type = type;
    p->rank = rank;
    p->batch = batch;
    bool inverse = is_inverse(p);
    for (int i = 0; i < rank; i++) {
        if (n[i] < 1) return answer(INVALID_SIZE);
        p->n[i] = n[i];
        p->real_embed[i] = (inverse ? onembed : inembed)[i];
        p->half_embed[i] = (inverse ? inembed : onembed)[i];
    }
    p->real_step = inverse ? ostride : istride;
    p->real_apart = inverse ? odist : idist;
    p->half_step = inverse ? istride : ostride;
    p->half_apart = inverse ? idist : odist;
    if (p->real_step < 1 || p->half_step < 1 || !embeds(p, p->real_embed, false) ||
        !embeds(p, p->half_embed, true))
        return answer(INVALID_SIZE);
    p->work_bytes = 2 * real_bytes(p) * (size_t)span(p, p->half_embed, 1, p->half_apart);
    p->is_made = true;
    *work = p->work_bytes;
    return answer(SUCCESS);
}

API int cufftGetSize(int handle, size_t *work) {
    pthread_mutex_lock(&lock);
    Plan *p = find(handle);
    if (!p || !p->is_made) return answer(INVALID_PLAN);
    *work = p->work_bytes;
    return answer(SUCCESS);
}

API int cufftSetWorkArea(int handle, void *work) {
    pthread_mutex_lock(&lock);
    Plan *p = find(handle);
    int failed = fault("cufftSetWorkArea");
    if (failed) return answer(failed);
    if (!p || !p->is_made) return answer(INVALID_PLAN);
    if (!holds(work, p->work_bytes)) return answer(INVALID_VALUE);
    p->work = work;
    return answer(SUCCESS);
}

/* ---- Transforms ---- */

static long long smallest_factor(long long n) {
    for (long long f = 2; f * f <= n; f++)
        if (n % f == 0) return f;
    return n;
}

/* out_k = Σ x_j w^{jk} over n elements `step` apart; w is root_1 of n·stride, roots[i] = w^{i/stride}. */
static void mixed_radix(const Complex *x, long long step, long long n, const Complex *roots, long long total,
                        Complex *out) {
    if (n == 1) {
        out[0] = x[0];
        return;
    }
    long long radix = smallest_factor(n), m = n / radix, turn = total / n;
    Complex *parts = malloc(sizeof *parts * (size_t)n);
    for (long long q = 0; q < radix; q++)
        mixed_radix(x + q * step, step * radix, m, roots, total, parts + q * m);
    for (long long k = 0; k < n; k++) {
        out[k] = 0;
        for (long long q = 0; q < radix; q++) out[k] += parts[q * m + k % m] * roots[q * k % n * turn];
    }
    free(parts);
}

/* In place, elements `step` apart. */
static void transform(Complex *x, long long step, long long n, bool inverse) {
    Complex *roots = malloc(sizeof *roots * (size_t)n), *out = malloc(sizeof *out * (size_t)n);
    for (long long i = 0; i < n; i++) {
        double angle = (inverse ? 2 : -2) * 3.14159265358979323846 * (double)i / (double)n;
        roots[i] = cos(angle) + I * sin(angle);
    }
    mixed_radix(x, step, n, roots, n, out);
    for (long long i = 0; i < n; i++) x[i * step] = out[i];
    free(roots);
    free(out);
}

/* All axes of a dense box of whole spectra. */
static void transform_box(const Plan *p, Complex *box, long long points, bool inverse) {
    long long step = points;
    for (int axis = 0; axis < p->rank; axis++) {
        long long n = p->n[axis];
        step /= n;
        for (long long i = 0; i < points; i++)
            if (i / step % n == 0) transform(box + i, step, n, inverse);
    }
}

/* Place of element `i` of a dense box in an embedded array. */
static long long place(const Plan *p, const long long *embed, long long step, long long i) {
    long long at = 0, index[MOST_AXES];
    for (int a = p->rank - 1; a >= 0; a--) {
        index[a] = i % p->n[a];
        i /= p->n[a];
    }
    for (int a = 0; a < p->rank; a++) at = (a ? at * embed[a] : 0) + index[a];
    return at * step;
}

static long long conjugate_of(const Plan *p, long long i) {
    long long at = 0, step = 1;
    for (int a = p->rank - 1; a >= 0; a--) {
        at += (p->n[a] - i % p->n[a]) % p->n[a] * step;
        step *= p->n[a];
        i /= p->n[a];
    }
    return at;
}

static double get(const void *array, size_t bytes, long long i) {
    return bytes == 4 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static void put(void *array, size_t bytes, long long i, double v) {
    if (bytes == 4)
        ((float *)array)[i] = (float)v;
    else
        ((double *)array)[i] = v;
}

static void forward_row(const Plan *p, long long row, long long points, Complex *box) {
    size_t bytes = real_bytes(p);
    for (long long i = 0; i < points; i++)
        box[i] = get(p->from, bytes, row * p->real_apart + place(p, p->real_embed, p->real_step, i));
    transform_box(p, box, points, false);
    for (long long i = 0; i < points; i++) {
        if (i % p->n[p->rank - 1] > p->n[p->rank - 1] / 2) continue;
        long long at = row * p->half_apart + place(p, p->half_embed, p->half_step, i);
        put(p->to, bytes, 2 * at, creal(box[i]));
        put(p->to, bytes, 2 * at + 1, cimag(box[i]));
    }
}

/* Is this half of a spectrum one of a real signal, up to rounding? */
static bool is_hermitian(const Plan *p, const Complex *box, long long points) {
    long long last = p->n[p->rank - 1];
    double largest = 0, off = 0;
    for (long long i = 0; i < points; i++) {
        long long column = i % last;
        if (column <= last / 2) largest = fmax(largest, cabs(box[i]));
        if (column == 0 || 2 * column == last) off = fmax(off, cabs(box[i] - conj(box[conjugate_of(p, i)])));
    }
    return off <= largest * (real_bytes(p) == 4 ? 1e-5 : 1e-13);
}

static void inverse_row(const Plan *p, long long row, long long points, Complex *box) {
    size_t bytes = real_bytes(p);
    long long last = p->n[p->rank - 1];
    for (long long i = 0; i < points; i++) {
        if (i % last > last / 2) continue;
        long long at = row * p->half_apart + place(p, p->half_embed, p->half_step, i);
        box[i] = get(p->from, bytes, 2 * at) + I * get(p->from, bytes, 2 * at + 1);
        put((void *)p->from, bytes, 2 * at, NAN);
        put((void *)p->from, bytes, 2 * at + 1, NAN);
    }
    bool finite = is_hermitian(p, box, points);
    for (long long i = 0; i < points; i++)
        if (i % last > last / 2) box[i] = conj(box[conjugate_of(p, i)]);
    transform_box(p, box, points, true);
    for (long long i = 0; i < points; i++)
        put(p->to, bytes, row * p->real_apart + place(p, p->real_embed, p->real_step, i),
            finite ? creal(box[i]) : NAN);
}

static void run(const void *data) {
    Plan p;
    long long points = 1;
    memcpy(&p, data, sizeof p);
    memset(p.work, 0xff, p.work_bytes);
    for (int i = 0; i < p.rank; i++) points *= p.n[i];
    Complex *box = malloc(sizeof *box * (size_t)points);
    for (long long row = 0; row < p.batch; row++)
        (is_inverse(&p) ? inverse_row : forward_row)(&p, row, points, box);
    free(box);
}

static const char *type_name(int type) {
    return type == R2C   ? "cufftExecR2C"
           : type == C2R ? "cufftExecC2R"
           : type == D2Z ? "cufftExecD2Z"
                         : "cufftExecZ2D";
}

static int enqueue(const Plan *p) {
    void *function = of_driver("fake_cuda_enqueue");
    FakeEnqueue *work;
    memcpy(&work, &function, sizeof work);
    started += p->batch;
    return work(p->stream, type_name(p->type), run, p, sizeof *p);
}

static int execute(int handle, int type, const void *from, void *to) {
    pthread_mutex_lock(&lock);
    Plan *found = find(handle), p;
    int failed = fault(type_name(type));
    if (failed) return answer(failed);
    if (!found || !found->is_made) return answer(INVALID_PLAN);
    p = *found;
    if (p.type != type) return answer(INVALID_TYPE);
    if (p.work_bytes && !p.work) return answer(NO_WORKSPACE);
    const void *real = is_inverse(&p) ? to : from, *half = is_inverse(&p) ? from : to;
    size_t bytes = real_bytes(&p),
           real_span = bytes * (size_t)span(&p, p.real_embed, p.real_step, p.real_apart),
           half_span = 2 * bytes * (size_t)span(&p, p.half_embed, p.half_step, p.half_apart);
    if ((uintptr_t)real % (2 * bytes) || (uintptr_t)half % (2 * bytes) || !holds(real, real_span) ||
        !holds(half, half_span))
        return answer(INVALID_VALUE);
    p.from = from;
    p.to = to;
    return answer(enqueue(&p) ? EXEC_FAILED : SUCCESS);
}

API int cufftExecR2C(int handle, float *from, void *to) {
    return execute(handle, R2C, from, to);
}

API int cufftExecC2R(int handle, void *from, float *to) {
    return execute(handle, C2R, from, to);
}

API int cufftExecD2Z(int handle, double *from, void *to) {
    return execute(handle, D2Z, from, to);
}

API int cufftExecZ2D(int handle, void *from, double *to) {
    return execute(handle, Z2D, from, to);
}
