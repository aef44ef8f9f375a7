/* AMX: a tile of 16 rows by 64 inputs times one of 64 inputs by 16 outputs, in one instruction of 16 cycles. A panel of
 * kernels.h holds 64 inputs of 16 outputs just as the instruction reads them. */
#include "kernels.h"
#ifdef HEADRACE_AMX
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,amx-tile,amx-int8")
#include <immintrin.h>
#define ISA(name) headrace_amx_##name
#define ACT_ZERO 0
#define LANES 16
#define TILE_PANELS 2
#define TILE_ROWS 32
#define ROWS_AT_ONCE 256
#define TOKENS_AT_ONCE (1 << 30) /* all: parts of a batch were not measured with AMX, which waits for weights sooner */
#define INPUTS 64   /* of an activation's row, a multiple of which it is made */
#define SPARE_ROWS 16 /* a tile is loaded whole: what follows the last row is multiplied and thrown away */
#define BEGIN() _tile_loadconfig(&headrace_tiles)
#define END() _tile_release()
#include <stdint.h>
typedef int8_t Act;
typedef struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } Tiles;
static const Tiles headrace_tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
#include "forward.h"

/* Tiles 0 to 3 gather two blocks of rows by two panels, 4 and 5 are rows, 6 and 7 weights. */
static inline __attribute__((always_inline)) void fixed(const int blocks, const int panels, int rows, const Act *a,
        long stride, int quads, const float *row_scale, const Linear *l, int first, int kind, float *out, long out_stride) {
    const int8_t *w = l->weight + (long)first / 16 * quads * 64;
    const long next = (long)quads * 64;
    _tile_zero(0);
    if (panels == 2) _tile_zero(1);
    if (blocks == 2) _tile_zero(2);
    if (blocks == 2 && panels == 2) _tile_zero(3);
    int left = quads;
    for (; left >= 16; left -= 16, w += 1024, a += 64) {
        _tile_loadd(4, a, stride);
        if (blocks == 2) _tile_loadd(5, a + 16 * stride, stride);
        _tile_loadd(6, w, 64);
        _tile_dpbssd(0, 4, 6);
        if (blocks == 2) _tile_dpbssd(2, 5, 6);
        if (panels == 2) {
            _tile_loadd(7, w + next, 64);
            _tile_dpbssd(1, 4, 7);
            if (blocks == 2) _tile_dpbssd(3, 5, 7);
        }
    }
    if (left) { /* rows are padded with zeros to INPUTS, panels are not */
        _Alignas(64) int8_t last[2][1024] = {{0}};
        memcpy(last[0], w, left * 64);
        _tile_loadd(4, a, stride);
        if (blocks == 2) _tile_loadd(5, a + 16 * stride, stride);
        _tile_loadd(6, last[0], 64);
        _tile_dpbssd(0, 4, 6);
        if (blocks == 2) _tile_dpbssd(2, 5, 6);
        if (panels == 2) {
            memcpy(last[1], w + next, left * 64);
            _tile_loadd(7, last[1], 64);
            _tile_dpbssd(1, 4, 7);
            if (blocks == 2) _tile_dpbssd(3, 5, 7);
        }
    }
    _Alignas(64) int32_t sums[4][256];
    _tile_stored(0, sums[0], 64);
    if (panels == 2) _tile_stored(1, sums[1], 64);
    if (blocks == 2) _tile_stored(2, sums[2], 64);
    if (blocks == 2 && panels == 2) _tile_stored(3, sums[3], 64);
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++) {
        const __m512 scale = _mm512_loadu_ps(l->scale + first + 16 * p), bias = _mm512_loadu_ps(l->bias + first + 16 * p);
        for (int r = 0; r < rows; r++) {
            __m512 y = _mm512_cvtepi32_ps(_mm512_load_si512(sums[r / 16 * 2 + p] + r % 16 * 16));
            y = _mm512_fmadd_ps(y, _mm512_mul_ps(scale, _mm512_set1_ps(row_scale[r])), bias);
            st(out + r * out_stride + 16 * p, finish(kind, (vf)y));
        }
    }
}

static void tile(int rows, int panels, const Act *a, long stride, int quads, const float *row_scale, const Linear *l,
                 int first, int kind, float *out, long out_stride) {
#define CASE(b, p) \
    if ((rows + 15) / 16 == b && panels == p) \
        fixed(b, p, rows, a, stride, quads, row_scale, l, first, kind, out, out_stride);
    CASE(1, 1) CASE(1, 2) CASE(2, 1) CASE(2, 2)
}
#endif
