"""`python -m morlaif_core.testing.fault_server` serves; imported, it is the function of its name."""

from __future__ import annotations

import sys

from morlaif_core.testing.faultserver import fault_server

if __name__ == "__main__":
    from morlaif_core.testing.faultserver.__main__ import main

    main()
else:
    # What is bound to the name in the package is what stands here: the function, whoever imports this module.
    sys.modules[__name__] = fault_server  # type: ignore[assignment]
