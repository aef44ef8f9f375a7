/* An empty Python module: it makes the kernels one shared library that setuptools builds. ctypes calls what is exported. */
#include <Python.h>
#include "kernels.h"

/* A bit for each instruction set this processor has: 1 AVX2 with FMA, 2 AVX-512 with VNNI. */
EXPORT int headrace_processor(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    return (avx2 ? 1 : 0) | (vnni ? 2 : 0);
#else
    return 0;
#endif
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&definition); }
