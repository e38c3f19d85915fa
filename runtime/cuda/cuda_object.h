/* cuda_object.h — a graph compiled for GPUs ahead of time: code for each architecture, and the program whose
 * launches it serves. */
#ifndef FRAX_CUDA_OBJECT_H
#define FRAX_CUDA_OBJECT_H

#include "cuda_compile.h"

typedef enum CudaImageKind { CUDA_IMAGE_SM_90, CUDA_IMAGE_SM_80, CUDA_IMAGE_PTX, CUDA_IMAGES } CudaImageKind;

typedef struct CudaObject {
    Graph *graph; /* after all passes */
    CudaProgram program;
    CudaImage images[CUDA_IMAGES];
} CudaObject;

/* Compiles `graph` (differentiated as wanted, not yet passed through the passes) and takes it over, on
   failure too. FRAX_UNSUPPORTED: NVRTC is missing, or the model has guarded values of 16 bits. */
FraxStatus cuda_object_create(Graph *graph, CudaObject *object, FraxError *err);
void cuda_object_free(CudaObject *object);

/* PREFIX.sm_90.cubin, … */
const char *cuda_image_suffix(CudaImageKind kind);
/* Makes one file at `path` of those of the three images, by the toolkit's program fatbinary: of PATH, or of
   $CUDA_HOME/bin, $CUDA_PATH/bin, /usr/local/cuda/bin; FRAX_FATBINARY names a file to take instead. False
   where there is none, or it fails. */
bool cuda_fatbinary(const char *const files[CUDA_IMAGES], const char *path);

#endif
