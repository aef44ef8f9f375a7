"""Kubernetes manifests from headrace.toml: a Kustomize base, components and overlays.

`fleet` says what is rendered and how it is named, `check` what cannot be. A file of manifests is a function that
returns maps; `tree` puts the files together, `text` writes them as YAML, `folder` to disk.
"""
