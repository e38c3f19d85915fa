/* fft_long_passes.h — the passes of fft_long.c for one precision: included once for each, with REAL the
 * element type, FFT(name) FFTW's function of that precision, and AS(name) a name of its own for ours.
 */

typedef struct AS(Point) {
    REAL re, im;
} AS(Point);

/* ---- Plans and tables ---- */

static bool AS(plan_lines)(LongFft *fft) {
    void *work = scratch_take(&fft->scratch), *other = (char *)work + buffer_bytes(fft);
    bool good = true;
    FFT(set_timelimit)(measuring_time);
    for (int i = 0; i < 2; i++) {
        int sign = i ? FFTW_BACKWARD : FFTW_FORWARD;
        fft->column_plans[i] = FFT(plan_dft_1d)((int)fft->rows, work, other, sign, FFTW_MEASURE);
        fft->row_plans[i] = FFT(plan_dft_1d)((int)fft->columns, work, other, sign, FFTW_MEASURE);
        good = good && fft->column_plans[i] && fft->row_plans[i];
    }
    scratch_give(&fft->scratch, work);
    return good;
}

static void AS(drop_plans)(LongFft *fft) {
    for (int i = 0; i < 2; i++) {
        if (fft->column_plans[i]) FFT(destroy_plan)(fft->column_plans[i]);
        if (fft->row_plans[i]) FFT(destroy_plan)(fft->row_plans[i]);
    }
}

/* ---- Between a matrix and a block of its lanes, each of which becomes a line of the buffer ---- */

/* Lines of the cache that will be read or written soon; the hardware does not foresee such strides. */
static inline void AS(announce)(const AS(Point) * at, int count, bool written) {
    for (int i = 0; i < count; i += 64 / (int)sizeof *at)
        if (written)
            __builtin_prefetch(at + i, 1);
        else
            __builtin_prefetch(at + i, 0);
}

static void AS(take)(const LongFft *fft, const AS(Point) * matrix, const Lanes *l, AS(Point) * lines) {
    for (int64_t tile = 0; tile < l->length; tile += TILE) {
        for (int64_t i = tile + AHEAD; i < tile + AHEAD + TILE; i++)
            AS(announce)(matrix + l->first + i * l->stride, l->count, false);
        for (int lane = 0; lane < l->count; lane++) {
            const AS(Point) *from = matrix + l->first + lane;
            AS(Point) *to = lines + lane * fft->pitch;
            for (int64_t i = tile; i < MIN(tile + TILE, l->length); i++) to[i] = from[i * l->stride];
        }
    }
}

static void AS(put)(const LongFft *fft, const AS(Point) * lines, const Lanes *l, AS(Point) * matrix) {
    for (int64_t tile = 0; tile < l->length; tile += TILE)
        for (int64_t i = tile; i < MIN(tile + TILE, l->length); i++) {
            const AS(Point) *from = lines + i;
            AS(Point) *to = matrix + i * l->stride + l->first;
            AS(announce)(to + AHEAD * l->stride, l->count, true);
            for (int lane = 0; lane < l->count; lane++) to[lane] = from[lane * fft->pitch];
        }
}

/* ---- Columns ---- */

/* x[r] · roots[r] · turns[r], the product of the two conjugated where sign is −1. */
FOR_EACH_VECTOR_WIDTH
static void AS(multiply_roots)(AS(Point) *restrict x, const AS(Point) *restrict roots,
                               const AS(Point) *restrict turns, int64_t n, REAL sign) {
    VECTORISED
    for (int64_t r = 0; r < n; r++) {
        AS(Point) a = roots[r], b = turns[r], v = x[r];
        REAL re = a.re * b.re - a.im * b.im, im = sign * (a.re * b.im + a.im * b.re);
        x[r] = (AS(Point)){v.re * re - v.im * im, v.re * im + v.im * re};
    }
}

/* The twiddle factors of column `first`; those of its neighbours are these times lane_roots. */
static void AS(turns_of)(const LongFft *fft, int64_t first, AS(Point) * turns) {
    for (int64_t r = 0, t = 0; r <= fft->rows; r++) {
        Cx root = root_at(fft, t);
        turns[r] = (AS(Point)){(REAL)root.re, (REAL)root.im};
        t += first;
        if (t >= fft->m) t -= fft->m;
    }
}

/* The matrix is left transposed: a column is written as a line. */
static void AS(columns_forward)(const Pass *pass, int64_t block, char *work) {
    const LongFft *fft = pass->fft;
    Lanes l = columns_of(fft, block);
    AS(Point) *in = (void *)work, *turns = (void *)(work + buffer_bytes(fft));
    const AS(Point) *roots = fft->lane_roots;
    AS(take)(fft, (const void *)pass->from, &l, in);
    AS(turns_of)(fft, l.first, turns);
    for (int lane = 0; lane < l.count; lane++) {
        AS(Point) *line = (AS(Point) *)pass->to + (l.first + lane) * fft->pitch;
        FFT(execute_dft)(fft->column_plans[0], (void *)(in + lane * fft->pitch), (void *)line);
        line[fft->rows] = line[0];
        AS(multiply_roots)(line, roots + lane * (fft->rows + 1), turns, fft->rows + 1, 1);
    }
}

