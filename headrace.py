"""`from headrace import Headrace`: the name a service writes. Everything stands in `producers`."""

from producers import *  # noqa: F403
from producers import __all__ as __all__
