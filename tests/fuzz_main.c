/* fuzz_main.c — drives a fuzz target without libFuzzer: deterministic mutation of its seeds. See fuzz.h.
 *
 * Every run has its own random stream, made from the seed and the run's number, so that any run can be
 * repeated without those before it. An input is a seed with 1 to 6 random edits; each is handed over in a
 * heap block of its exact size, so that AddressSanitizer sees a read of one byte too many.
 */
#include "fuzz.h"
#include "base.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST = 1 << 16, MOST_EDITS = 6, MOST_ALLOCATIONS = 40 };

typedef struct Options {
    long runs, seed, only;
    const char *save;
} Options;

/* ---- Random numbers: SplitMix64 (Steele, Lea, Flood 2014) ---- */

static uint64_t random_state;

static uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t random_below(size_t n) {
    return n ? (size_t)(random_bits() % n) : 0;
}

/* ---- Mutation ---- */

typedef struct Input {
    uint8_t data[LONGEST];
    size_t size;
} Input;

static Input input; /* too large for the stack; there is one thread */

static size_t table_size(const FuzzSeed *table) {
    size_t n = 0;
    while (table[n].data) n++;
    return n;
}

/* Replaces input[at, at + cut) by n bytes; leaves it as it is if the result would be too long. */
static void splice(size_t at, size_t cut, const void *bytes, size_t n) {
    if (input.size - cut + n > LONGEST) return;
    memmove(input.data + at + n, input.data + at + cut, input.size - at - cut);
    if (n) memcpy(input.data + at, bytes, n);
    input.size = input.size - cut + n;
}

static size_t short_length(size_t limit) {
    size_t most = random_below(4) ? MIN(limit, 16) : limit;
    return most ? 1 + random_below(most) : 0;
}

static void flip_bit(void) {
    if (input.size) input.data[random_below(input.size)] ^= (uint8_t)(1u << random_below(8));
}

static void set_byte(void) {
    static const uint8_t telling[] = {0,   1,   0x7f, 0x80, 0xff, '\n', ' ', '-',
                                      '0', '9', '"',  '\\', '(',  ')',  '[', '{'};
    if (input.size)
        input.data[random_below(input.size)] =
            random_below(2) ? telling[random_below(sizeof telling)] : (uint8_t)random_bits();
}

static void delete_range(void) {
    size_t at = random_below(input.size);
    splice(at, short_length(input.size - at), NULL, 0);
}

static void repeat_range(void) {
    static uint8_t copy[LONGEST];
    size_t at = random_below(input.size), n = short_length(input.size - at);
    memcpy(copy, input.data + at, n);
    splice(random_below(input.size + 1), 0, copy, n);
}

static void truncate_input(void) {
    input.size = random_below(input.size + 1);
}

static void insert_word(void) {
    size_t n = table_size(fuzz_words);
    if (!n) return;
    const FuzzSeed *word = &fuzz_words[random_below(n)];
    size_t at = random_below(input.size + 1);
    splice(at, random_below(2) ? MIN(word->size, input.size - at) : 0, word->data, word->size);
}

/* The head of this input and the tail of another seed. */
static void cross_over(void) {
    const FuzzSeed *other = &fuzz_seeds[random_below(table_size(fuzz_seeds))];
    size_t at = random_below(input.size + 1), from = random_below(other->size + 1);
    splice(at, input.size - at, other->data + from, other->size - from);
}

static void (*const edits[])(void) = {flip_bit,       set_byte,    set_byte,    delete_range, repeat_range,
                                      truncate_input, insert_word, insert_word, insert_word,  cross_over};

static void make_input(const Options *opt, long run) {
    random_state = (uint64_t)opt->seed * 0xd1342543de82ef95u + (uint64_t)run;
    random_bits();
    size_t nseeds = table_size(fuzz_seeds);
    bool as_it_is = (size_t)run < nseeds;
    const FuzzSeed *seed = &fuzz_seeds[as_it_is ? (size_t)run : random_below(nseeds)];
    input.size = 0;
    splice(0, 0, seed->data, seed->size);
    for (size_t n = as_it_is ? 0 : 1 + random_below(1 + random_below(MOST_EDITS)); n > 0; n--)
        edits[random_below(COUNT(edits))]();
}

