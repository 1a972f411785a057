"""Export of a checkpoint to a file of another format, verified against the model.

`lightseg.export.api.export` writes a file, `lightseg.export.runner.open_exported` opens it, and `metadata` describes
its content. A format's packages are imported when they are needed.
"""
