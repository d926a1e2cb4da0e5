"""The report in files: each is whole or not there."""

import io
import os
import tempfile
from pathlib import Path

import pandas as pd

from fdl.report import figures, html, tables
from fdl.result import Result
from fdl.stats import Verdict
