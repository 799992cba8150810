"""Execute the notebooks in batches through papermill: one by one, or as grids on many workers."""

import sys

# jsonschema, behind nbformat, would compile a grammar of web addresses (3 s in every worker) to
# check a format that no notebook has. It does without where this import fails.
sys.modules.setdefault("rfc3987_syntax", None)
