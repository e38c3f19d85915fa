/* team.h — how many threads a parallel region may have. */
#ifndef FRAX_TEAM_H
#define FRAX_TEAM_H

#include <stdint.h>

/* At most `wanted` and at least one: one alone in a process that was forked after its parent had teams,
   because OpenMP would wait there for threads that only the parent has. */
int team_size(int64_t wanted);

#endif
