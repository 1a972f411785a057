"""The cost of a model: in total (`cost.py`), by layer (`layers.py`) and by stage (`stages.py`).

`lightseg.profile.api.profile` measures all of it; `lightseg profile` prints it.
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
