"""The book: the stored notebooks and the pages beside this file as a static site (`make book`).

Nothing is executed, and no page asks another machine for anything: MathJax comes with its package.
"""

import sys
from pathlib import Path

project = "DAF and DyFuLM, a companion that you can run"
author = copyright = "the mmlib authors"
html_title = "DAF and DyFuLM"
language = "en"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
exclude_patterns = [".ipynb_checkpoints"]
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]
html_theme = "furo"  # light and dark, readable on a phone
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["static"]
html_extra_path = ["extra"]  # what opens first
html_css_files = ["wide.css"]
html_show_sphinx = False
root_doc = "book/index"


def setup(app) -> None:
    """The reference is made from the source before the pages are read."""
    sys.path.insert(0, str(Path(__file__).parent))
    import reference

    reference.write()
