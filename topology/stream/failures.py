"""The four fates of a failure, and the one place that decides which of them an error of aiokafka or redis has.

    Fate
    ├─ RECORD         refuse this record alone, in a form that always fits; its neighbors go on
    ├─ MOMENT         nothing is wrong with it or with us: wait, try again, tell callers within their deadline
    ├─ PROCESS        start anew: exit 75, the first cause on the last line
    └─ CONFIGURATION  no retry and no restart helps: exit 2, a person must act

Decided by the names of classes, so that the libraries stay behind their doors (`kafka.py`, `replies.py`). A name that
is not listed takes the fate of its nearest listed parent; a class of which nothing is known is PROCESS. A test walks
every error class of both libraries and fails where one is not listed by its own name.
"""

from __future__ import annotations

import enum
import re


class Fate(enum.Enum):
    """What a failure is about, and so what is done."""

    RECORD = "this record"
    MOMENT = "this moment"
    PROCESS = "this process"
    CONFIGURATION = "this configuration"


# Kafka's, by what the broker or aiokafka calls them. The last line of a group: codes that aiokafka 0.14 has no class
# for; `kafka.py` gives it one.
_KAFKA = {
    Fate.RECORD: """
        CorruptRecordException MessageSizeTooLargeError RecordListTooLargeError RecordTooLargeError
        UnsupportedCodecError
        InvalidRecord UnsupportedCompressionType
    """,
    Fate.MOMENT: """
        NoBrokersAvailable NodeNotReadyError KafkaProtocolError CorrelationIdError Cancelled TooManyInFlightRequests
        StaleMetadata MetadataEmptyBrokerList KafkaUnavailableError KafkaTimeoutError KafkaConnectionError
        CommitFailedError QuotaViolationError NoOffsetForPartitionError OffsetOutOfRangeError
        UnknownTopicOrPartitionError LeaderNotAvailableError NotLeaderForPartitionError RequestTimedOutError
        BrokerNotAvailableError ReplicaNotAvailableError StaleControllerEpochError StaleLeaderEpochCodeError
        GroupLoadInProgressError GroupCoordinatorNotAvailableError NotCoordinatorForGroupError
        NotEnoughReplicasError NotEnoughReplicasAfterAppendError IllegalGenerationError UnknownMemberIdError
        RebalanceInProgressError NotControllerError DuplicateSequenceNumber ConcurrentTransactions
        OperationNotAttempted KafkaStorageError LogDirNotFound ReassignmentInProgress FetchSessionIdNotFound
        InvalidFetchSessionEpoch ListenerNotFound MemberIdRequired
        FencedLeaderEpoch UnknownLeaderEpoch OffsetNotAvailable PreferredLeaderNotAvailable GroupMaxSizeReached
        EligibleLeadersNotAvailable UnstableOffsetCommit ThrottlingQuotaExceeded UnknownTopicId InconsistentTopicId
    """,
    Fate.PROCESS: """
        KafkaError BrokerResponseError NoError UnknownError IllegalStateError IllegalArgumentError ProducerClosed
        ProducerFenced InvalidFetchRequestError OffsetMetadataTooLargeError InvalidCommitOffsetSizeError
        InvalidTimestampError InvalidRequestError TopicAlreadyExistsError OutOfOrderSequenceNumber
        InvalidProducerEpoch InvalidTxnState InvalidProducerIdMapping TransactionCoordinatorFenced UnknownProducerId
        NonEmptyGroup GroupIdNotFound ConsumerStoppedError IllegalOperation
    """,
    Fate.CONFIGURATION: """
        UnrecognizedBrokerVersion IncompatibleBrokerVersion AuthenticationMethodNotSupported
        AuthenticationFailedError KafkaConfigurationError InvalidTopicError InvalidRequiredAcksError
        InconsistentGroupProtocolError InvalidGroupIdError InvalidSessionTimeoutError TopicAuthorizationFailedError
        GroupAuthorizationFailedError ClusterAuthorizationFailedError UnsupportedSaslMechanismError
        IllegalSaslStateError UnsupportedVersionError InvalidPartitionsError InvalidReplicationFactorError
        InvalidReplicationAssignmentError InvalidConfigurationError UnsupportedForMessageFormatError
        PolicyViolationError InvalidTransactionTimeout TransactionalIdAuthorizationFailed SecurityDisabled
        SaslAuthenticationFailed DelegationTokenAuthDisabled DelegationTokenNotFound DelegationTokenOwnerMismatch
        DelegationTokenRequestNotAllowed DelegationTokenAuthorizationFailed DelegationTokenExpired
        InvalidPrincipalType
        FencedInstanceId
    """,
}

