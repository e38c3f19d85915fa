/* report.c — the suite's results as a table, as JSON, and as a chart of ratios; facts about the machine.
 */
#include "bench.h"
#include "files.h"
#include "jit.h"
#include "svg.h"
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

int bar_met(const Row *row) {
    if (row->bar.kind == BAR_NONE) return -1;
    return bars[row->bar.kind].at_least ? row->value >= row->bar.limit : row->value <= row->bar.limit;
}

/* ---- The machine ---- */

static void processor_name(char *name, size_t size) {
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

void print_heading(void) {
    printf("%-44s %7s %9s %9s %9s %11s %10s %8s %-14s\n", "case", "threads", "fused", "eager", "copy",
           "eager/fused", "fused/copy", "value", "bar");
}

void print_row(const Row *row) {
    char t[3][24], r[2][24], threads[16] = "", value[24] = "", bar[32] = "";
    static const char *const verdicts[] = {"", "missed", "ok"};
    if (row->threads) snprintf(threads, sizeof threads, "%d", row->threads);
    if (row->bar.kind != BAR_NONE) snprintf(value, sizeof value, "%.3g", row->value);
    snprintf(bar, sizeof bar, bars[row->bar.kind].text, row->bar.limit);
    printf("%-44s %7s %9s %9s %9s %11s %10s %8s %-14s %s\n", row->name, threads, time_text(row->fused, t[0]),
           time_text(row->eager, t[1]), time_text(row->copy, t[2]), ratio_text(row->eager, row->fused, r[0]),
           ratio_text(row->fused, row->copy, r[1]), value, bar, verdicts[bar_met(row) + 1]);
    fflush(stdout);
}

void print_summary(const Row *rows, size_t n) {
    size_t met = 0, with_bar = 0;
    for (size_t i = 0; i < n; i++) {
        met += bar_met(&rows[i]) == 1;
        with_bar += bar_met(&rows[i]) >= 0;
    }
    printf("\n%zu of %zu bars met\n", met, with_bar);
}

/* ---- JSON ---- */

static void add_row(cJSON *list, const Row *row) {
    cJSON *object = cJSON_CreateObject();
    char bar[32];
    const struct {
        const char *key;
        double value;
    } fields[] = {{"threads", row->threads},     {"fused_seconds", row->fused},
                  {"eager_seconds", row->eager}, {"copy_seconds", row->copy},
                  {"value", row->value},         {"repeat", (double)row->repeat}};
    cJSON_AddStringToObject(object, "case", row->name);
    for (size_t i = 0; i < COUNT(fields); i++)
        if (fields[i].value > 0) cJSON_AddNumberToObject(object, fields[i].key, fields[i].value);
    if (row->bar.kind != BAR_NONE) {
        snprintf(bar, sizeof bar, bars[row->bar.kind].text, row->bar.limit);
        cJSON_AddStringToObject(object, "bar", bar);
        cJSON_AddBoolToObject(object, "met", bar_met(row));
    }
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

FraxStatus write_json(const char *path, const Settings *settings, const Row *rows, size_t n, FraxError *err) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddItemToObject(root, "machine", machine_object());
    cJSON_AddBoolToObject(root, "quick", settings->quick);
    cJSON *list = cJSON_AddArrayToObject(root, "rows");
    for (size_t i = 0; i < n; i++) add_row(list, &rows[i]);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) return fail_memory(err, path);
    FraxStatus status = file_replace(path, text, strlen(text), err);
    cJSON_free(text);
    return status;
}

/* ---- The chart: times differ by six orders of magnitude, so it shows ratios ---- */

FraxStatus write_plot(const char *path, const Row *rows, size_t n, FraxError *err) {
    static const char *const series[] = {"eager / fused", "fused / copy"};
    const char **groups = mem_calloc(n + 1, sizeof *groups);
    double *values = mem_calloc(2 * n + 1, sizeof *values);
    char(*names)[80] = mem_calloc(n + 1, sizeof *names);
    Text svg = {0};
    size_t count = 0;
    FraxStatus status = groups && values && names ? FRAX_OK : fail_memory(err, path);
    for (size_t i = 0; i < n && !status; i++) {
        const Row *row = &rows[i];
        if (!(row->eager > 0)) continue;
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
