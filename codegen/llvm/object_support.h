/* object_support.h — assembly for this machine's architecture that goes into objects. All of its symbols are
 * local. */
#ifndef FRAX_OBJECT_SUPPORT_H
#define FRAX_OBJECT_SUPPORT_H

const char *object_math_text(void);  /* the functions of kernel_math.h */
const char *object_level_text(void); /* int frax_kernel_cpu_level(void): 1 … 4; x86-64 only */

#endif
