/* cli_options.c — reading the arguments by the tables of cli.h, and the help that the same tables give. */
#include "cli.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum Kind { FLAG, WORD, COUNT_KIND, COUNT0_KIND, REAL, PAIRS } Kind;
#define KIND_FLAG   FLAG
#define KIND_WORD   WORD
#define KIND_COUNT  COUNT_KIND
#define KIND_COUNT0 COUNT0_KIND
#define KIND_REAL   REAL
#define KIND_PAIRS  PAIRS

typedef struct Option {
    char name[16]; /* as typed, without the leading -- */
    Kind kind;
    const char *argument;
    uint32_t verbs;
    const char *help;
    size_t offset; /* in Cli */
} Option;

#define V(verb) (1u << VERB_##verb)
static const Option option_table[] = {
#define X(field, kind, argument, verbs, help)                                                                \
    {#field, KIND_##kind, argument, verbs, help, offsetof(Cli, field)},
    CLI_OPTIONS(X)
#undef X
};

static const char *const verb_names[] = {
#define X(name, operand, summary) #name,
    VERBS(X)
#undef X
};
static const char *const verb_operands[] = {
#define X(name, operand, summary) operand,
    VERBS(X)
#undef X
};
static const char *const verb_summaries[] = {
#define X(name, operand, summary) summary,
    VERBS(X)
#undef X
};

/* The name as typed: - where the field has _; a _ at the end only keeps the field off a keyword of C. */
static const char *typed_name(const Option *option, char buffer[20]) {
    size_t i = 0;
    for (; option->name[i]; i++) buffer[i] = option->name[i] == '_' ? '-' : option->name[i];
    buffer[i] = 0;
    if (buffer[i - 1] == '-') buffer[i - 1] = 0;
    return buffer;
}

bool cli_option_row(size_t i, OptionRow *row) {
    if (i >= COUNT(option_table)) return false;
    const Option *option = &option_table[i];
    *row = (OptionRow){.argument = option->argument,
                       .help = option->help,
                       .takes_value = option->kind != FLAG,
                       .verbs = option->verbs};
    typed_name(option, row->name);
    return true;
}

/* ---- Help ---- */

static void help_option(const Option *option, Text *out) {
    char name[20], left[48];
    snprintf(left, sizeof left, "--%s%s%s", typed_name(option, name), *option->argument ? " " : "",
             option->argument);
    text_printf(out, "  %-26s %s\n", left, option->help);
}

/* The verbs in a set, as "run, grad, fit". */
static void put_verbs(uint32_t verbs, Text *out) {
    bool any = false;
    for (size_t v = 0; v < VERB_COUNT; v++) {
        if (!(verbs >> v & 1)) continue;
        text_printf(out, "%s%s", any ? ", " : "", verb_names[v]);
        any = true;
    }
}

/* All options, those of the same verbs together, in the order of the table otherwise. */
static void help_options_by_verbs(Text *out) {
    for (size_t i = 0; i < COUNT(option_table); i++) {
        uint32_t verbs = option_table[i].verbs;
        bool new = true;
        for (size_t j = 0; j < i && new; j++) new = option_table[j].verbs != verbs;
        if (!new) continue;
        text_printf(out, "\nOptions of ");
        put_verbs(verbs, out);
        text_printf(out, ":\n");
        for (size_t j = i; j < COUNT(option_table); j++)
            if (option_table[j].verbs == verbs) help_option(&option_table[j], out);
    }
}

static const char model_text[] = "M is FILE.frax, or FILE.frax:NAME for one of several models in a file.\n";

void cli_help_all(Text *out) {
    text_printf(out, "frax " FRAX_VERSION
                     ", a compiler for fractional models\n\nusage: frax VERB [M] [options]\n\n");
    for (size_t v = 0; v < VERB_COUNT; v++)
        text_printf(out, "  frax %-8s%-9s %s\n", verb_names[v], verb_operands[v], verb_summaries[v]);
    text_printf(out, "\n%s", model_text);
    help_options_by_verbs(out);
    text_printf(out, "\nAlways:\n  %-26s %s\n  %-26s %s\n", "--help", "what a verb takes", "--version",
                "the version");
    text_printf(
        out,
        "\nExit status: 0 done, 1 the model or the data is at fault, 2 wrong usage, 3 frax itself failed.\n");
}

void cli_help_verb(Verb verb, Text *out) {
    text_printf(out, "usage: frax %s%s%s [options]\n\n%s\n", verb_names[verb],
                *verb_operands[verb] ? " " : "", verb_operands[verb], verb_summaries[verb]);
    if (!strcmp(verb_operands[verb], "M")) text_printf(out, "%s", model_text);
    bool any = false;
    for (size_t i = 0; i < COUNT(option_table); i++) {
        if (!(option_table[i].verbs >> verb & 1)) continue;
        if (!any) text_printf(out, "\nOptions:\n");
        any = true;
        help_option(&option_table[i], out);
    }
}

/* ---- Parsing ---- */

FraxStatus cli_choose(const char *what, const char *name, const char *const *names, size_t n, size_t *index,
                      FraxError *err) {
    for (*index = 0; *index < n; ++*index)
        if (!strcmp(names[*index], name)) return FRAX_OK;
    Text list = {0};
    for (size_t i = 0; i < n; i++) text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = nearest_name(name, names, n);
    fail(err, FRAX_USAGE, "unknown %s %s%s%s%s; expected one of: %s", what, name,
         near ? " (did you mean " : "", near ? near : "", near ? "?)" : "", list.data ? list.data : "");
    text_free(&list);
    return FRAX_USAGE;
}

FraxStatus cli_name_status(FraxStatus status, FraxError *err) {
    if (status != FRAX_NAME) return status;
    if (err) err->status = FRAX_USAGE;
    return FRAX_USAGE;
}

static FraxStatus fail_unknown_option(const char *name, size_t length, FraxError *err) {
    char typed[COUNT(option_table)][20], given[64];
    const char *names[COUNT(option_table)];
    for (size_t i = 0; i < COUNT(option_table); i++) names[i] = typed_name(&option_table[i], typed[i]);
    snprintf(given, sizeof given, "%.*s", (int)MIN(length, sizeof given - 1), name);
    const char *near = nearest_name(given, names, COUNT(names));
    return fail(err, FRAX_USAGE, "unknown option --%s%s%s%s", given, near ? "; did you mean --" : "",
                near ? near : "", near ? "?" : "; see frax --help");
}

static FraxStatus find_option(const Cli *cli, const char *name, size_t length, const Option **found,
                              FraxError *err) {
    char typed[20];
    for (size_t i = 0; i < COUNT(option_table); i++) {
        const Option *option = &option_table[i];
        typed_name(option, typed);
        if (strlen(typed) != length || strncmp(typed, name, length)) continue;
        *found = option;
        if (option->verbs >> cli->verb & 1) return FRAX_OK;
        Text verbs = {0};
        put_verbs(option->verbs, &verbs);
        fail(err, FRAX_USAGE, "--%s is not an option of frax %s, but of: %s", typed, verb_names[cli->verb],
             verbs.data ? verbs.data : "");
        text_free(&verbs);
        return FRAX_USAGE;
    }
    return fail_unknown_option(name, length, err);
}

static FraxStatus store_count(const Option *option, const char *text, int64_t *field, FraxError *err) {
    char *end, name[20];
    errno = 0;
    long long value = strtoll(text, &end, 10);
    int least = option->kind == COUNT_KIND;
    if (end == text || *end || errno || value < least)
        return fail(err, FRAX_USAGE, "--%s %s: expected a whole number, %d or more", typed_name(option, name),
                    text, least);
    *field = value;
    return FRAX_OK;
}

static FraxStatus store_real(const Option *option, const char *text, double *field, FraxError *err) {
    char *end, name[20];
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return fail(err, FRAX_USAGE, "--%s %s: expected a number", typed_name(option, name), text);
    *field = value;
    return FRAX_OK;
}

static FraxStatus store_pair(Cli *cli, const Option *option, const char *text, FraxError *err) {
    char name[20];
    Pairs *pairs = (Pairs *)((char *)cli + option->offset);
    const char *equals = strchr(text, '=');
    if (equals && equals > text && !equals[1])
        return fail(err, FRAX_USAGE, "--%s %s: nothing follows the =; expected %s", typed_name(option, name),
                    text, option->argument);
    if (!equals || equals == text)
        return fail(err, FRAX_USAGE, "--%s %s: expected %s", typed_name(option, name), text,
                    option->argument);
    const char *key = arena_strndup(&cli->strings, text, (size_t)(equals - text));
    if (!key || !mem_grow(&pairs->items, &pairs->cap, pairs->count + 1, sizeof *pairs->items))
        return fail_memory(err, "the arguments");
    for (size_t i = 0; i < pairs->count && option->offset != offsetof(Cli, out); i++)
        if (!strcmp(pairs->items[i].name, key))
            return fail(err, FRAX_USAGE, "--%s gives %s twice", typed_name(option, name), key);
    pairs->items[pairs->count++] = (Pair){key, equals + 1};
    return FRAX_OK;
}

static FraxStatus store_word(const Option *option, const char *text, const char **field, FraxError *err) {
    char name[20];
    if (!*text)
        return fail(err, FRAX_USAGE, "--%s '': expected %s", typed_name(option, name), option->argument);
    *field = text;
    return FRAX_OK;
}

static FraxStatus store(Cli *cli, const Option *option, const char *text, FraxError *err) {
    void *field = (char *)cli + option->offset;
    cli->given |= UINT64_C(1) << (option - option_table);
    switch (option->kind) {
    case FLAG: *(bool *)field = true; return FRAX_OK;
    case WORD: return store_word(option, text, field, err);
    case COUNT_KIND:
    case COUNT0_KIND: return store_count(option, text, field, err);
    case REAL: return store_real(option, text, field, err);
    case PAIRS: return store_pair(cli, option, text, err);
    }
    return fail(err, FRAX_INTERNAL, "an option of no kind");
}

/* --name, --name value or --name=value; *used is how many arguments that took. */
static FraxStatus parse_option(Cli *cli, char **args, int left, int *used, FraxError *err) {
    const char *name = args[0] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const Option *option = NULL;
    FraxStatus status = find_option(cli, name, length, &option, err);
    if (status) return status;
    *used = 1;
    if (option->kind == FLAG)
        return equals ? fail(err, FRAX_USAGE, "--%.*s takes no value", (int)length, name)
                      : store(cli, option, "", err);
    if (equals) return store(cli, option, equals + 1, err);
    if (left < 2) return fail(err, FRAX_USAGE, "--%s needs a value: %s", name, option->argument);
    *used = 2;
    return store(cli, option, args[1], err);
}

static FraxStatus parse_arguments(Cli *cli, int argc, char **argv, FraxError *err) {
    for (int i = 0, used; i < argc; i += used) {
        FraxStatus status = FRAX_OK;
        used = 1;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            cli->wants_help = true;
        else if (!strncmp(argv[i], "--", 2) && argv[i][2])
            status = parse_option(cli, argv + i, argc - i, &used, err);
        else if (!strcmp(argv[i], "-o"))
            status = parse_option(cli, (char *[]){"--output", i + 1 < argc ? argv[i + 1] : NULL}, argc - i,
                                  &used, err);
        else if (argv[i][0] == '-' && argv[i][1])
            status = fail(err, FRAX_USAGE, "unknown option %s; options begin with --", argv[i]);
        else if (cli->operand || !*verb_operands[cli->verb])
            status = fail(err, FRAX_USAGE, "unexpected argument %s", argv[i]);
        else
            cli->operand = argv[i];
        if (status) return status;
    }
    if ((!cli->operand || !*cli->operand) && !cli->wants_help && verb_operands[cli->verb][0] == 'M')
        return fail(err, FRAX_USAGE, "frax %s needs a model: FILE.frax or FILE.frax:NAME",
                    verb_names[cli->verb]);
    return FRAX_OK;
}

FraxStatus cli_parse(int argc, char **argv, Cli *cli, FraxError *err) {
    *cli = (Cli){.verb = VERB_help};
    for (size_t i = 0; i < COUNT(option_table); i++)
        if (option_table[i].kind == REAL) *(double *)((char *)cli + option_table[i].offset) = NAN;
    if (argc < 2) return fail(err, FRAX_USAGE, "a verb is missing; see frax --help");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return FRAX_OK;
    size_t verb;
    FraxStatus status = cli_choose("verb", argv[1], verb_names, VERB_COUNT, &verb, err);
    if (status) return status;
    cli->verb = (Verb)verb;
    return parse_arguments(cli, argc - 2, argv + 2, err);
}

FraxStatus cli_flush(Cli *cli, FraxError *err) {
    Text *out = &cli->text;
    if (out->failed) return fail_memory(err, "the output");
    if ((out->len && fwrite(out->data, 1, out->len, stdout) != out->len) || fflush(stdout))
        return fail(err, FRAX_FILE, "standard output: %s", strerror(errno));
    out->len = 0;
    return FRAX_OK;
}

void cli_free(Cli *cli) {
    for (size_t i = 0; i < COUNT(option_table); i++)
        if (option_table[i].kind == PAIRS) mem_free(((Pairs *)((char *)cli + option_table[i].offset))->items);
    arena_free(&cli->strings);
    text_free(&cli->text);
}
