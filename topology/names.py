"""What a name is: of a ring, a tenant, a head version. One rule, so that who can be asked for can also be stored.

A name is a part of topic keys, of Redis keys and of the head store's paths, and stands in error messages and logs.
"""

from __future__ import annotations

# A directory's name may have 255 bytes; a version that is being written has a dot and 33 more around it.
MAX_NAME_BYTES = 200
_NOT_IN_PATHS = frozenset("/\\")


def fault_of_name(value: object) -> str:
    """What is wrong with `value` as a name, to be said after it; empty where nothing is.

    A name is a str of 1 to 200 bytes of UTF-8, printable, without '/' and '\\', that does not begin with a dot.
    """
    if not isinstance(value, str):
        return f"a str is wanted, this is {type(value).__name__}"
    # A lone surrogate is not printable, so that what is printable has bytes.
    if not value or not value.isprintable() or len(value.encode()) > MAX_NAME_BYTES:
        return f"1 to {MAX_NAME_BYTES} bytes of printable characters are wanted, this is {value[:40]!r}"
    if value[0] == "." or not _NOT_IN_PATHS.isdisjoint(value):
        return f"a name has no '/' and no '\\' and does not begin with a dot, this is {value[:40]!r}"
    return ""
