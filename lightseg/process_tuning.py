"""Settings of the training process: reuse of freed memory and spin time of idle threads. Does not import torch.

Both matter on CPUs alone. They stay unchanged where the platform lacks them or the user's environment sets them.
"""

import ctypes
import os
import sys

# mallopt's parameters, from glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 << 20
SPIN_COUNT = "10000"  # libgomp's default is 300000


def tune_process() -> dict[str, bool]:
    """Apply both settings. Call it once, before torch is imported. Returns whether each took effect."""
    return {"kept_memory": keep_freed_memory(), "short_spin": shorten_spin()}


def keep_freed_memory() -> bool:
    """Make glibc's malloc keep freed memory instead of returning it to the system. True if it took effect.

    By default every large tensor is mapped anew, and the kernel clears each of its pages at first touch. That takes 4
    to 7 % of a training step, more on a busy machine. Peak memory grows by a tenth at most and is returned at exit.
    Other platforms and C libraries stay unchanged.
    """
    try:
        if not sys.platform.startswith("linux") or not os.confstr("CS_GNU_LIBC_VERSION"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):  # no such name, symbol or library, as with musl
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def shorten_spin() -> bool:
    """Let idle OpenMP threads spin for half a millisecond instead of about fifteen before they sleep. True if set.

    A spinning thread occupies a core that data workers or other programs need. On an idle machine the short spin costs
    nothing (measured: 1.00 of the time; no spin at all 1.2). An environment with OMP_WAIT_POLICY or GOMP_SPINCOUNT
    takes precedence. libgomp (torch's on Linux) reads the variable when it is loaded, so this has no effect after
    torch's import.
    """
    if "torch" in sys.modules or {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return False
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    return True


def emulates_bfloat16() -> bool:
    """Whether this is an x86 CPU without bfloat16 instructions (detected on Linux; False elsewhere).

    Mixed precision is slower than float32 there: 0.4 of its speed for a training step of LR-ASPP.
    """
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return bool(flags) and not {"avx512_bf16", "amx_bf16"} & set(flags)
