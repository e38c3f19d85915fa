/* cli_info.c — the verbs check and help. */
#include "cli.h"
#include "model.h"
#include "passes.h"
#include <string.h>

/* ---- check ---- */

static const char *const role_keys[] = {"inputs", "params", "outputs"};

static void signature_json(const FraxModel *model, Text *out) {
    text_printf(out, "{\"model\": ");
    json_string(out, frax_model_name(model));
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++) {
        text_printf(out, ", \"%s\": [", role_keys[role]);
        for (size_t i = 0; i < frax_model_count(model, role); i++) {
            const char *type = frax_model_value_type(model, role, i);
            text_printf(out, "%s{\"name\": ", i ? ", " : "");
            json_string(out, frax_model_value_name(model, role, i));
            text_printf(out, ", \"type\": ");
            json_string(out, type ? type : "");
            text_printf(out, "}");
        }
        text_printf(out, "]");
    }
    text_printf(out, "}\n");
}

FraxStatus cli_check(Cli *cli, FraxError *err) {
    FraxModel *model;
    Text signature = {0};
    FraxStatus status = cli_load_model(cli, &model, err);
    if (status) return status;
    status = model_check(model, &signature, err);
    if (!status && cli->json)
        signature_json(model, &cli->text);
    else if (!status)
        text_append(&cli->text, signature.data, signature.len);
    text_free(&signature);
    frax_model_destroy(model);
    return status;
}

/* ---- help ---- */

enum { CALL_WIDTH = 46 }; /* longer calls have a line of their own */

/* The built-ins, group by group; only one group unless NULL. */
static void help_builtins(const char *only, Text *out) {
    BuiltinInfo info;
    const char *group = "";
    for (size_t i = 0; builtin_info(i, &info); i++) {
        if (only && strcmp(info.group, only)) continue;
        if (strcmp(info.group, group)) text_printf(out, "%s%s\n", *group ? "\n" : "", info.group);
        group = info.group;
        char call[160];
        int n = snprintf(call, sizeof call, "%s(%s)", info.name, info.params);
        if (n > CALL_WIDTH)
            text_printf(out, "  %s\n  %-*s", call, CALL_WIDTH, "");
        else
            text_printf(out, "  %-*s", CALL_WIDTH, call);
        text_printf(out, " %s\n", info.summary);
    }
}

static const char frac_notes[] =
    "\n"
    "h is the step, x[n] = 0 for n < 0, w[j] = w[j-1] (j - 1 - alpha) / j the coefficients of (1 - "
    "z)^alpha.\n"
    "The periodic kinds multiply the Fourier transform of x by K, w = 2 pi k / (N h) for k = 0 ... N/2. At w "
    "= 0\n"
    "0^alpha is 0 (1 if alpha = 0), so that an integral leaves the mean out; of the highest frequency of an "
    "even N\n"
    "only the real part counts. They are exact on band-limited periodic signals (order: spectral). The "
    "others are\n"
    "convolutions: engine=direct sums, engine=fft transforms, engine=dense multiplies with a matrix, "
    "engine=auto\n"
    "chooses by measured crossovers; frax show says what it chose. engine=soe sums 32 lags as they are and "
    "takes\n"
    "exponentials for the others, in time O(n): each weight of up to horizon= samples is met to tol= (1e-10) "
    "of\n"
    "itself, for the orders after soe. auto takes it too if tol= is given, alpha is constant and x has over "
    "1000 samples.\n"
    "Without scheme= the first that holds a constant alpha is taken, for a learnable alpha the first.\n"
    "alpha, step and the other parameters may be arrays that broadcast against x, with size 1 along the "
    "axis; the\n"
    "result is differentiable in x and in all of them.\n"
    "\n"
    "spectral_filter multiplies the Fourier transform of x by a K of your own: w => (re, im), or w => re, "
    "with w "
    "in f64,\n"
    "for axes=(...) one name for each axis, ascending: (u, v) => ...; w >= 0 along the last, both signs "
    "along the "
    "others.\n"
    "It may use every name of the model and is differentiable in all of them; K is to be finite, at w = 0 "
    "too.\n";

/* The group that frac belongs to, and the kinds of frac. */
static void help_frac(Text *out) {
    BuiltinInfo info;
    FracKindInfo kind;
    const char *last = "";
    for (size_t i = 0; builtin_info(i, &info); i++)
        if (!strcmp(info.name, "frac")) help_builtins(info.group, out);
    text_printf(out, "\nkinds of frac\n");
    for (size_t i = 0; frac_kind_info(i, &kind); i++) {
        if (strcmp(last, kind.name))
            text_printf(out, "  %s%s%s\n", kind.name, kind.alias ? ", " : "", kind.alias ? kind.alias : "");
        last = kind.name;
        text_printf(out, "    %s%s%s\n", kind.choice, *kind.choice ? ": " : "", kind.formula);
        text_printf(out, "      %s%s%s%s, order %s; %s\n", kind.domain, *kind.soe ? " (soe: " : "", kind.soe,
                    *kind.soe ? ")" : "", kind.order, kind.reference);
    }
    text_printf(out, "%s", frac_notes);
}

static void help_all_builtins(Text *out) {
    help_builtins(NULL, out);
}

static void help_passes(Text *out) {
    for (size_t i = 0; i < pass_count; i++)
        text_printf(out, "  %-16s %s\n", pass_table[i].name, pass_table[i].summary);
}

static const struct Topic {
    const char *name;
    void (*help)(Text *out);
} topics[] = {{"frac", help_frac}, {"builtins", help_all_builtins}, {"passes", help_passes}};

FraxStatus cli_help(Cli *cli, FraxError *err) {
    const char *names[VERB_COUNT + COUNT(topics)] = {
#define X(name, operand, summary) [VERB_##name] = #name,
        VERBS(X)
#undef X
    };
    for (size_t i = 0; i < COUNT(topics); i++) names[VERB_COUNT + i] = topics[i].name;
    if (cli->operand && (cli->man || cli->completion))
        return fail(err, FRAX_USAGE, "unexpected argument %s", cli->operand);
    if (cli->man) return cli_write_manual(cli->man, err);
    if (cli->completion) return cli_completion(cli->completion, &cli->text, err);
    if (!cli->operand) {
        cli_help_all(&cli->text);
        return FRAX_OK;
    }
    size_t index;
    FraxStatus status = cli_choose("topic", cli->operand, names, COUNT(names), &index, err);
    if (status) return status;
    if (index < VERB_COUNT)
        cli_help_verb((Verb)index, &cli->text);
    else
        topics[index - VERB_COUNT].help(&cli->text);
    return FRAX_OK;
}
