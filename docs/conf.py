"""Sphinx configuration of the documentation site: ``make docs``."""

from __future__ import annotations

from eas import __version__

project = "EAS on Prefect"
author = "the developers of EAS on Prefect"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["example_task_package/src"]
nb_execution_mode = "off"  # notebooks are committed with their results, which a test checks
myst_heading_anchors = 4  # the same anchors of headings as on code hosting sites
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"EAS on Prefect {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_extra_path = ["chain.schema.json", "chain.strict.schema.json"]
