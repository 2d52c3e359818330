"""Where the project's own files are: the contract, the features, the records.

The harness is run from its repository; nothing here reads a file, it only names them.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "contract"
FEATURES = ROOT / "features"
RECORDS = ROOT / "records"
CLAUSES = CONTRACT / "clauses.toml"
