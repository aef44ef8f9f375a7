/* AVX-512 VNNI: 64 products an instruction. It multiplies unsigned by signed, so activations carry 128 more, which the
 * sum of an output's weights takes off again. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
#include <immintrin.h>
#define ISA(name) headrace_vnni_##name
#define ACT_ZERO 128
#define LANES 16
#define TILE_PANELS 2
#define TILE_ROWS 8 /* 12 are no faster */
#include <stdint.h>
typedef uint8_t Act;
#include "forward.h"

static inline __attribute__((always_inline)) void fixed(const int rows, const int panels, const Act *a, long stride,
        int quads, const float *row_scale, const Linear *l, int first, int kind, float *out, long out_stride) {
    const int8_t *w = l->weight + (long)first / 16 * quads * 64;
    const long next = (long)quads * 64;
    __m512i acc[TILE_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    const Act *three[3] = {a, a + 3 * stride, a + 6 * stride}; /* of which each has rows 0, 1 and 2 */
    __asm__ volatile("" ::: "memory"); /* what is read below in assembly has been written */
    for (int k = 0; k < quads; k++, w += 64) {
        _mm_prefetch((const char *)w + panels * next, _MM_HINT_T1); /* the panels after these: a cold head 0.91 -> 0.84 ms */
        __m512i w0 = _mm512_loadu_si512(w), w1 = w0;
        if (panels == 2) {
            _mm_prefetch((const char *)w + 3 * next, _MM_HINT_T1);
            w1 = _mm512_loadu_si512(w + next);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            /* In assembly: the compiler would load all rows before it multiplies, spill the sums, keep a pointer a row, of
             * which there are more than registers, and copy each sum to a register of its own and back (GCC 12, for
             * _mm512_dpbusd_epi32: 785 GOP/s of 1,100 on Zen 5, 1,065 without). */
            __m512i b;
            const Act *at = three[r / 3];
            if (r % 3 == 0) __asm__ volatile("vpbroadcastd (%1), %0" : "=v"(b) : "r"(at));
            if (r % 3 == 1) __asm__ volatile("vpbroadcastd (%1, %2), %0" : "=v"(b) : "r"(at), "r"(stride));
            if (r % 3 == 2) __asm__ volatile("vpbroadcastd (%1, %2, 2), %0" : "=v"(b) : "r"(at), "r"(stride));
            __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(acc[r][0]) : "v"(b), "v"(w0));
            if (panels == 2) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(acc[r][1]) : "v"(b), "v"(w1));
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
            st(out + r * out_stride + 16 * p, finish(kind, (vf)y));
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
