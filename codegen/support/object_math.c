/* object_math.c — the special functions with all that they call, as one piece of assembly that goes into
 * objects (object_support.c). The build compiles this file for the baseline of this machine's architecture;
 * nothing of it is linked. */
#define FRAX_ONE_VECTOR_WIDTH 1
#include "kernel_math.c"    // NOLINT
#include "mittag_leffler.c" // NOLINT
#include "special.c"        // NOLINT
