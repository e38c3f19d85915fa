/* fft_generator.h — transforms as generated code; whatever it does not cover goes through the runtime's plans
 * (runtime/fft/fft.h). */
#ifndef FRAX_FFT_GENERATOR_H
#define FRAX_FFT_GENERATOR_H

#include "emitter.h"

/* A real transform of rows or boxes. */
typedef struct FftShape {
    FraxDType dtype; /* f32 or f64 */
    int rank;        /* 1…3 transformed axes */
    int64_t dims[3]; /* the last one is halved in the spectrum */
    int64_t rows;    /* transforms in one call, densely one after another */
} FftShape;

/* One axis, of moderate length: powers of two (fft.c), and multiples of 8 with no factors but 2, 3, 5 and 7
   (half_fft.c). */
bool fft_is_generated(const FftShape *shape);
/* Scratch that a call needs, 64-byte aligned, distinct from row and spectrum. */
size_t fft_work_bytes(const FftShape *shape);
void fft_function_name(const FftShape *shape, bool inverse, char name[80]);
/* Emits void name(row, spectrum, work), with the contract of fft_forward and fft_inverse. False when out of
 * memory. */
bool emit_fft(Emitter *e, const FftShape *shape, bool inverse);
bool emit_half_fft(Emitter *e, const FftShape *shape, bool inverse);

/* ---- Any other shape, in programs that may call no library (general_fft.c) ---- */

bool general_fft_fits(const FftShape *shape); /* false: its workspace has no addresses */
size_t general_fft_work_bytes(const FftShape *shape);
void general_fft_name(const FftShape *shape, bool inverse, char name[80]);
/* Emits void name(row, spectrum, work) as emit_fft does; it calls emit_general_dft's functions of each of its
   complex lengths, which are emitted once for all shapes. Both: false when out of memory. */
bool emit_general_fft(Emitter *e, const FftShape *shape, bool inverse);
void general_fft_lengths(const FftShape *shape, int64_t lengths[3]);
bool emit_general_dft(Emitter *e, FraxDType dtype, int64_t n);

#endif
