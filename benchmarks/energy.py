"""Joules that a device takes, where it tells them: by NVML or by nvidia-smi, else None."""

import shutil
import subprocess
import threading
import time

SMI = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-i", "0"]
EVERY_MS = 100


class Meter:
    """Joules of a block: `with meter: ...`, then `meter.joules`; made once for a device."""

    def __init__(self, platform):
        self.joules = None
        self._counter = _nvml_counter() if platform != "cpu" else None
        self._smi = platform != "cpu" and self._counter is None and _smi_tells()
        self.tells = self._counter is not None or self._smi

    def __enter__(self):
        if self._counter:
            self._before = self._counter()
        elif self._smi:
            command = [*SMI, "-lms", str(EVERY_MS)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self._watts, self._start = [], time.perf_counter()
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_):
        if self._counter:
            self.joules = self._counter() - self._before
        elif self._smi:
            seconds = time.perf_counter() - self._start
            self._process.terminate()
            self._process.wait()
            self._reader.join(1.0)
            enough = self._watts and seconds > 4e-3 * EVERY_MS
            self.joules = seconds * sum(self._watts) / len(self._watts) if enough else None

    def _read(self):
        for line in self._process.stdout:
            try:
                self._watts.append(float(line))
            except ValueError:  # "[N/A]"
                continue


def _nvml_counter():
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # not installed, or a device without a counter
        return None
    return lambda: 1e-3 * pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)


def _smi_tells():
    if shutil.which(SMI[0]) is None:
        return False
    try:
        told = subprocess.run(SMI, capture_output=True, text=True, timeout=10).stdout
        return float(told.splitlines()[0]) > 0
    except (subprocess.TimeoutExpired, ValueError, IndexError, OSError):
        return False
