/* build_id.h — which build of frax this is, for cache keys: the linker's build identifier of the binary that
 * holds this code. */
#ifndef FRAX_BUILD_ID_H
#define FRAX_BUILD_ID_H

#include "base.h"

/* Appends it in hexadecimal; nothing if the binary has none. */
void build_id(Text *out);

#endif
