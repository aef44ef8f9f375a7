"""Every error class of both client libraries has a fate that somebody chose."""

import asyncio
import inspect

import aiokafka.errors
import pytest
import redis.asyncio.sentinel
import redis.cluster
import redis.exceptions
import redis.sentinel

from topology import errors
from topology.stream.failures import FATES, Fate, fate_of


def below(root):
    return {root}.union(*map(below, root.__subclasses__()))


def classes(module, *roots):
    found = {c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, Exception)}
    return sorted({c.__name__ for c in found.union(*map(below, roots)) if not c.__module__.startswith("topology")})


@pytest.mark.parametrize("name", classes(aiokafka.errors, aiokafka.errors.KafkaError))
def test_each_error_of_the_kafka_client_has_a_fate_chosen_on_purpose(name):
    assert name in FATES


@pytest.mark.parametrize("name", classes(redis.exceptions, redis.exceptions.RedisError))
def test_each_error_of_the_redis_client_has_a_fate_chosen_on_purpose(name):
    assert name in FATES


def test_each_error_of_ours_has_a_fate():
    for kind in below(errors.HeadraceError) - {errors.HeadraceError}:
        assert any(parent.__name__ in FATES for parent in kind.__mro__[:-1]), kind


@pytest.mark.parametrize("message,fate", [
    ("NOREPLICAS Not enough good replicas to write.", Fate.MOMENT),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk", Fate.MOMENT),
    ("BUSY Redis is busy running a script.", Fate.MOMENT),
    ("UNKILLABLE Sorry the script already executed write commands", Fate.MOMENT),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", Fate.RECORD),
    ("ERR Error running script (call to f_1): @user_script:14: WRONGTYPE Operation against a key", Fate.RECORD),
    ("ERR Error running script (call to f_1): @user_script: 2: -OOM command not allowed", Fate.MOMENT),
    ("OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:1.", Fate.MOMENT),
    ("ERR string exceeds maximum allowed size (proto-max-bulk-len)", Fate.RECORD),
    ("ERR unknown command 'EVALSHA'", Fate.CONFIGURATION),
    ("DENIED Redis is running in protected mode", Fate.CONFIGURATION),
    ("ERR something that a later Redis says", Fate.PROCESS),
    ("", Fate.PROCESS),
])
def test_what_a_redis_server_says_decides_where_its_error_has_no_class(message, fate):
    assert fate_of(redis.exceptions.ResponseError(message)) is fate


def test_errors_that_a_library_lets_through_are_a_matter_of_the_moment():
    for error in (ConnectionResetError(), TimeoutError(), OSError(), asyncio.IncompleteReadError(b"", 1)):
        assert fate_of(error) is Fate.MOMENT


def test_a_class_that_a_later_library_adds_takes_its_parents_fate_and_else_ends_the_process():
    class NewConnectionError(aiokafka.errors.KafkaConnectionError):
        pass

    class NewError(aiokafka.errors.KafkaError):
        pass

    assert fate_of(NewConnectionError()) is Fate.MOMENT
    assert fate_of(NewError()) is fate_of(ZeroDivisionError()) is Fate.PROCESS
