"""Do the published experiments come out of the lab? The worst cell of each shipped validation."""

from __future__ import annotations

import json
from typing import Any

from pghot.lab.validate import VALIDATIONS, run_validation


def run() -> dict[str, dict[str, Any]]:
    out = {}
    for name in VALIDATIONS.names():
        result = run_validation(name)
        out[f"validate_{name}"] = {
            "value": result.worst_error,
            "bar": result.bar,
            "ok": result.ok,
            "unit": f"worst relative error of {len(result.cells)} cells (mean {result.mean_error:.3f})",
        }
    return out


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
