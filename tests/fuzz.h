/* fuzz.h — what a fuzz target defines and what drives it.
 *
 * A target is a file tests/fuzz_NAME.c that defines the four below. With clang it may be linked to libFuzzer
 * (-fsanitize=fuzzer); everywhere else fuzz_main.c drives it with a small deterministic mutator:
 *
 *     fuzz_NAME [--runs N] [--seed S] [--only K] [FILE...]
 *
 * First every seed runs as it is, then N mutants (30000 by default). Run K of seed S is always the same
 * input: when a run dies, its K is printed, and --only K repeats it alone, --save F writes its input to a
 * file. FILEs are run instead of mutants. In every fourth run one of the first allocations and all after it
 * fail (mem_fail_after), so a target must cope with FRAX_MEMORY, leak nothing and keep no state from run to
 * run. It returns 0; it reports a broken law (a result that does not hold what was promised) with fuzz_check.
 */
#ifndef FRAX_FUZZ_H
#define FRAX_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct FuzzSeed {
    const char *data;
    size_t size;
} FuzzSeed;

/* A seed from a string literal, which may hold NULs. */
#define FUZZ_SEED(literal)                                                                                   \
    { literal, sizeof literal - 1 }

/* Ends with {NULL, 0}. */
extern const FuzzSeed fuzz_seeds[];
/* Words that mean something in the format, which mutation inserts; ends with {NULL, 0}. */
extern const FuzzSeed fuzz_words[];

/* Inputs that were accepted so far. The driver fails if some seed is not: mutants of it would test only
 * refusal. */
extern long fuzz_accepted;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A law of the code under test; unlike assert it holds in every build. */
#define fuzz_check(condition)                                                                                \
    ((condition) ? (void)0                                                                                   \
                 : (fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition), abort()))

#endif
