"""What a model costs, and why: whole (`cost.py`), layer by layer (`layers.py`), and what ShuffleNetV2's guidelines say.

`lightseg.profile.api.profile` measures all of it at once; `lightseg profile` prints it.
"""

from lightseg.profile.cost import (
    count_madds,
    count_params,
    count_shift_max,
    measure_latency,
    peak_memory,
    profile_model,
)

__all__ = ["count_madds", "count_params", "count_shift_max", "measure_latency", "peak_memory", "profile_model"]
