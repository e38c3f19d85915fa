/* fftw_rows.h — what fftw.c does with rows, for one precision: included once for each, with REAL the element
 * type, FFT(name) FFTW's function of that precision, and AS(name) a name of its own for ours.
 *
 * guru: two real rows are the planes of one complex transform, so nothing is packed; blocks of pairs that fit
 * in a cache go from x to y before the next. naive: every step runs over all rows before the next step.
 */

/* ---- Plans ---- */

static bool AS(plan_guru)(Baseline *b, REAL *rows, REAL *planes) {
    int64_t len = b->length, plane = b->plane;
    fftw_iodim64 dim = {len, 1, 1}, in = {b->block, 2 * len, len}, out = {b->block, len, 2 * len};
    b->forward =
        FFT(plan_guru64_split_dft)(1, &dim, 1, &in, rows, rows + len, planes, planes + plane, FFTW_PATIENT);
    /* The inverse is the forward transform with the planes exchanged on both sides. */
    b->inverse = FFT(plan_guru64_split_dft)(1, &dim, 1, &out, planes + plane, planes, rows + len, rows,
                                            FFTW_PATIENT | FFTW_DESTROY_INPUT);
    return b->forward && b->inverse;
}

static bool AS(plan_naive)(Baseline *b, REAL *rows, REAL *spectra) {
    int64_t len = b->length;
    fftw_iodim64 dim = {len, 1, 1}, in = {b->block, len, b->bins}, out = {b->block, b->bins, len};
    b->forward = FFT(plan_guru64_dft_r2c)(1, &dim, 1, &in, rows, (void *)spectra, FFTW_PATIENT);
    b->inverse =
        FFT(plan_guru64_dft_c2r)(1, &dim, 1, &out, (void *)spectra, rows, FFTW_PATIENT | FFTW_DESTROY_INPUT);
    return b->forward && b->inverse;
}

/* Planning overwrites its arrays: it has some of its own. */
static FraxStatus AS(plan)(Baseline *b, FraxError *err) {
    size_t size = sizeof(REAL);
    REAL *rows = mem_aligned((size_t)(2 * b->block * b->length) * size);
    REAL *spectra = mem_aligned((size_t)(2 * MAX(b->plane, b->block * b->bins)) * size);
    FraxStatus status = rows && spectra ? FRAX_OK : fail_memory(err, "planning with FFTW");
    FFT(set_timelimit)(FFTW_NO_TIMELIMIT);
    if (!status && !(b->kind == GURU ? AS(plan_guru) : AS(plan_naive))(b, rows, spectra))
        status = fail(err, FRAX_UNSUPPORTED, "FFTW has no plan for %lld points", (long long)b->length);
    mem_free(rows);
    mem_free(spectra);
    return status;
}

/* K and its derivative by the order, over the length: as planes of all bins, or interleaved for half of them
   with the derivative counting the other half. */
static void AS(fill_symbol)(const Baseline *b, double (*k)[2], bool derivative, REAL *out) {
    int64_t len = b->length;
    double scale = 1 / (double)len;
    for (int64_t i = 0; i < (b->kind == GURU ? len : b->bins); i++) {
        bool upper = i >= b->bins;
        const double *v = k[upper ? len - i : i];
        double twice = b->kind == NAIVE && derivative && i > 0 && 2 * i < len ? 2 : 1;
        int64_t re = b->kind == GURU ? i : 2 * i, im = b->kind == GURU ? i + len : 2 * i + 1;
        out[re] = (REAL)(twice * scale * v[0]);
        out[im] = (REAL)(twice * scale * (upper ? -v[1] : v[1]));
    }
}

static void AS(fill_symbols)(const Baseline *b, double (*k)[2], double (*dk)[2]) {
    AS(fill_symbol)(b, k, false, b->k);
    AS(fill_symbol)(b, dk, true, b->dk);
}

/* ---- Arithmetic between the transforms ---- */

