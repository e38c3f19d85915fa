/* report.c — the results as tables and as JSON; facts about the machine.
 *
 * Rows of the sweep have a table of their own, with times per row of the data.
 */
#include "bench.h"
#include "files.h"
#include "jit.h"
#include <cjson/cJSON.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *text;
    bool at_least;
} bars[] = {
#define X(name, text, at_least) {text, at_least},
    BARS(X)
#undef X
};

static bool met(const Bar *bar) {
    return bars[bar->kind].at_least ? bar->value >= bar->limit : bar->value <= bar->limit;
}

static size_t bars_of(const Row *row) {
    size_t n = 0;
    while (n < MAX_BARS && row->bars[n].kind != BAR_NONE) n++;
    return n;
}

/* ---- The machine ---- */

void processor_name(char *name, size_t size) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown processor");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        snprintf(name, size, "%s", colon + 2);
        name[strcspn(name, "\n")] = 0;
        break;
    }
    if (file) fclose(file);
}

static void today(char text[32]) {
    time_t now = time(NULL);
    struct tm utc;
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
}

/* Processors that others keep busy, over the last minute. */
static double machine_load(void) {
    double load;
    return getloadavg(&load, 1) == 1 ? load : 0;
}

void print_machine(void) {
    char name[128], date[32], llvm[32];
    processor_name(name, sizeof name);
    today(date);
    double load = machine_load();
    printf("%s, %d threads; LLVM %s; frax %s; %s\n", name, omp_get_num_procs(), jit_llvm_version(llvm),
           FRAX_VERSION, date);
    if (load > 0.5)
        printf("Other programs keep %.1f processors busy: do not trust what several threads show.\n", load);
    printf("\n");
}

/* ---- The table ---- */

static const char *time_text(double s, char buffer[24]) {
    static const struct {
        double least, factor;
        const char *unit;
    } units[] = {{1, 1, "s"}, {1e-3, 1e3, "ms"}, {1e-6, 1e6, "us"}, {0, 1e9, "ns"}};
    size_t i = 0;
    if (!(s > 0)) return "";
    while (s < units[i].least) i++;
    snprintf(buffer, 24, "%.3g %s", s * units[i].factor, units[i].unit);
    return buffer;
}

static const char *ratio_text(double a, double b, char buffer[24]) {
    if (!(a > 0 && b > 0)) return "";
    snprintf(buffer, 24, "%.2f", a / b);
    return buffer;
}

static void print_case(const Row *row) {
    char t[3][24], r[2][24], threads[16] = "", value[24] = "", bar[32] = "";
    const Bar *first = &row->bars[0];
    if (row->threads) snprintf(threads, sizeof threads, "%d", row->threads);
    if (first->kind != BAR_NONE) snprintf(value, sizeof value, "%.3g", first->value);
    snprintf(bar, sizeof bar, bars[first->kind].text, first->limit);
    printf("%-46s %7s %9s %9s %9s %11s %10s %8s %-14s %s\n", row->name, threads, time_text(row->fused, t[0]),
           time_text(row->eager, t[1]), time_text(row->copy, t[2]), ratio_text(row->eager, row->fused, r[0]),
           ratio_text(row->fused, row->copy, r[1]), value, bar,
           first->kind == BAR_NONE ? ""
           : met(first)            ? "ok"
                                   : "missed");
}

/* Times are those of one row of the data. */
static void print_point(const Row *row) {
    char t[5][24] = {""}, r[4][24];
    const double times[] = {row->fused, row->eager, row->guru, row->naive, row->copy};
    size_t n = bars_of(row), missed = 0;
    for (size_t i = 0; i < COUNT(times); i++) time_text(times[i] / (double)row->point.batch, t[i]);
    printf("%-42s %3d %8s %8s %8s %8s %8s %7s %7s %7s %7s ", row->name, row->threads, t[0], t[1], t[2], t[3],
           t[4], ratio_text(row->eager, row->fused, r[0]), ratio_text(row->guru, row->fused, r[1]),
           ratio_text(row->naive, row->fused, r[2]), ratio_text(row->fused, row->copy, r[3]));
    for (size_t i = 0; i < n; i++) {
        if (met(&row->bars[i])) continue;
        printf(missed++ ? ", " : " missed: ");
        printf(bars[row->bars[i].kind].text, row->bars[i].limit);
    }
    printf("%s\n", n && !missed ? " ok" : "");
}

