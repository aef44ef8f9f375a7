/* AVX-512 VNNI: 64 products an instruction. It multiplies unsigned by signed, so activations carry 128 more, which the
 * sum of an output's weights takes off again. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
#include <immintrin.h>
#define ISA(name) headrace_vnni_##name
#define ACT_ZERO 128
#define TILE_PANELS 2
#include <stdint.h>
typedef uint8_t Act;
#include "forward.h"

static inline __attribute__((always_inline)) void fixed(const int rows, const int panels, const Act *a, long stride,
        int quads, const float *row_scale, const Linear *l, int first, int kind, float *out, long out_stride) {
    const int8_t *w = l->weight + (long)first / 16 * quads * 64;
    const long next = (long)quads * 64;
    __m512i acc[6][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    for (int k = 0; k < quads; k++, w += 64) {
        _mm_prefetch((const char *)w + 2048, _MM_HINT_T0);
        __m512i w0 = _mm512_loadu_si512(w), w1 = w0;
        if (panels == 2) {
            _mm_prefetch((const char *)w + next + 2048, _MM_HINT_T0);
            w1 = _mm512_loadu_si512(w + next);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, a + r * stride + 4 * k, 4);
            __m512i b = _mm512_set1_epi32(four);
            acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], b, w0);
            if (panels == 2) acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], b, w1);
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++) {
        int column = first + 16 * p;
        __m512i offset = _mm512_slli_epi32(_mm512_loadu_si512(l->sum + column), 7);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            float whole[16];
            _mm512_storeu_ps(whole, _mm512_cvtepi32_ps(_mm512_sub_epi32(acc[r][p], offset)));
            for (int c = 0; c < 16; c += 8) {
                v8 y = ld(whole + c) * (ld(l->scale + column + c) * row_scale[r]) + ld(l->bias + column + c);
                st(out + r * out_stride + 16 * p + c, finish8(kind, y));
            }
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
    switch (rows) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) }
}
#endif
