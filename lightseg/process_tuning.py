"""Settings of the process that trains: how memory is kept and how long idle threads spin. Nothing here imports torch.

Both matter on CPUs alone and are left as they are where the platform or the user's environment says otherwise.
"""

import ctypes
import os
import sys

# mallopt's parameters, from glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 << 20
SPIN_COUNT = "10000"  # libgomp's own is 300000


def tune_process() -> dict[str, bool]:
    """Apply both settings; call once, before torch is imported. Returns which of them took effect."""
    return {"kept_memory": keep_freed_memory(), "short_spin": shorten_spin()}


def keep_freed_memory() -> bool:
    """Make glibc's malloc keep freed memory for the next step instead of handing it back; True if it took effect.

    By default every large tensor is mapped anew, and the kernel clears each of its pages at first touch: 4 to 7 % of a
    training step, more on a busy machine. Peak memory grows by a tenth at most, and is not given back before the end.
    Linux with glibc alone; other C libraries are left as they are.
    """
    try:
        if not sys.platform.startswith("linux") or not os.confstr("CS_GNU_LIBC_VERSION"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):  # no such name, symbol or library: musl
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def shorten_spin() -> bool:
    """Let OpenMP's idle threads spin for half a millisecond, not for some fifteen, before they sleep; True if set.

    A thread that spins takes the core away from whoever it waits for, as soon as data workers or other programs want
    the same cores. On an idle machine the short spin costs nothing (measured: 1.00 of the time; no spin at all 1.2).
    An environment that sets OMP_WAIT_POLICY or GOMP_SPINCOUNT decides itself. libgomp (torch's on Linux) reads the
    variable as it is loaded, so after torch's import this does nothing.
    """
    if "torch" in sys.modules or {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return False
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    return True


def emulates_bfloat16() -> bool:
    """Whether this is an x86 CPU without bfloat16 instructions (Linux tells; elsewhere False): mixed precision is
    slower than float32 there, 0.4 of its speed for a training step of LR-ASPP."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return bool(flags) and not {"avx512_bf16", "amx_bf16"} & set(flags)
