/* ecg.c — five minutes of an electrocardiogram, filtered second by second as they come.
 *
 *     cc ecg.c -lfrax -o ecg && ./ecg ecg.frax data/ecg.npy ecg.svg
 *
 * The program holds one second of the signal at a time. What the filter remembers of all earlier ones is in
 * its states, a few hundred numbers that each run hands to the next. The picture shows ten seconds, before
 * and after.
 */
#include <frax.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE = 360, CHUNK = RATE, FROM = 41 * RATE, SHOWN = 10 * RATE, MOST = 32 };

/* Both signals in the window that is drawn, and how much of each is wander: the variance of its means over a
   second, as a share of its own. */
typedef struct Trace {
    double shown[SHOWN], sum, squares, wander;
} Trace;

/* ---- The data: a file of NumPy, version 1, of little-endian i32 ---- */

/* Leaves the file where the samples begin; how many there are, or 0. */
static int64_t open_npy(const char *path, FILE **file) {
    unsigned char start[10];
    char header[512] = "", *shape;
    *file = fopen(path, "rb");
    if (!*file || fread(start, 1, 10, *file) != 10 || memcmp(start, "\x93NUMPY\1", 7)) return 0;
    size_t n = start[8] + 256u * start[9];
    if (n >= sizeof header || fread(header, 1, n, *file) != n || !strstr(header, "'<i4'")) return 0;
    shape = strstr(header, "'shape': (");
    return shape ? strtoll(shape + 10, NULL, 10) : 0;
}

/* ---- The filter ---- */

static size_t bytes(FraxTensor type) {
    size_t n = frax_dtype_size(type.dtype);
    for (int i = 0; i < type.rank; i++) n *= (size_t)type.dims[i];
    return n;
}

static FraxStatus compile(const char *path, int64_t length, FraxExecutable **exe, FraxError *err) {
    FraxModel *model;
    FraxStatus status = frax_model_load(path, &model, err);
    if (status) return status;
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"T", length}};
    options.nsizes = 1;
    options.stream = "T";
    options.chunk = CHUNK;
    status = frax_compile(model, &options, exe, err);
    frax_model_destroy(model);
    return status;
}

static void take(Trace *trace, const double *chunk, int64_t first, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += chunk[i];
        trace->squares += chunk[i] * chunk[i];
        if (first + i >= FROM && first + i < FROM + SHOWN) trace->shown[first + i - FROM] = chunk[i];
    }
    trace->sum += sum;
    trace->wander += sum * sum / count;
}

static double wander(const Trace *trace, int64_t length) {
    double level = trace->sum * trace->sum / (double)length;
    return (trace->wander - level) / (trace->squares - level);
}

/* The outputs of ecg.frax are mv, beats and rms, its only param a state or more. */
static FraxStatus filter(const FraxExecutable *exe, FILE *file, int64_t length, Trace traces[2], double *rms,
                         FraxError *err) {
    static int32_t adc[CHUNK];
    static double mv[CHUNK], beats[CHUNK];
    const void *inputs[] = {adc}, *states_in[MOST];
    void *outputs[3 + MOST] = {mv, beats, rms};
    size_t count = frax_executable_states(exe);
    FraxStatus status = FRAX_OK;
    if (count > MOST) return snprintf(err->message, sizeof err->message, "too many states"), FRAX_MEMORY;
    for (size_t i = 0; i < count; i++) { /* new states may be written over the old ones; zeros begin */
        FraxTensor type = frax_executable_type(exe, FRAX_PARAM, i);
        states_in[i] = outputs[3 + i] = calloc(1, bytes(type));
        if (!states_in[i]) return snprintf(err->message, sizeof err->message, "out of memory"), FRAX_MEMORY;
    }
    for (int64_t t = 0; t < length; t += CHUNK) {
        int got = (int)fread(adc, sizeof *adc, CHUNK, file);
        for (int i = got; got && i < CHUNK; i++) adc[i] = adc[got - 1]; /* a last second that is short */
        if (!got) {
            snprintf(err->message, sizeof err->message, "the file ends at sample %lld", (long long)t);
            status = FRAX_FILE;
            break;
        }
        if ((status = frax_run(exe, inputs, states_in, outputs, err))) break;
        take(&traces[0], mv, t, got);
        take(&traces[1], beats, t, got);
    }
    for (size_t i = 0; i < count; i++) free(outputs[3 + i]);
    return status;
}

/* ---- The picture ---- */

enum { LEFT = 76, WIDTH = 720, HEIGHT = 190 };

/* A panel: title, grid with a tick each second and each `step`, and the trace, at every pixel its least and
   its greatest value in the order in which they come. */