static void print_heading(bool sweep) {
    if (sweep)
        printf("%-42s %3s %8s %8s %8s %8s %8s %7s %7s %7s %7s  %s\n%-42s %3s %44s %15s %7s %7s\n",
               "time of one row", "thr", "fused", "eager", "guru", "naive", "copy", "eager", "guru", "naive",
               "fused", "bars", "", "", "", "/fused   /fused", "/fused", "/copy");
    else
        printf("%-46s %7s %9s %9s %9s %11s %10s %8s %-14s\n", "case", "threads", "fused", "eager", "copy",
               "eager/fused", "fused/copy", "value", "bar");
}

void print_row(const Row *row, const Row *last) {
    bool sweep = row->point.length > 0;
    if (last && (last->point.length > 0) != sweep) printf("\n");
    if (!last || (last->point.length > 0) != sweep) print_heading(sweep);
    if (sweep)
        print_point(row);
    else
        print_case(row);
    fflush(stdout);
}

void print_summary(const Row *rows, size_t n) {
    size_t reached = 0, all = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < bars_of(&rows[i]); k++, all++) reached += met(&rows[i].bars[k]);
    printf("\n%zu of %zu bars met\n", reached, all);
}

/* ---- JSON ---- */

static void add_point(cJSON *object, const Point *p) {
    cJSON_AddStringToObject(object, "dtype", frax_dtype_name(p->dtype));
    cJSON_AddNumberToObject(object, "length", (double)p->length);
    cJSON_AddNumberToObject(object, "batch", (double)p->batch);
    cJSON_AddBoolToObject(object, "gradient", p->gradient);
    cJSON_AddBoolToObject(object, "causal", p->causal);
}

static void add_bars(cJSON *list, const Row *row) {
    char text[32];
    for (size_t i = 0; i < bars_of(row); i++) {
        const Bar *bar = &row->bars[i];
        cJSON *object = cJSON_CreateObject();
        snprintf(text, sizeof text, bars[bar->kind].text, bar->limit);
        cJSON_AddStringToObject(object, "bar", text);
        cJSON_AddNumberToObject(object, "value", bar->value);
        cJSON_AddBoolToObject(object, "met", met(bar));
        cJSON_AddItemToArray(list, object);
    }
}

static void add_object(cJSON *list, const Row *row) {
    cJSON *object = cJSON_CreateObject();
    const struct {
        const char *key;
        double value;
    } fields[] = {{"threads", row->threads},          {"fused_seconds", row->fused},
                  {"eager_seconds", row->eager},      {"fftw_guru_seconds", row->guru},
                  {"fftw_naive_seconds", row->naive}, {"copy_seconds", row->copy},
                  {"repeat", (double)row->repeat}};
    cJSON_AddStringToObject(object, "case", row->name);
    for (size_t i = 0; i < COUNT(fields); i++)
        if (fields[i].value > 0) cJSON_AddNumberToObject(object, fields[i].key, fields[i].value);
    if (row->point.length) add_point(object, &row->point);
    if (bars_of(row)) add_bars(cJSON_AddArrayToObject(object, "bars"), row);
    cJSON_AddItemToArray(list, object);
}

static cJSON *machine_object(void) {
    char name[128], date[32], llvm[32];
    processor_name(name, sizeof name);
    today(date);
    cJSON *machine = cJSON_CreateObject();
    cJSON_AddStringToObject(machine, "processor", name);
    cJSON_AddNumberToObject(machine, "threads", omp_get_num_procs());
    cJSON_AddStringToObject(machine, "llvm", jit_llvm_version(llvm));
    cJSON_AddStringToObject(machine, "frax", FRAX_VERSION);
    cJSON_AddStringToObject(machine, "date", date);
    return machine;
}

FraxStatus write_json(const char *path, const Suite *s, FraxError *err) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddItemToObject(root, "machine", machine_object());
    cJSON_AddBoolToObject(root, "quick", s->settings.quick);
    cJSON *list = cJSON_AddArrayToObject(root, "rows");
    for (size_t i = 0; i < s->nrows; i++) add_object(list, &s->rows[i]);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) return fail_memory(err, path);
    FraxStatus status = file_replace(path, text, strlen(text), err);
    cJSON_free(text);
    return status;
}
