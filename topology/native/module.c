/* An empty Python module: it makes the kernels one shared library that setuptools builds. ctypes calls what is exported. */
#include <Python.h>
#include "kernels.h"

#ifdef HEADRACE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives a process the tiles' 8 KB of state when it asks for them (arch_prctl(2), ARCH_REQ_XCOMP_PERM). */
static int tiles_granted(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    int there = (d >> 24 & 1) && (d >> 25 & 1); /* AMX-TILE, AMX-INT8 */
    return there && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}
#else
static int tiles_granted(void) { return 0; }
#endif

/* A bit for each instruction set this processor has: 1 AVX2 with FMA, 2 AVX-512 with VNNI, 4 AMX with int8. */
EXPORT int headrace_processor(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    return (avx2 ? 1 : 0) | (vnni ? 2 : 0) | (vnni && tiles_granted() ? 4 : 0);
#else
    return 0;
#endif
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&definition); }