static void panel(FILE *svg, int top, const char *title, const char *unit, const double *y, double lo,
                  double hi, double step) {
    double scale = HEIGHT / (hi - lo), bottom = top + HEIGHT;
    fprintf(svg, "<text class=\"panel\" x=\"%d\" y=\"%d\">%s</text>\n", LEFT, top - 12, title);
    fprintf(svg, "<text class=\"mid\" transform=\"translate(22 %d) rotate(-90)\">%s</text>\n",
            top + HEIGHT / 2, unit);
    for (double v = lo; v <= hi; v += step) {
        double at = bottom - (v - lo) * scale;
        fprintf(svg, "<path class=\"%s\" d=\"M%d %.1fh%d\"/>", v == 0 ? "zero" : "grid", LEFT, at, WIDTH);
        fprintf(svg, "<text class=\"end\" x=\"%d\" y=\"%.1f\">%s%g</text>\n", LEFT - 8, at + 4,
                v < 0 ? "−" : "", fabs(v));
    }
    for (int s = 0; s <= SHOWN / RATE; s++) {
        int at = LEFT + WIDTH * s * RATE / SHOWN;
        fprintf(svg, "<path class=\"grid\" d=\"M%d %dv%d\"/>", at, top, HEIGHT);
        fprintf(svg, "<text class=\"mid\" x=\"%d\" y=\"%.0f\">%d</text>\n", at, bottom + 17, FROM / RATE + s);
    }
    fprintf(svg, "<path class=\"line\" d=\"M");
    for (int px = 0; px < WIDTH; px++) {
        int from = px * SHOWN / WIDTH, to = (px + 1) * SHOWN / WIDTH, low = from, high = from;
        for (int i = from; i < to; i++) {
            if (y[i] < y[low]) low = i;
            if (y[i] > y[high]) high = i;
        }
        int first = low < high ? low : high, second = low < high ? high : low;
        fprintf(svg, "%d %.1f %d.5 %.1f\n", LEFT + px, bottom - (y[first] - lo) * scale, LEFT + px,
                bottom - (y[second] - lo) * scale);
    }
    fprintf(svg, "\"/>\n");
}

static int draw(const char *path, const Trace traces[2], const double share[2]) {
    FILE *svg = fopen(path, "w");
    if (!svg) return perror(path), 1;
    fprintf(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 592\" width=\"820\" height=\"592\" "
        "role=\"img\">\n"
        "<title>An electrocardiogram and its derivative of order one half</title>\n"
        "<style>text{font-family:system-ui,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px;fill:#333}"
        ".title{font-size:18px;font-weight:600;fill:#111}.subtitle{font-size:13px;fill:#555}"
        ".panel{font-size:14px;font-weight:600;fill:#222}.end{text-anchor:end}.mid{text-anchor:middle}"
        ".grid{stroke:#e4e4e4}.zero{stroke:#999}"
        ".line{fill:none;stroke:#0072b2;stroke-width:1.2;stroke-linejoin:round}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
        "<text class=\"title\" x=\"20\" y=\"32\">An electrocardiogram and its derivative of order ½</text>\n"
        "<text class=\"subtitle\" x=\"20\" y=\"53\">Filtered second by second, as it would come from the "
        "patient. Of the variance, wander takes %.0f %% before, %.0f %% after.</text>\n",
        100 * share[0], 100 * share[1]);
    panel(svg, 104, "Recorded: MIT-BIH Arrhythmia Database, record 208, lead MLII, 360 Hz", "mV",
          traces[0].shown, -2, 4, 1);
    panel(svg, 358, "Filtered: mean over 1/60 s, then the derivative of order ½", "mV / √s", traces[1].shown,
          -10, 15, 5);
    fprintf(svg, "<text class=\"mid\" x=\"%d\" y=\"584\">time in s</text>\n</svg>\n", LEFT + WIDTH / 2);
    return fclose(svg) ? perror(path), 1 : 0;
}

int main(int argc, char **argv) {
    static Trace traces[2];
    FraxExecutable *exe = NULL;
    FraxError err;
    FILE *file = NULL;
    double rms = 0;
    if (argc != 4) return fprintf(stderr, "usage: ecg ecg.frax data/ecg.npy OUT.svg\n"), 2;
    int64_t length = open_npy(argv[2], &file);
    if (length < FROM + SHOWN) return fprintf(stderr, "%s: not the NPY file of an ECG in i32\n", argv[2]), 1;

    FraxStatus status = compile(argv[1], length, &exe, &err);
    if (!status) status = filter(exe, file, length, traces, &rms, &err);
    if (status) fprintf(stderr, "%s\n", err.message);
    frax_executable_destroy(exe);
    fclose(file);
    if (status) return 1;
    double share[] = {wander(&traces[0], length), wander(&traces[1], length)};
    printf("%lld samples, %d at a time\nrms = %.9g mV/s^0.5\n", (long long)length, CHUNK, rms);
    printf("wander: %.1f %% of the variance before, %.1f %% after\n", 100 * share[0], 100 * share[1]);
    return draw(argv[3], traces, share);
}
