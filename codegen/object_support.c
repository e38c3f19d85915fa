/* object_support.c — functions that objects carry with them, as assembly that the build made of the files in
 * codegen/support. */
#include "object_support.h"

#define INCLUDE(symbol, path)                                                                                \
    __asm__(".pushsection .rodata\n.hidden " #symbol "\n.globl " #symbol "\n" #symbol ":\n.incbin \"" path   \
            "\"\n.byte 0\n.popsection\n");
INCLUDE(frax_object_math_text, FRAX_OBJECT_MATH)
INCLUDE(frax_object_level_text, FRAX_OBJECT_LEVEL)

extern const char frax_object_math_text[], frax_object_level_text[];

const char *object_math_text(void) {
    return frax_object_math_text;
}

const char *object_level_text(void) {
    return frax_object_level_text;
}
