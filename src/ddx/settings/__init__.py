"""Files and environment to one frozen value; the only reader of the environment.

A value comes from its default, then `ddx.toml`, then a `DDX_*` variable. The tracking server's
two values come from `mlflow_server_config.py`. Relative paths are relative to the folder that
holds these files: the home.
"""

from ddx.settings.load import find_home, load
from ddx.settings.places import mask_uri
from ddx.settings.values import Settings, about

__all__ = ["Settings", "about", "find_home", "load", "mask_uri"]
