"""The checker that the test run puts around every function of the package."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An integer passes for a float, as it does for static checkers."""
