/* cli_docs.c — manual pages and shell completion, written from the tables of verbs and options in cli.h.
 *
 * `frax help --man DIR` writes frax.1 and a page for each verb; the build does so for the installation.
 * `frax help --completion SHELL` prints a script for bash, zsh or fish.
 */
#include "cli.h"
#include "files.h"
#include "passes.h"
#include <string.h>

typedef struct VerbRow {
    const char *name, *operand, *summary;
} VerbRow;

static const VerbRow verbs[] = {
#define X(name, operand, summary) {#name, operand, summary},
    VERBS(X)
#undef X
};

/* ---- Manual pages ---- */

/* Text with what means something to roff made plain: hyphens that are typed, backslashes, leading dots. */
static void put_roff(Text *out, const char *s) {
    if (*s == '.' || *s == '\'') text_printf(out, "\\&");
    for (; *s; s++) {
        if (*s == '-')
            text_printf(out, "\\-");
        else if (*s == '\\')
            text_printf(out, "\\e");
        else
            text_append(out, s, 1);
    }
}

static void put_title(Text *out, const char *verb) {
    char upper[32];
    size_t n = 0;
    for (; verb[n] && n + 1 < sizeof upper; n++)
        upper[n] = verb[n] >= 'a' && verb[n] <= 'z' ? (char)(verb[n] - 'a' + 'A') : verb[n];
    upper[n] = 0;
    text_printf(out, ".TH FRAX%s%s 1 \"\" \"frax " FRAX_VERSION "\" \"frax\"\n.SH NAME\nfrax%s%s \\- ",
                *verb ? "\\-" : "", upper, *verb ? "\\-" : "", verb);
}

static void put_option(Text *out, const char *name, const char *argument, const char *help) {
    text_printf(out, ".TP\n\\fB\\-\\-");
    put_roff(out, name);
    text_printf(out, "\\fR%s\\fI", *argument ? " " : "");
    put_roff(out, argument);
    text_printf(out, "\\fR\n");
    put_roff(out, help);
    text_printf(out, "\n");
}

static void put_exit_statuses(Text *out) {
    text_printf(out,
                ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nthe model or the data is at fault\n.TP\n2\nwrong "
                "usage\n.TP\n3\nfrax itself failed, or lacks memory or a target\n.PP\nMessages go to "
                "standard error; standard output stays empty then.\n");
}

static const char model_text[] =
    ".PP\n\\fIM\\fR is FILE.frax, or FILE.frax:NAME for one of several models in "
    "a file.\n";

static void put_verb_page(Text *out, size_t v) {
    const VerbRow *verb = &verbs[v];
    OptionRow option;
    put_title(out, verb->name);
    put_roff(out, verb->summary);
    text_printf(out, "\n.SH SYNOPSIS\n\\fBfrax %s\\fR%s\\fI", verb->name, *verb->operand ? " " : "");
    put_roff(out, verb->operand);
    text_printf(out, "\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n");
    put_roff(out, verb->summary);
    text_printf(out, ".\n%s.SH OPTIONS\n", *verb->operand == 'M' ? model_text : "");
    for (size_t i = 0; cli_option_row(i, &option); i++)
        if (option.verbs >> v & 1) put_option(out, option.name, option.argument, option.help);
    put_option(out, "help", "", "what the verb takes");
    put_exit_statuses(out);
    text_printf(out, ".SH SEE ALSO\n\\fBfrax\\fR(1)\n");
}

static void put_main_page(Text *out) {
    put_title(out, "");
    text_printf(out,
                "a compiler for fractional models\n.SH SYNOPSIS\n\\fBfrax\\fR \\fIVERB\\fR [\\fIM\\fR] "
                "[\\fIoptions\\fR]\n.SH DESCRIPTION\nfrax compiles models in which derivatives and "
                "integrals of non\\-integer order stand as layers, with orders that can be learnt. It makes "
                "machine code of a model's values, its gradients, or a whole training step.\n%s.SH VERBS\n",
                model_text);
    for (size_t v = 0; v < VERB_COUNT; v++) {
        text_printf(out, ".TP\n\\fB%s\\fR \\fI", verbs[v].name);
        put_roff(out, verbs[v].operand);
        text_printf(out, "\\fR\n");
        put_roff(out, verbs[v].summary);
        text_printf(out, "\n");
    }
    text_printf(out, ".SH OPTIONS\n");
    put_option(out, "help", "", "what a verb takes");
    put_option(out, "version", "", "the version");
    put_exit_statuses(out);
    text_printf(out,
                ".SH FILES\n.TP\n$XDG_CACHE_HOME/frax, else ~/.cache/frax\nmachine code that was compiled "
                "before; deleting the folder is safe\n.SH SEE ALSO\n");
    for (size_t v = 0; v < VERB_COUNT; v++)
        text_printf(out, "\\fBfrax\\-%s\\fR(1)%s\n", verbs[v].name, v + 1 < VERB_COUNT ? "," : "");
}

FraxStatus cli_write_manual(const char *folder, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t page = 0; page <= VERB_COUNT && !status; page++) {
        Text text = {0}, path = {0};
        AtomicFile file;
        text_printf(&path, "%s/frax%s%s.1", folder, page ? "-" : "", page ? verbs[page - 1].name : "");
        if (page)
            put_verb_page(&text, page - 1);
        else
            put_main_page(&text);
        status = text.failed || path.failed ? fail_memory(err, "writing the manual")
                                            : atomic_open(path.data, &file, err);
        if (!status) {
            atomic_write(&file, text.data, text.len);
            status = atomic_commit(&file, err);
        }
        text_free(&text);
        text_free(&path);
    }
    return status;
}

