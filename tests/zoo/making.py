"""`python -m tests.zoo.making FOLDER`, in the environment of the zoo: make every model, and list them in zoo.json."""

from __future__ import annotations

import json
import logging
import sys
import traceback
import warnings
from pathlib import Path

from tests.zoo.kinds.array_kinds import list_array_kinds
from tests.zoo.kinds.booster_kinds import list_booster_kinds
from tests.zoo.kinds.code_kinds import list_code_kinds
from tests.zoo.kinds.folder_kinds import list_folder_kinds
from tests.zoo.kinds.frame_kinds import list_frame_kinds
from tests.zoo.kinds.graph_kinds import list_graph_kinds
from tests.zoo.kinds.specimen import LISTED


def main(folder: Path) -> int:
    """Make them; the exit code is 1 if one could not be made."""
    warnings.simplefilter("ignore")
    # MLflow warns of each pickle.
    logging.disable(logging.WARNING)
    made, failed = [], 0
    for kinds in (
        list_frame_kinds, list_array_kinds, list_booster_kinds, list_graph_kinds, list_code_kinds, list_folder_kinds,
    ):  # fmt: skip
        for specimen in kinds():
            own = folder / specimen.name
            own.mkdir(parents=True)
            try:
                arguments = specimen.make(own)
            except Exception:
                failed += 1
                print(f"{specimen.name} could not be made:", file=sys.stderr)
                traceback.print_exc()
                continue
            said = {"name": specimen.name, "kind": specimen.kind, "served": specimen.served, "arguments": arguments}
            made.append(said)
    (folder / LISTED).write_text(json.dumps(made), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
