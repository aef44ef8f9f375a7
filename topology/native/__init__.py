"""int8 in C and numpy: the kernels of encoders and heads, the tensor files they map, and the wire's form."""
