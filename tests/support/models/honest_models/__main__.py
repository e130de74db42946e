"""Save the models; run by its folder, in any environment."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.simplefilter("ignore")
from honest_models.saving import main  # type: ignore[import-not-found]  # noqa: E402  # found once its folder is known

main(Path(sys.argv[1]))
