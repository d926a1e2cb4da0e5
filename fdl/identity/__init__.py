"""What a program means, its code and its data: so that only equal runs are taken for equal."""

from fdl.identity.content import files as files
from fdl.identity.found import Meaning as Meaning
from fdl.identity.meaning import meaning as meaning
from fdl.identity.places import installed as installed
from fdl.identity.places import versions as versions
from fdl.identity.program import inputs_read as inputs_read
from fdl.identity.program import program_digest as program_digest
from fdl.identity.program import told_whole as told_whole
