"""The version of pghot, apart from the package itself: whoever needs it must not import what the package offers."""

__version__ = "0.1.0"
