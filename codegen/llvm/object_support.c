/* object_support.c — functions that objects carry with them, as assembly that the build made of the files in
 * codegen/support. */
#include "object_support.h"
#include "embed.h"

EMBED(frax_object_math_text, FRAX_OBJECT_MATH)
EMBED(frax_object_level_text, FRAX_OBJECT_LEVEL)

const char *object_math_text(void) {
    return frax_object_math_text;
}

const char *object_level_text(void) {
    return frax_object_level_text;
}