/* ---- Shell completion ---- */

/* The options whose values are words of a list. */
static const struct Words {
    const char *option, *words;
} word_lists[] = {
#define X(code, name) name " "
    {"target", FRAX_TARGETS(X)},
    {"optimizer", FRAX_OPTIMIZERS(X)},
#undef X
#define X(name, mode) name " "
    {"mode", CLI_MODES(X)},
#undef X
#define X(name, summary) #name " "
    {"after", PASSES(X)},
#undef X
#define X(name, ...) name " "
    {"cpu", "native generic " CPUS(X)},
#undef X
    {"completion", "bash zsh fish "},
};

static const char *words_of(const char *option) {
    for (size_t i = 0; i < COUNT(word_lists); i++)
        if (!strcmp(word_lists[i].option, option)) return word_lists[i].words;
    return NULL;
}

/* Between single quotes of a shell, with `also` (of zsh's _arguments) behind a backslash. */
static void put_quoted(Text *out, const char *s, const char *also) {
    for (; *s; s++) {
        if (*s == '\'')
            text_printf(out, "'\\''");
        else
            text_printf(out, "%s%c", strchr(also, *s) ? "\\" : "", *s);
    }
}

static void put_all_verbs(Text *out, const char *separator) {
    for (size_t v = 0; v < VERB_COUNT; v++) text_printf(out, "%s%s", v ? separator : "", verbs[v].name);
}

static void complete_bash(Text *out) {
    OptionRow option;
    text_printf(out, "# Completion of frax for bash.\n_frax() {\n"
                     "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                     "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '");
    put_all_verbs(out, " ");
    text_printf(out, " --help --version' -- \"$word\"))\n        return\n    fi\n    case $before in\n");
    for (size_t i = 0; cli_option_row(i, &option); i++)
        if (words_of(option.name))
            text_printf(out, "    --%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n",
                        option.name, words_of(option.name));
    text_printf(out,
                "    esac\n    if [[ $word != -* ]]; then\n        COMPREPLY=($(compgen -f -- \"$word\"))\n"
                "        return\n    fi\n    local options=\n    case ${COMP_WORDS[1]} in\n");
    for (size_t v = 0; v < VERB_COUNT; v++) {
        text_printf(out, "    %s) options='", verbs[v].name);
        for (size_t i = 0; cli_option_row(i, &option); i++)
            if (option.verbs >> v & 1) text_printf(out, "--%s ", option.name);
        text_printf(out, "--help' ;;\n");
    }
    text_printf(out, "    esac\n    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n}\n"
                     "complete -o filenames -F _frax frax\n");
}

static void complete_zsh(Text *out) {
    OptionRow option;
    text_printf(out, "#compdef frax\n# Completion of frax for zsh.\n_frax() {\n    local -a verbs\n"
                     "    verbs=(\n");
    for (size_t v = 0; v < VERB_COUNT; v++) {
        text_printf(out, "        '%s:", verbs[v].name);
        put_quoted(out, verbs[v].summary, ":");
        text_printf(out, "'\n");
    }
    text_printf(out, "    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n"
                     "    fi\n    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                     "    case $verb in\n");
    for (size_t v = 0; v < VERB_COUNT; v++) {
        text_printf(out, "    %s) _arguments '--help[what the verb takes]' \\\n", verbs[v].name);
        for (size_t i = 0; cli_option_row(i, &option); i++) {
            if (!(option.verbs >> v & 1)) continue;
            text_printf(out, "        '*--%s[", option.name);
            put_quoted(out, option.help, "[]:");
            text_printf(out, "]");
            if (option.takes_value) {
                text_printf(out, ":");
                put_quoted(out, option.argument, "[]:");
                if (words_of(option.name))
                    text_printf(out, ":(%s)", words_of(option.name));
                else
                    text_printf(out, ":_files");
            }
            text_printf(out, "' \\\n");
        }
        text_printf(out, "        '*:file:_files' ;;\n");
    }
    text_printf(out, "    esac\n}\n_frax \"$@\"\n");
}

static void complete_fish(Text *out) {
    OptionRow option;
    text_printf(out, "# Completion of frax for fish.\n");
    for (size_t v = 0; v < VERB_COUNT; v++) {
        text_printf(out, "complete -c frax -n __fish_use_subcommand -f -a %s -d '", verbs[v].name);
        put_quoted(out, verbs[v].summary, "");
        text_printf(out, "'\n");
    }
    for (size_t i = 0; cli_option_row(i, &option); i++) {
        text_printf(out, "complete -c frax -n '__fish_seen_subcommand_from");
        for (size_t v = 0; v < VERB_COUNT; v++)
            if (option.verbs >> v & 1) text_printf(out, " %s", verbs[v].name);
        text_printf(out, "' -l %s", option.name);
        if (words_of(option.name))
            text_printf(out, " -x -a '%s'", words_of(option.name));
        else if (option.takes_value)
            text_printf(out, " -r");
        text_printf(out, " -d '");
        put_quoted(out, option.help, "");
        text_printf(out, "'\n");
    }
}

FraxStatus cli_completion(const char *shell, Text *out, FraxError *err) {
    static const char *const names[] = {"bash", "zsh", "fish"};
    static void (*const writers[])(Text *) = {complete_bash, complete_zsh, complete_fish};
    size_t index;
    FraxStatus status = cli_choose("shell", shell, names, COUNT(names), &index, err);
    if (!status) writers[index](out);
    return status;
}