/* ---- Runs ---- */

static long current_run = -1;

/* Called when the process dies, also by the sanitizers; only what is safe in a signal handler. */
static void tell_run(void) {
    static const char text[] = "fuzz: died; repeat with --only ";
    char digits[24];
    size_t n = sizeof digits;
    long run = current_run;
    if (run < 0) return;
    digits[--n] = '\n';
    do digits[--n] = (char)('0' + run % 10);
    while (run /= 10);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, digits + n, sizeof digits - n);
}

static void on_signal(int number) {
    tell_run();
    signal(number, SIG_DFL);
    raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_death(void) {
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(tell_run);
    } else {
        signal(SIGSEGV, on_signal);
        signal(SIGFPE, on_signal);
    }
}

static int run_bytes(const void *data, size_t size, bool starve) {
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact) return 3;
    if (size) memcpy(exact, data, size);
    if (starve) mem_fail_after(1 + (long)random_below(MOST_ALLOCATIONS));
    LLVMFuzzerTestOneInput(exact, size);
    mem_fail_after(0);
    free(exact);
    return 0;
}

static int run_mutants(const Options *opt) {
    long first = opt->only >= 0 ? opt->only : 0;
    long end = opt->only >= 0 ? opt->only + 1 : opt->runs + (long)table_size(fuzz_seeds);
    for (current_run = first; current_run < end; current_run++) {
        make_input(opt, current_run);
        if (opt->save) {
            FILE *f = fopen(opt->save, "wb");
            if (!f || fwrite(input.data, 1, input.size, f) != input.size || fclose(f) != 0) {
                fprintf(stderr, "fuzz: cannot write %s: %s\n", opt->save, strerror(errno));
                return 1;
            }
        }
        bool starve = (size_t)current_run >= table_size(fuzz_seeds) && current_run % 4 == 0;
        long accepted = fuzz_accepted;
        if (run_bytes(input.data, input.size, starve)) return 3;
        if ((size_t)current_run < table_size(fuzz_seeds) && fuzz_accepted == accepted) {
            fprintf(stderr, "fuzz: seed %ld of the table is refused\n", current_run);
            return 1;
        }
    }
    current_run = -1;
    printf("fuzz: seed %ld, %ld runs, %ld accepted\n", opt->seed, end - first, fuzz_accepted);
    return 0;
}

static int run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "fuzz: cannot read %s: %s\n", path, strerror(errno));
        return 1;
    }
    input.size = fread(input.data, 1, LONGEST, f);
    fclose(f);
    return run_bytes(input.data, input.size, false);
}

static int usage(const char *program) {
    fprintf(stderr, "usage: %s [--runs N] [--seed S] [--only K [--save F]] [FILE...]\n", program);
    return 2;
}

static bool parse_number(const char *text, long *out) {
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return end != text && !*end && !errno && *out >= 0;
}

int main(int argc, char **argv) {
    Options opt = {.runs = 30000, .seed = 1, .only = -1};
    const struct {
        const char *name;
        long *value;
    } numbers[] = {{"--runs", &opt.runs}, {"--seed", &opt.seed}, {"--only", &opt.only}};
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (i + 1 == argc) return usage(argv[0]);
        bool known = strcmp(argv[i], "--save") == 0;
        if (known) opt.save = argv[i + 1];
        for (size_t k = 0; k < COUNT(numbers) && !known; k++)
            if (strcmp(argv[i], numbers[k].name) == 0) known = parse_number(argv[i + 1], numbers[k].value);
        if (!known) return usage(argv[0]);
    }
    if (opt.save && opt.only < 0) return usage(argv[0]);
    watch_for_death();
    if (i == argc) return run_mutants(&opt);
    for (; i < argc; i++) {
        int failed = run_file(argv[i]);
        if (failed) return failed;
    }
    return 0;
}
