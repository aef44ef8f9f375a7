/* AVX-512 VNNI: 64 products an instruction. It multiplies unsigned by signed, so activations carry 128 more, which the
 * sum of an output's weights takes off again. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
#include <immintrin.h>
#define ISA(name) headrace_vnni_##name
#define ACT_ZERO 128
#define TILE_PANELS 2
#define TILE_ROWS 8 /* 10 and 12 are a tenth and a third slower */
#include <stdint.h>
typedef uint8_t Act;
#include "forward.h"

/* e^x, sixteen at a time: as exp8. */
static inline __m512 exp16(__m512 x) {
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(88.0f)), _mm512_set1_ps(-87.0f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

/* 1 / x to float32's precision: a step of Newton's on 14 bits, a fifth of the time of a division. */
static inline __m512 inverse16(__m512 x) {
    __m512 y = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(y, _mm512_fnmadd_ps(x, y, _mm512_set1_ps(2.0f)));
}

/* As finish8, sixteen at a time. */
static inline __m512 finish16(int kind, __m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), half = _mm512_set1_ps(0.5f);
    if (kind == PLAIN) return x;
    if (kind == GELU_ERF) {
        __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
        __m512 t = inverse16(_mm512_fmadd_ps(_mm512_set1_ps(0.3275911f), z, one));
        __m512 p = _mm512_set1_ps(1.061405429f);
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
        p = _mm512_mul_ps(_mm512_mul_ps(p, t), exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z))));
        /* x * (1 + erf) / 2, where p = 1 - |erf|: for x below 0 that is x * p / 2, above x - x * p / 2 */
        __m512 tail = _mm512_mul_ps(_mm512_mul_ps(half, x), p);
        return _mm512_mask_sub_ps(tail, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ), x, tail);
    }
    __m512 u = x;
    if (kind == GELU_TANH) {
        __m512 cubic = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_mul_ps(x, _mm512_set1_ps(0.044715f)));
        u = _mm512_mul_ps(_mm512_set1_ps(0.7978845608f), _mm512_add_ps(x, cubic));
    }
    __m512 e = exp16(_mm512_add_ps(u, u));
    __m512 tanh16 = _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), inverse16(_mm512_add_ps(one, e)), one);
    return kind == TANH ? tanh16 : _mm512_mul_ps(_mm512_mul_ps(half, x), _mm512_add_ps(one, tanh16));
}

static inline __attribute__((always_inline)) void fixed(const int rows, const int panels, const Act *a, long stride,
        int quads, const float *row_scale, const Linear *l, int first, int kind, float *out, long out_stride) {
    const int8_t *w = l->weight + (long)first / 16 * quads * 64;
    const long next = (long)quads * 64;
    __m512i acc[TILE_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    const Act *three[3] = {a, a + 3 * stride, a + 6 * stride}; /* of which each has rows 0, 1 and 2 */
    for (int k = 0; k < quads; k++, w += 64) {
        _mm_prefetch((const char *)w + panels * next, _MM_HINT_T1); /* the panels after these: a cold head 0.91 -> 0.84 ms */
        __m512i w0 = _mm512_loadu_si512(w), w1 = w0;
        if (panels == 2) {
            _mm_prefetch((const char *)w + 3 * next, _MM_HINT_T1);
            w1 = _mm512_loadu_si512(w + next);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            /* In assembly: the compiler would load all rows before it multiplies, spill the sums, and keep a pointer a
             * row, of which there are more than registers. */
            __m512i b;
            const Act *at = three[r / 3];
            if (r % 3 == 0) __asm__ volatile("vpbroadcastd (%1), %0" : "=v"(b) : "r"(at));
            if (r % 3 == 1) __asm__ volatile("vpbroadcastd (%1, %2), %0" : "=v"(b) : "r"(at), "r"(stride));
            if (r % 3 == 2) __asm__ volatile("vpbroadcastd (%1, %2, 2), %0" : "=v"(b) : "r"(at), "r"(stride));
            acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], b, w0);
            if (panels == 2) acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], b, w1);
        }
        for (int i = 0; i < 3; i++) three[i] += 4;
    }
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++) {
        const int column = first + 16 * p;
        const __m512i offset = _mm512_slli_epi32(_mm512_loadu_si512(l->sum + column), 7);
        const __m512 scale = _mm512_loadu_ps(l->scale + column), bias = _mm512_loadu_ps(l->bias + column);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512 y = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc[r][p], offset));
            y = _mm512_fmadd_ps(y, _mm512_mul_ps(scale, _mm512_set1_ps(row_scale[r])), bias);
            _mm512_storeu_ps(out + r * out_stride + 16 * p, finish16(kind, y));
        }
    }
}

static void tile(int rows, int panels, const Act *a, long stride, int quads, const float *row_scale, const Linear *l,
                 int first, int kind, float *out, long out_stride) {
#define CASE(n) \
    case n: \
        if (panels == 2) fixed(n, 2, a, stride, quads, row_scale, l, first, kind, out, out_stride); \
        else fixed(n, 1, a, stride, quads, row_scale, l, first, kind, out, out_stride); \
        break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
}
#endif
