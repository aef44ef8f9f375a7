/* Any processor: plain C, which the compiler vectorises as well as it can. */
#define ISA(name) headrace_generic_##name
#define ACT_ZERO 0
#define TILE_PANELS 1
#define TILE_ROWS 6
#include <stdint.h>
typedef int16_t Act;
#include "forward.h"

static void tile(int rows, int panels, const Act *a, long stride, int quads, const float *row_scale, const Linear *l,
                 int first, int kind, float *out, long out_stride) {
    const int8_t *w = l->weight + (long)first / 16 * quads * 64;
    (void)panels;
    for (int r = 0; r < rows; r++) {
        int32_t acc[16] = {0};
        for (int k = 0; k < quads; k++)
            for (int c = 0; c < 16; c++)
                for (int i = 0; i < 4; i++) acc[c] += w[k * 64 + c * 4 + i] * a[r * stride + 4 * k + i];
        for (int c = 0; c < 16; c += LANES) {
            vf y;
            for (int j = 0; j < LANES; j++) y[j] = (float)acc[c + j];
            y = y * (ld(l->scale + first + c) * row_scale[r]) + ld(l->bias + first + c);
            st(out + r * out_stride + c, finish(kind, y));
        }
    }
}
