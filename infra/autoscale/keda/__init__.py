"""KEDA's protocol for external scalers, and the Python of its messages. After a change of `externalscaler.proto`:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. infra/autoscale/keda/externalscaler.proto
"""
