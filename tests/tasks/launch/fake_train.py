"""What train.py leaves on the disk, in a tenth of a second: a run whose metric follows from its configuration.

The environment may say: CALLS, a file that gets a line a call; HANG, a seed whose run stays in its second epoch as long
as the file `hang` beside CALLS exists; EPOCHS=0, to hang in the first; FAIL, a seed whose run fails.
"""

import math
import os
import sys
import time
from pathlib import Path

from lightseg import record
from lightseg.atomic_io import write_json
from lightseg.config.compose import compose, plain
from lightseg.config.sweep import identity
from tasks.run import run_folder

config = plain(compose(sys.argv[1:]))
seed, calls = str(config["seed"]), Path(os.environ["CALLS"])
with open(calls, "a") as file:
    file.write(f"{identity(config)} seed={seed} {'resumed' if config['resume'] else 'begun'} {os.getpid()}\n")
folder = run_folder.run_folder(config)
claimed = run_folder.claim(folder)
run_folder.save_config(config, folder)
print(f"run folder: {folder}", flush=True)
if seed == os.environ.get("FAIL"):
    print(f"error: seed {seed} is not to be run", file=sys.stderr)
    sys.exit(2)
if os.environ.get("EPOCHS") != "0":
    run_folder.last_checkpoint(folder).parent.mkdir(exist_ok=True)
    run_folder.last_checkpoint(folder).touch()
while seed == os.environ.get("HANG") and calls.with_name("hang").exists():
    (calls.parent / "hanging").touch()
    time.sleep(0.02)
quality = 0.5 + 0.01 * config["seed"] - 0.1 * abs(math.log10(config["optimizer"]["lr"]) + 3)
content = {
    "schema": record.SCHEMA,
    "task": config["task"],
    "metrics": {"val/mIoU": quality, "val/mAP": quality, "val/top1": quality},
    "cost": {"params": 1_000_000, "madds": 50_000_000, "latency_ms": 8.0 if "large" in config["backbone"] else 4.0},
    "config": config,
    "config_hash": record.config_hash(config),
    "seed": config["seed"],
}
write_json(folder / "record.json", content)
run_folder.release(claimed)
