/* What Python hands to the kernels: an int8 linear layer, an encoder, a head. `topology/native/kernels.py` has the twins.
 *
 * Weights are int8 in panels of 16 outputs by 4 inputs, [ceil(n/16)][ceil(k/4)][16][4], one float32 scale an output,
 * so that the file a head is stored in is mapped and multiplied as it is. Activations are int8 with one scale a token,
 * made here: a token's result depends on nothing but its own row (ZeroQuant, Yao et al. 2022).
 */
#ifndef HEADRACE_KERNELS_H
#define HEADRACE_KERNELS_H
#include <stdint.h>

typedef struct {
    const int8_t *weight;   /* panels; NULL where the layer is absent */
    const float *scale;     /* [ceil16(n)] */
    const float *bias;      /* [ceil16(n)] */
    const int32_t *sum;     /* [ceil16(n)], the sum of each output's int8 weights */
    const float *smooth;    /* [k] multiplies the input before it is quantized (SmoothQuant, Xiao et al. 2023), or NULL */
    int32_t n, k;
} Linear;

typedef struct {
    Linear qkv, out, up, down;
    const float *norm1_weight, *norm1_bias, *norm2_weight, *norm2_bias;
} Layer;

typedef struct {
    const int8_t *word;       /* [vocabulary][hidden] */
    const float *word_scale;  /* [vocabulary] */
    const float *place;       /* [positions][hidden], token type 0 added */
    const float *norm_weight, *norm_bias;
    const float *relative;    /* [heads][2 * reach - 1], bias of (key - query + reach - 1), or NULL */
    const Layer *layer;
    int64_t fused;            /* bit l: a token's vector is the mean over these layers' outputs */
    int32_t layers, hidden, heads, ffn, first_position, reach;
    float eps;
} Encoder;

typedef struct {
    Linear project;           /* hidden to width, or absent */
    const float *norm0_weight, *norm0_bias;
    Layer layer;              /* absent where layer.qkv.weight is NULL */
    Linear pool, intent, tag; /* pool and tag may be absent */
    int32_t hidden, width, ffn, heads;
} Head;

/* Compilers know AMX from these on; Linux is who grants its use. */
#if defined(__x86_64__) && defined(__linux__) && (__GNUC__ >= 11 || __clang_major__ >= 12)
#define HEADRACE_AMX 1
#endif
#define EXPORT __attribute__((visibility("default")))
#endif
