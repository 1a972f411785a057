"""From a checkpoint to a file that runs elsewhere, and the proof that both answer alike.

`lightseg.export.api.export` writes one; `lightseg.export.runner.open_exported` runs one; `metadata` is what
such a file says of itself. Nothing here imports a format's packages before they are needed.
"""
