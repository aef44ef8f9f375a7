/* AVX2: products of int16 pairs. 32 of them a cycle on two ports, twice float32's, with no saturation. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#include <immintrin.h>
#define ISA(name) headrace_avx2_##name
#define ACT_ZERO 0
#define TILE_PANELS 1
#define TILE_ROWS 6
#include <stdint.h>
typedef int16_t Act;
#include "forward.h"

static inline __attribute__((always_inline)) void fixed(const int rows, const Act *a, long stride, const int8_t *w,
        int quads, const float *row_scale, const Linear *l, int first, int kind, float *out, long out_stride) {
    for (int half = 0; half < 2; half++) {
        __m256i acc[6][2];
        const int8_t *at = w + half * 32;
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
        for (int k = 0; k < quads; k++, at += 64) {
            _mm_prefetch((const char *)at + 1024, _MM_HINT_T0);
            __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
            __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(at + 16)));
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                __m256i b; /* in assembly, in order: the compiler would load all six first and spill the sums (84 of 150 GOP/s) */
                __asm__ volatile("vpbroadcastq %1, %0" : "=x"(b) : "m"(*(const long long *)(a + r * stride + 4 * k)));
                acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(w0, b));
                acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(w1, b));
                __asm__ volatile("" : "+x"(acc[r][0]), "+x"(acc[r][1]));
            }
        }
        int column = first + 8 * half;
        vf scale = ld(l->scale + column), bias = ld(l->bias + column);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m256i pairs = _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc[r][0], acc[r][1]), 0xd8);
            vf y = (vf)_mm256_cvtepi32_ps(pairs) * (scale * row_scale[r]) + bias;
            st(out + r * out_stride + 8 * half, finish(kind, y));
        }
    }
}

static void tile(int rows, int panels, const Act *a, long stride, int quads, const float *row_scale, const Linear *l,
                 int first, int kind, float *out, long out_stride) {
    const int8_t *w = l->weight + (long)first / 16 * quads * 64;
    (void)panels;
#define CASE(n) case n: fixed(n, a, stride, w, quads, row_scale, l, first, kind, out, out_stride); break;
    switch (rows) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) }
}
#endif