static void AS(columns_inverse)(const Pass *pass, int64_t block, char *work) {
    const LongFft *fft = pass->fft;
    Lanes l = columns_of(fft, block);
    AS(Point) *in = (void *)work, *out = (void *)(work + buffer_bytes(fft)),
              *turns = out + l.count * fft->pitch;
    const AS(Point) *roots = fft->lane_roots;
    AS(take)(fft, (const void *)pass->from, &l, in);
    AS(turns_of)(fft, l.first, turns);
    for (int lane = 0; lane < l.count; lane++) {
        AS(Point) *line = in + lane * fft->pitch;
        AS(multiply_roots)(line, roots + lane * (fft->rows + 1), turns, fft->rows, -1);
        FFT(execute_dft)(fft->column_plans[1], (void *)line, (void *)(out + lane * fft->pitch));
    }
    AS(put)(fft, out, &l, (void *)pass->to);
}

/* ---- Rows ---- */

/* A row of Z and the one that mirrors it to E + wO and conj(E − wO). */
FOR_EACH_VECTOR_WIDTH
static void AS(unpack)(const LongFft *fft, int64_t row, const AS(Point) *restrict z,
                       const AS(Point) *restrict mirror, AS(Point) *restrict near, AS(Point) *restrict far) {
    const AS(Point) *roots = fft->bin_roots, turn = ((const AS(Point) *)fft->row_roots)[row];
    int64_t n = fft->columns;
    VECTORISED
    for (int64_t c = 0; c < n; c++) {
        AS(Point) a = roots[c], p = z[c], q = mirror[n - 1 - c];
        REAL re = (a.re * turn.re - a.im * turn.im) / 2, im = (a.re * turn.im + a.im * turn.re) / 2;
        REAL er = (p.re + q.re) / 2, ei = (p.im - q.im) / 2, sr = p.im + q.im, si = q.re - p.re;
        REAL wr = sr * re - si * im, wi = sr * im + si * re;
        near[c] = (AS(Point)){er + wr, ei + wi};
        far[n - 1 - c] = (AS(Point)){er - wr, wi - ei};
    }
}

/* The reverse, times 2. */
FOR_EACH_VECTOR_WIDTH
static void AS(pack)(const LongFft *fft, int64_t row, AS(Point) *restrict z, AS(Point) *restrict mirror) {
    const AS(Point) *roots = fft->bin_roots, turn = ((const AS(Point) *)fft->row_roots)[row];
    int64_t n = fft->columns;
    VECTORISED
    for (int64_t c = 0; c < n; c++) {
        AS(Point) a = roots[c], p = z[c], q = mirror[n - 1 - c];
        REAL re = a.re * turn.re - a.im * turn.im, im = a.re * turn.im + a.im * turn.re;
        REAL er = p.re + q.re, ei = p.im - q.im, dr = p.re - q.re, di = p.im + q.im;
        REAL wr = dr * re + di * im, wi = di * re - dr * im;
        z[c] = (AS(Point)){er - wi, ei + wr};
        mirror[n - 1 - c] = (AS(Point)){er + wi, wr - ei};
    }
}

static void AS(rows_forward)(const Pass *pass, int64_t block, char *work) {
    const LongFft *fft = pass->fft;
    Lanes near = rows_of(fft, block), far = mirrored(fft, &near), bins = near, far_bins = far;
    AS(Point) *z = (void *)work, *mirror = (void *)(work + buffer_bytes(fft));
    AS(Point) *line = mirror + fft->lanes * fft->pitch, *other = line + fft->pitch;
    near.stride = far.stride = fft->pitch; /* the matrix lies transposed */
    AS(take)(fft, (const void *)pass->from, &near, z);
    AS(take)(fft, (const void *)pass->from, &far, mirror);
    for (int b = 0; b < near.count; b++) {
        AS(Point) *low = z + b * fft->pitch, *high = mirror + (near.count - 1 - b) * fft->pitch;
        FFT(execute_dft)(fft->row_plans[0], (void *)low, (void *)line);
        FFT(execute_dft)(fft->row_plans[0], (void *)high, (void *)other);
        AS(unpack)(fft, near.first + b, line, other, low, high);
    }
    AS(put)(fft, z, &bins, (void *)pass->to);
    AS(put)(fft, mirror, &far_bins, (void *)pass->to);
}

static void AS(rows_inverse)(const Pass *pass, int64_t block, char *work) {
    const LongFft *fft = pass->fft;
    Lanes near = rows_of(fft, block), far = mirrored(fft, &near);
    AS(Point) *matrix = (void *)pass->to, *z = (void *)work, *mirror = (void *)(work + buffer_bytes(fft));
    AS(take)(fft, (const void *)pass->from, &near, z);
    AS(take)(fft, (const void *)pass->from, &far, mirror);
    for (int b = 0; b < near.count; b++) {
        AS(Point) *low = z + b * fft->pitch, *high = mirror + (near.count - 1 - b) * fft->pitch;
        int64_t row = near.first + b;
        AS(pack)(fft, row, low, high);
        FFT(execute_dft)(fft->row_plans[1], (void *)low, (void *)(matrix + row * fft->columns));
        if (row == 0 || 2 * row == fft->rows) continue; /* its own mirror */
        AS(Point) *mirrored_row = matrix + (fft->rows - row) * fft->columns;
        FFT(execute_dft)(fft->row_plans[1], (void *)high, (void *)mirrored_row);
    }
}
