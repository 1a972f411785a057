"""lightseg: any lightweight backbone, any of four vision tasks, one comparable record.

The parts are imported by name (`lightseg.backbones`, `lightseg.model`, ...), so that using one costs only that one.
"""

__version__ = "0.1.0"
