/* chart.c — the results as pictures: ratios of the suite as bars, the sweep as time per row against length.
 */
#include "bench.h"
#include "files.h"
#include "svg.h"

/* ---- Ratios: times of the suite differ by six orders of magnitude ---- */

FraxStatus write_ratios(const char *path, const Suite *s, FraxError *err) {
    static const char *const series[] = {"eager / fused", "fused / copy"};
    size_t n = s->nrows, count = 0;
    const char **groups = mem_calloc(n + 1, sizeof *groups);
    double *values = mem_calloc(2 * n + 1, sizeof *values);
    char(*names)[80] = mem_calloc(n + 1, sizeof *names);
    Text svg = {0};
    FraxStatus status = groups && values && names ? FRAX_OK : fail_memory(err, path);
    for (size_t i = 0; i < n && !status; i++) {
        const Row *row = &s->rows[i];
        if (!(row->eager > 0) || row->point.length) continue;
        snprintf(names[count], sizeof names[count], "%s, %d thread%s", row->name, row->threads,
                 row->threads == 1 ? "" : "s");
        groups[count] = names[count];
        values[2 * count] = row->eager / row->fused;
        values[2 * count + 1] = row->copy > 0 ? row->fused / row->copy : NAN;
        count++;
    }
    SvgBars chart = {
        "Fused against eager and against a copy", "ratio of times", groups, count, series, 2, values};
    if (!status) status = svg_bars(&chart, &svg);
    if (!status) status = file_replace(path, svg.data, svg.len, err);
    text_free(&svg);
    mem_free(groups);
    mem_free(values);
    mem_free(names);
    return status;
}

/* ---- The sweep: one thread, f32, full batches ---- */

enum { MAX_LENGTHS = 32, CURVES = 5, PANELS = 2, PANEL_HEIGHT = 330 };

typedef struct Curves {
    double x[MAX_LENGTHS], y[CURVES][MAX_LENGTHS]; /* points; microseconds for one row of the data */
    size_t n;
} Curves;

/* Lengths that are no powers of two are left to the table: one line would join different algorithms. */
static bool on_chart(const Row *row, bool gradient) {
    const Point *p = &row->point;
    return p->full && (p->length & (p->length - 1)) == 0 && p->dtype == FRAX_F32 && !p->causal &&
           p->gradient == gradient && row->threads == 1;
}

static void collect(const Suite *s, bool gradient, Curves *c) {
    for (size_t i = 0; i < s->nrows && c->n < MAX_LENGTHS; i++) {
        const Row *row = &s->rows[i];
        const double times[CURVES] = {row->fused, row->eager, row->guru, row->naive, row->copy};
        if (!on_chart(row, gradient)) continue;
        c->x[c->n] = (double)row->point.length;
        for (int curve = 0; curve < CURVES; curve++)
            c->y[curve][c->n] = 1e6 * times[curve] / (double)row->point.batch;
        c->n++;
    }
}

static bool has_times(const Curves *c, int curve) {
    return c->n > 0 && c->y[curve][0] > 0;
}

FraxStatus write_sweep(const char *path, const Suite *s, FraxError *err) {
    static const char *const names[] = {"frax fused", "frax eager", "FFTW, two rows as one",
                                        "FFTW, batched r2c", "copy of the rows"};
    static const char *const titles[] = {"Forward", "Forward and the gradients in x and in the order"};
    Curves curves[PANELS] = {0};
    SvgSeries series[PANELS][CURVES];
    SvgPanel panels[PANELS];
    char subtitle[200], processor[128];
    Text svg = {0};
    for (int p = 0; p < PANELS; p++) {
        collect(s, p == 1, &curves[p]);
        for (int c = 0; c < CURVES; c++)
            series[p][c] = (SvgSeries){p == 0 && has_times(&curves[p], c) ? names[c] : NULL, curves[p].n,
                                       curves[p].x, curves[p].y[c], c == CURVES - 1};
        panels[p] = (SvgPanel){.title = titles[p],
                               .x_label = "samples in a row",
                               .y_label = "\xc2\xb5s for one row",
                               .series = series[p],
                               .nseries = CURVES,
                               .log_y = true,
                               .log_x = true,
                               .height = PANEL_HEIGHT};
    }
    processor_name(processor, sizeof processor);
    snprintf(subtitle, sizeof subtitle, "4 MB of f32 rows, one thread; %s; frax %s", processor, FRAX_VERSION);
    SvgChart chart = {"A fractional derivative of many rows", panels, PANELS, subtitle};
    FraxStatus status = svg_lines(&chart, &svg);
    status = status ? fail_memory(err, path) : file_replace(path, svg.data, svg.len, err);
    text_free(&svg);
    return status;
}