# redis-py's. A ResponseError without a class of its own is decided by what the server says, below.
_REDIS = {
    Fate.RECORD: "DataError",
    Fate.MOMENT: """
        ConnectionError TimeoutError BusyLoadingError MaxConnectionsError MasterNotFoundError SlaveNotFoundError
        NoScriptError OutOfMemoryError ReadOnlyError TryAgainError ClusterDownError MasterDownError ClusterError
        SlotNotCoveredError WatchError
    """,
    Fate.PROCESS: """
        RedisError ResponseError InvalidResponse ExecAbortError PubSubError LockError LockNotOwnedError
        ChildDeadlockedError InvalidPipelineStack IncorrectPolicyType NoSuchFieldsetError
    """,
    Fate.CONFIGURATION: """
        AuthenticationError AuthorizationError ExternalAuthProviderError NoPermissionError ModuleError
        AuthenticationWrongNumberOfArgsError AskError MovedError ClusterCrossSlotError CrossSlotTransactionError
        RedisClusterException
    """,
}

# The system's, where a library lets it through. A certificate that is not trusted stays so.
_SYSTEM = {
    Fate.MOMENT: "OSError IncompleteReadError",
    Fate.CONFIGURATION: "SSLCertVerificationError",
}

# Ours: the branches of `topology/errors.py`.
_HEADRACE = {
    Fate.RECORD: "BadRecord DeadlineExceeded Overloaded",
    Fate.MOMENT: "Unavailable",
    Fate.PROCESS: "HeadraceError",
    Fate.CONFIGURATION: "Misconfigured",
}

# What a Redis server says: the first word of an error, or a word in the error of a script ("ERR Error running script
# …: -OOM command not allowed", as 6.2 writes it).
_REDIS_SAYS = {
    Fate.RECORD: "WRONGTYPE BUSYKEY",
    Fate.MOMENT: """
        OOM READONLY NOREPLICAS MISCONF LOADING BUSY MASTERDOWN CLUSTERDOWN TRYAGAIN NOSCRIPT UNKILLABLE UNBLOCKED
        NOMASTERLINK INPROG NOGOODSLAVE NOTREADY IOERR
    """,
    Fate.PROCESS: "EXECABORT NOTBUSY NOGROUP BUSYGROUP",
    Fate.CONFIGURATION: "NOAUTH WRONGPASS NOPERM NOPROTO DENIED MOVED ASK CROSSSLOT",
}

# What has no word of its own: a plain "ERR …".
_REDIS_PHRASES = {
    "string exceeds maximum allowed size": Fate.RECORD,
    "invalid bulk length": Fate.RECORD,
    "equal or smaller than the target stream top item": Fate.RECORD,
    "not an integer or out of range": Fate.RECORD,
    "max number of clients": Fate.MOMENT,
    "unknown command": Fate.CONFIGURATION,
    "unknown redis command": Fate.CONFIGURATION,
    "operation not permitted": Fate.CONFIGURATION,
    "db index is out of range": Fate.CONFIGURATION,
    "without any password configured": Fate.CONFIGURATION,
}


def _by_name(*tables: dict[Fate, str]) -> dict[str, Fate]:
    return {name: fate for table in tables for fate, names in table.items() for name in names.split()}


FATES = _by_name(_KAFKA, _REDIS, _SYSTEM, _HEADRACE)
_SAYINGS = _by_name(_REDIS_SAYS)


def fate_of(error: BaseException) -> Fate:
    """Which of the four fates `error` has.

    For an error of aiokafka, of redis, of the system or of ours. PROCESS where nothing is known of it.
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    listed = next((name for name in names if name in FATES), "")
    if listed == "ResponseError":
        return _fate_of_saying(str(error))
    return FATES.get(listed, Fate.PROCESS)


def _fate_of_saying(message: str) -> Fate:
    first, *words = re.findall(r"\b[A-Z]{3,}\b", message) or [""]
    if first in _SAYINGS:
        return _SAYINGS[first]
    lower = message.lower()
    if phrases := [fate for phrase, fate in _REDIS_PHRASES.items() if phrase in lower]:
        return phrases[0]
    return next((_SAYINGS[word] for word in words if word in _SAYINGS), Fate.PROCESS)
