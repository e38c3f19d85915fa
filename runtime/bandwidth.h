/* bandwidth.h — how fast this machine copies memory: the roofline of `frax bench`. */
#ifndef FRAX_BANDWIDTH_H
#define FRAX_BANDWIDTH_H

/* Bytes read and written per second by a copy between two arrays far larger than the caches of a core, with
   ordinary stores, the best of several; threads 0: as many as OpenMP would use. 0 when out of memory. */
double copy_bandwidth(int threads);

#endif