/* to = K from, for the block's pairs. */
static void AS(multiply_planes)(const Baseline *b, const REAL *from, REAL *to) {
    int64_t len = b->length, plane = b->plane;
    const REAL *kr = b->k, *ki = kr + len;
    for (int64_t p = 0; p < b->block; p++, from += len, to += len)
#pragma omp simd
        for (int64_t i = 0; i < len; i++) {
            REAL re = from[i], im = from[i + plane];
            to[i] = kr[i] * re - ki[i] * im;
            to[i + plane] = kr[i] * im + ki[i] * re;
        }
}

/* g = conj(K) g, and what these pairs add to the gradient in the order. */
static double AS(adjoint_planes)(const Baseline *b, const REAL *x, REAL *g) {
    int64_t len = b->length, plane = b->plane;
    const REAL *kr = b->k, *ki = kr + len, *dr = b->dk, *di = dr + len;
    double total = 0;
    for (int64_t p = 0; p < b->block; p++, x += len, g += len) {
        REAL sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < len; i++) {
            REAL re = g[i], im = g[i + plane];
            sum += re * (dr[i] * x[i] - di[i] * x[i + plane]) + im * (dr[i] * x[i + plane] + di[i] * x[i]);
            g[i] = kr[i] * re + ki[i] * im;
            g[i + plane] = kr[i] * im - ki[i] * re;
        }
        total += (double)sum;
    }
    return total;
}

static void AS(multiply_row)(const Baseline *b, const REAL *from, REAL *to) {
    const REAL *k = b->k;
#pragma omp simd
    for (int64_t i = 0; i < b->bins; i++) {
        REAL re = from[2 * i], im = from[2 * i + 1];
        to[2 * i] = k[2 * i] * re - k[2 * i + 1] * im;
        to[2 * i + 1] = k[2 * i] * im + k[2 * i + 1] * re;
    }
}

static double AS(adjoint_row)(const Baseline *b, const REAL *x, REAL *g) {
    const REAL *k = b->k, *d = b->dk;
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < b->bins; i++) {
        REAL re = g[2 * i], im = g[2 * i + 1], xr = x[2 * i], xi = x[2 * i + 1];
        sum += re * (d[2 * i] * xr - d[2 * i + 1] * xi) + im * (d[2 * i] * xi + d[2 * i + 1] * xr);
        g[2 * i] = k[2 * i] * re + k[2 * i + 1] * im;
        g[2 * i + 1] = k[2 * i] * im - k[2 * i + 1] * re;
    }
    return (double)sum;
}

/* The loss mean(y²) and g = its gradient in y. */
static void AS(loss)(Baseline *b) {
    int64_t n = b->spec.rows * b->spec.n;
    const REAL *y = b->y;
    REAL *g = b->g, factor = (REAL)(2 / (double)n);
    double total = 0;
#pragma omp parallel for num_threads(b->spec.threads) if (b->spec.threads > 1) reduction(+ : total)
    for (int64_t begin = 0; begin < n; begin += LOSS_BLOCK) {
        REAL sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < MIN(n, begin + LOSS_BLOCK); i++) {
            sum += y[i] * y[i];
            g[i] = factor * y[i];
        }
        total += (double)sum;
    }
    b->loss = total / (double)n;
}

/* ---- guru ---- */

static REAL *AS(scratch)(const Baseline *b) {
    return (REAL *)b->scratch + (int64_t)omp_get_thread_num() * b->scratch_length;
}

/* Rows of n samples stand in rows of 2 n whose second half stays zero. */
static const REAL *AS(padded)(const Baseline *b, const REAL *x, REAL *rows) {
    int64_t n = b->spec.n;
    for (int64_t r = 0; r < 2 * b->block; r++)
        memcpy(rows + r * b->length, x + r * n, (size_t)n * sizeof(REAL));
    return rows;
}

