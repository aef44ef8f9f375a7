"""Token providers as headrace.toml names them, giving what an identity server would: JSON web tokens, here unsigned."""

import base64
import json
import time

given = []


def _encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _token(good_s):
    # Issued a second ago: Kafka rounds to milliseconds and refuses a token of the next one.
    claims = {"sub": "alice", "iat": time.time() - 1, "exp": time.time() + good_s}
    given.append(f"{_encoded({'alg': 'none'})}.{_encoded(claims)}.")
    return given[-1], claims["exp"]


def short():
    """Good for four seconds: Kafka ends the connection then."""
    return _token(4)


async def long():
    """Good for an hour, from an asynchronous callable."""
    return _token(3_600)


def rubbish():
    """What no broker takes."""
    return "rubbish"


def nothing():
    """As a hook without a return."""


def failing():
    """As while the identity server is away."""
    raise ConnectionError("the identity server is away")
