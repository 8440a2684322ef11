"""The configuration: `load` reads and checks a file, `Configuration` is what the service works with."""

from __future__ import annotations

from monitor.config.configuration import Configuration
from monitor.config.loader import examine, load
from monitor.config.problem import Problem
from monitor.config.settings import ModelSettings

__all__ = ["Configuration", "ModelSettings", "Problem", "examine", "load"]
