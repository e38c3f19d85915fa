/* cuda_special.c — see cuda_special.h. The build makes the text of the sources that the CPU has,
 * ir/special.c, ir/mittag_leffler.c and codegen/kernel_math.c: without their #include lines, and `static` at
 * the beginning of a line marked as device code (SPECIAL_FUNCTION of support/device_math.h). */
#include "cuda_special.h"
#include "embed.h"
#include "ir.h"

EMBED(frax_device_math_text, FRAX_DEVICE_MATH)

void cuda_special_text(Text *out) {
    text_printf(out, "enum { MAX_POLYGAMMA = %d, MAX_MITTAG_LEFFLER = %d };\n", MAX_POLYGAMMA,
                MAX_MITTAG_LEFFLER);
    text_printf(out, "typedef enum Part { PART_RE = %d, PART_IM = %d } Part;\n", PART_RE, PART_IM);
    text_printf(out, "%s\n", frax_device_math_text);
}
