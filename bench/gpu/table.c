/* table.c — the lines as a table in Markdown and as JSON, both written anew after each line, so that a run
 * that is cut off leaves what it had. See gpu_bench.h.
 */
#include "cuda_library.h"
#include "files.h"
#include "gpu_bench.h"
#include <cjson/cJSON.h>
#include <string.h>
#include <time.h>

static bool has_value(const Line *line) {
    return isfinite(line->value);
}

static bool meets(const Line *line) {
    return line->sense == AT_LEAST ? line->value >= line->limit : line->value <= line->limit;
}

void count_bars(const GpuBench *b, size_t *all, size_t *met) {
    *all = *met = 0;
    for (size_t i = 0; i < b->nlines; i++) {
        const Line *line = &b->lines[i];
        *all += line->sense != NO_BAR;
        *met += line->sense != NO_BAR && has_value(line) && meets(line);
    }
}

/* ---- What was measured ---- */

typedef struct Fact {
    const char *name;
    char text[192];
} Fact;

enum { FACTS = 6 };

static bool is_stand_in(const GpuBench *b) {
    return !strncmp(b->device.name, "Fake GPU", strlen("Fake GPU"));
}

static void list_facts(const GpuBench *b, Fact facts[FACTS]) {
    const CudaDevice *d = &b->device;
    const Nvrtc *n = cuda_nvrtc(NULL);
    char cufft[32] = "not found", name[128], date[32];
    time_t now = time(NULL);
    struct tm utc;
    cuda_fft_version(cufft, NULL);
    processor_name(name, sizeof name);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    const char *names[FACTS] = {"device", "driver", "libraries", "processor", "frax", "data"};
    for (int i = 0; i < FACTS; i++) facts[i].name = names[i];
    snprintf(facts[0].text, sizeof facts[0].text, "%s, compute capability %d.%d, %.1f GB", d->name, d->major,
             d->minor, 1e-9 * (double)d->memory);
    snprintf(facts[1].text, sizeof facts[1].text, "for CUDA %d.%d", d->cu->version / 1000,
             d->cu->version % 1000 / 10);
    snprintf(facts[2].text, sizeof facts[2].text, n ? "NVRTC %d.%d, cuFFT %s" : "no NVRTC", n ? n->major : 0,
             n ? n->minor : 0, cufft);
    snprintf(facts[3].text, sizeof facts[3].text, "%s", name);
    snprintf(facts[4].text, sizeof facts[4].text, "%s, %s", FRAX_VERSION, date);
    snprintf(facts[5].text, sizeof facts[5].text, "%.4g MB a signal", 1e-6 * (double)b->data_bytes);
}

/* ---- Markdown ---- */

static void figure_text(const Line *line, char text[48]) {
    snprintf(text, 48, "–");
    if (has_value(line)) snprintf(text, 48, "%.4g %s", line->value, line->unit);
}

static void bar_text(const Line *line, char text[48]) {
    static const char *const signs[] = {[AT_LEAST] = "≥", [AT_MOST] = "≤"};
    snprintf(text, 48, "–");
    if (line->sense != NO_BAR) snprintf(text, 48, "%s %g %s", signs[line->sense], line->limit, line->unit);
}

static const char *verdict(const Line *line) {
    if (line->sense == NO_BAR) return "–";
    return !has_value(line) ? "not measured" : meets(line) ? "met" : "**missed**";
}

static void print_line(const Line *line, Text *out) {
    char figure[48], bar[48];
    figure_text(line, figure);
    bar_text(line, bar);
    text_printf(out, "| %s | %s | %s | %s | %s |\n", line->name, figure, bar, verdict(line), line->note);
}

static FraxStatus write_table(GpuBench *b) {
    Text out = {0};
    Fact facts[FACTS];
    list_facts(b, facts);
    if (is_stand_in(b))
        text_printf(
            &out,
            "**The device is the stand-in of tests/fake_cuda, a CPU: no figure here means anything.**\n\n");
    for (int i = 0; i < FACTS; i++) text_printf(&out, "- %s: %s\n", facts[i].name, facts[i].text);
    text_printf(&out, "\n| what | figure | bar | met | details |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < b->nlines; i++) print_line(&b->lines[i], &out);
    FraxStatus status = out.failed ? fail_memory(&b->err, "the table")
                                   : file_replace(b->table_path, out.data, out.len, &b->err);
    text_free(&out);
    return status;
}

/* ---- JSON ---- */

static void add_object(cJSON *list, const Line *line) {
    static const char *const senses[] = {NULL, "at least", "at most"};
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "case", line->name);
    if (has_value(line)) {
        cJSON_AddNumberToObject(object, "value", line->value);
        cJSON_AddStringToObject(object, "unit", line->unit);
    }
    if (line->sense != NO_BAR) {
        cJSON_AddStringToObject(object, "bar", senses[line->sense]);
        cJSON_AddNumberToObject(object, "limit", line->limit);
        cJSON_AddBoolToObject(object, "met", has_value(line) && meets(line));
    }
    cJSON_AddStringToObject(object, "note", line->note);
    if (line->peer) {
        cJSON_AddStringToObject(object, "peer", line->peer);
        cJSON_AddNumberToObject(object, "rows", (double)line->rows);
        cJSON_AddNumberToObject(object, "length", (double)line->length);
        cJSON_AddNumberToObject(object, "seconds", line->seconds);
    }
    cJSON_AddItemToArray(list, object);
}

static FraxStatus write_data(GpuBench *b) {
    Fact facts[FACTS];
    cJSON *root = cJSON_CreateObject(), *machine = cJSON_AddObjectToObject(root, "machine");
    list_facts(b, facts);
    for (int i = 0; i < FACTS; i++) cJSON_AddStringToObject(machine, facts[i].name, facts[i].text);
    cJSON_AddBoolToObject(root, "stand_in", is_stand_in(b));
    cJSON_AddBoolToObject(root, "quick", b->settings.quick);
    cJSON_AddNumberToObject(root, "copy_bytes_per_second", b->bandwidth);
    cJSON *list = cJSON_AddArrayToObject(root, "rows");
    for (size_t i = 0; i < b->nlines; i++) add_object(list, &b->lines[i]);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) return fail_memory(&b->err, b->json_path);
    FraxStatus status = file_replace(b->json_path, text, strlen(text), &b->err);
    cJSON_free(text);
    return status;
}

/* ---- Both ---- */

FraxStatus add_line(GpuBench *b, const Line *line) {
    char figure[48], bar[48];
    if (!mem_grow(&b->lines, &b->capacity, b->nlines + 1, sizeof *b->lines))
        return fail_memory(&b->err, line->name);
    b->lines[b->nlines++] = *line;
    figure_text(line, figure);
    bar_text(line, bar);
    printf("%-66s %14s  %-12s %-12s %s\n", line->name, figure, bar, verdict(line), line->note);
    fflush(stdout);
    FraxStatus status = b->table_path ? write_table(b) : FRAX_OK;
    return !status && b->json_path ? write_data(b) : status;
}

/* What is not there on this machine is no failure. */
FraxStatus add_failure(GpuBench *b, Line line) {
    bool is_failure = b->err.status != FRAX_UNSUPPORTED;
    line.value = NAN;
    snprintf(line.note, sizeof line.note, "%s%.180s", is_failure ? "failed: " : "", b->err.message);
    for (char *c = line.note; *c; c++)
        if (*c == '\n' || *c == '|') *c = ' ';
    b->failures += is_failure;
    b->err = (FraxError){0};
    return add_line(b, &line);
}
