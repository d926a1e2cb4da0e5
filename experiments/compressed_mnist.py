"""How much smaller may LeNet-5 be before it reads MNIST worse?

The question of compressed.py, of LeNet-5 (61,706 parameters; LeCun et al. 1998) on MNIST, which is found in
$FDL_DATA or downloaded. Han, Mao and Dally 2016, Deep Compression, table 1, store a wider one in a 39th of
its bytes without loss, by pruning, quantisation and entropy coding, which is not here.

Two claims, with the bounds of compressed.py: eight bits after training take at most 27 % of the bytes, and
accuracy stays within 0.5 points; without nine of ten weights, by their size, it stays within 1 point
(control: by chance it does not).

    fdl sweep experiments/compressed_mnist.py

8 minutes of processor time; 29 minutes on 2 cores that others used too (2026-11-28). 1,000 steps are 1.3
passes over the images.
"""

from compressed import CLAIMS as OF_DIGITS
from compressed import FRONT as FRONT
from compressed import Config as Config
from compressed import experiment as experiment
from compressed import int8_after, nine_tenths, nine_tenths_by_chance, plain

import fdl

METHODS = (plain, int8_after, nine_tenths, nine_tenths_by_chance)
SWEEP = fdl.grid(Config(mnist=True, steps=1000), method=METHODS, seeds=6)
CLAIMS = tuple(claim._replace(id=name) for name, claim in zip(("E4.4", "E4.5"), OF_DIGITS, strict=False))