static void AS(guru_forward)(const Baseline *b, int64_t block) {
    int64_t n = b->spec.n, len = b->length, plane = b->plane, first = 2 * b->block * block * n;
    REAL *work = AS(scratch)(b), *in = work + 2 * plane, *out = in + 2 * b->block * len;
    REAL *spectrum = b->spec.gradient ? (REAL *)b->spectra + 2 * plane * block : work;
    const REAL *x = (const REAL *)b->x + first;
    REAL *y = (REAL *)b->y + first, *to = b->spec.causal ? out : y;
    if (b->spec.causal) x = AS(padded)(b, x, in);
    FFT(execute_split_dft)(b->forward, (REAL *)x, (REAL *)x + len, spectrum, spectrum + plane);
    AS(multiply_planes)(b, spectrum, work);
    FFT(execute_split_dft)(b->inverse, work + plane, work, to + len, to);
    for (int64_t r = 0; b->spec.causal && r < 2 * b->block; r++)
        memcpy(y + r * n, out + r * len, (size_t)n * sizeof(REAL));
}

static double AS(guru_backward)(const Baseline *b, int64_t block) {
    int64_t len = b->length, plane = b->plane, first = 2 * b->block * block * len;
    REAL *work = AS(scratch)(b), *g = (REAL *)b->g + first, *dx = (REAL *)b->dx + first;
    FFT(execute_split_dft)(b->forward, g, g + len, work, work + plane);
    double slope = AS(adjoint_planes)(b, (const REAL *)b->spectra + 2 * plane * block, work);
    FFT(execute_split_dft)(b->inverse, work + plane, work, dx + len, dx);
    return slope;
}

static void AS(guru)(Baseline *b) {
    int64_t blocks = b->spec.rows / (2 * b->block);
    double slope = 0;
#pragma omp parallel for num_threads(b->spec.threads) if (b->spec.threads > 1)
    for (int64_t i = 0; i < blocks; i++) AS(guru_forward)(b, i);
    if (!b->spec.gradient) return;
    AS(loss)(b);
#pragma omp parallel for num_threads(b->spec.threads) if (b->spec.threads > 1) reduction(+ : slope)
    for (int64_t i = 0; i < blocks; i++) slope += AS(guru_backward)(b, i);
    b->slope = slope;
}

/* ---- naive ---- */

static void AS(transform)(const Baseline *b, bool inverse, REAL *rows, REAL *spectra) {
    int64_t parts = b->spec.rows / b->block, row = b->block * b->length, spectrum = 2 * b->block * b->bins;
#pragma omp parallel for num_threads(b->spec.threads) if (b->spec.threads > 1)
    for (int64_t i = 0; i < parts; i++)
        if (inverse)
            FFT(execute_dft_c2r)(b->inverse, (void *)(spectra + i * spectrum), rows + i * row);
        else
            FFT(execute_dft_r2c)(b->forward, rows + i * row, (void *)(spectra + i * spectrum));
}

static void AS(naive)(Baseline *b) {
    int64_t rows = b->spec.rows, stride = 2 * b->bins;
    REAL *x = b->spectra, *product = b->spec.gradient ? b->products : b->spectra;
    double slope = 0;
    AS(transform)(b, false, (REAL *)b->x, x);
#pragma omp parallel for num_threads(b->spec.threads) if (b->spec.threads > 1)
    for (int64_t r = 0; r < rows; r++) AS(multiply_row)(b, x + r * stride, product + r * stride);
    AS(transform)(b, true, b->y, product);
    if (!b->spec.gradient) return;
    AS(loss)(b);
    AS(transform)(b, false, b->g, product);
#pragma omp parallel for num_threads(b->spec.threads) if (b->spec.threads > 1) reduction(+ : slope)
    for (int64_t r = 0; r < rows; r++) slope += AS(adjoint_row)(b, x + r * stride, product + r * stride);
    AS(transform)(b, true, b->dx, product);
    b->slope = slope;
}

static void AS(destroy_plans)(Baseline *b) {
    if (b->forward) FFT(destroy_plan)(b->forward);
    if (b->inverse) FFT(destroy_plan)(b->inverse);
}
