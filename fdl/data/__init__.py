"""Data: sources whose batch is a pure function of the step, data sets, files, augmentations.

Data sets (`mnist`, `digits`, ...) and readers of files (`table`, `text`, `image_folder`, `wav_folder`) make
`Splits`; `sources` makes of them what is trained and evaluated on. Augmentations are made by functions of
their strength; `synthetic` is exactly specified data.

Example:
  >>> splits = fdl.data.digits()
  >>> train, evaluations = fdl.data.sources(splits, batch_size=64)
  >>> train.batches, list(evaluations)
  (17, ['validation', 'test'])
"""

from types import ModuleType as _ModuleType

from fdl.data import synthetic as synthetic
from fdl.data.augmentation.audio import noise_at as noise_at
from fdl.data.augmentation.audio import time_shift as time_shift
from fdl.data.augmentation.base import by_image as by_image
from fdl.data.augmentation.base import by_row as by_row
from fdl.data.augmentation.base import compose as compose
from fdl.data.augmentation.base import flip_horizontal as flip_horizontal
from fdl.data.augmentation.base import gaussian_noise as gaussian_noise
from fdl.data.augmentation.base import random_crop as random_crop
from fdl.data.augmentation.base import shift as shift
from fdl.data.augmentation.base import sometimes as sometimes
from fdl.data.augmentation.base import two_views as two_views
from fdl.data.augmentation.elastic import elastic as elastic
from fdl.data.augmentation.images import affine as affine
from fdl.data.augmentation.images import colour_jitter as colour_jitter
from fdl.data.augmentation.images import gaussian_blur as gaussian_blur
from fdl.data.augmentation.images import grey as grey
from fdl.data.augmentation.images import random_resized_crop as random_resized_crop
from fdl.data.augmentation.images import warp as warp
from fdl.data.augmentation.mel import log_mel as log_mel
from fdl.data.augmentation.mel import spec_augment as spec_augment
from fdl.data.augmentation.mixing import cutmix as cutmix
from fdl.data.augmentation.mixing import cutout as cutout
from fdl.data.augmentation.mixing import mixup as mixup
from fdl.data.augmentation.mixing import random_erasing as random_erasing
from fdl.data.augmentation.rand_augment import rand_augment as rand_augment
from fdl.data.augmentation.text import token_dropout as token_dropout
from fdl.data.batching import sequential as sequential
from fdl.data.batching import shuffled as shuffled
from fdl.data.contact_sheet import contact_sheet as contact_sheet
from fdl.data.datasets.cifar import cifar10 as cifar10
from fdl.data.datasets.cifar import cifar100 as cifar100
from fdl.data.datasets.grammar import scan_jump as scan_jump
from fdl.data.datasets.grammar import scan_length as scan_length
from fdl.data.datasets.grammar import scan_simple as scan_simple
from fdl.data.datasets.grammar import scan_turn_left as scan_turn_left
from fdl.data.datasets.mnist import fashion_mnist as fashion_mnist
from fdl.data.datasets.mnist import mnist as mnist
from fdl.data.datasets.number_names import numbers as numbers
from fdl.data.datasets.number_names import numbers_by_length as numbers_by_length
from fdl.data.datasets.pictures import faces as faces
from fdl.data.datasets.pictures import photo_patches as photo_patches
from fdl.data.datasets.pictures import photos as photos
from fdl.data.datasets.shakespeare import tiny_shakespeare_file as tiny_shakespeare_file
from fdl.data.datasets.speech import synthesised_digits as synthesised_digits
from fdl.data.datasets.spoken_digits import spoken_digits as spoken_digits
from fdl.data.datasets.tables import breast_cancer as breast_cancer
from fdl.data.datasets.tables import diabetes as diabetes
from fdl.data.datasets.tables import digit_images as digit_images
from fdl.data.datasets.tables import digits as digits
from fdl.data.datasets.tables import wine as wine
from fdl.data.datasets.time_series import co2 as co2
from fdl.data.datasets.time_series import series as series
from fdl.data.datasets.time_series import sunspots as sunspots
from fdl.data.generated import Sample as Sample
from fdl.data.generated import sampled as sampled
from fdl.data.generated import stream as stream
from fdl.data.partition import split_groups as split_groups
from fdl.data.partition import split_rows as split_rows
from fdl.data.permutation import permute as permute
from fdl.data.poisson import poisson_sampled as poisson_sampled
from fdl.data.readers.cifar import read_cifar10 as read_cifar10
from fdl.data.readers.cifar import read_cifar100 as read_cifar100
from fdl.data.readers.clips import clips as clips
from fdl.data.readers.clips import resample as resample
from fdl.data.readers.idx import read_idx as read_idx
from fdl.data.readers.image_folder import image_folder as image_folder
from fdl.data.readers.npz import read_npz as read_npz
from fdl.data.readers.records import array_record as array_record
from fdl.data.readers.records import hugging_face as hugging_face
from fdl.data.readers.table import table as table
from fdl.data.readers.wav import read_wav as read_wav
from fdl.data.readers.wav_folder import wav_folder as wav_folder
from fdl.data.scaling import standardise as standardise
from fdl.data.sources import Augmentation as Augmentation
from fdl.data.sources import sources as sources
from fdl.data.splits import Part as Part
from fdl.data.splits import Rows as Rows
from fdl.data.splits import Splits as Splits
from fdl.data.splits import on_host as on_host
from fdl.data.splits import select_columns as select_columns
from fdl.data.subsample import subsample as subsample
from fdl.data.tokens.corpus import read_text as read_text
from fdl.data.tokens.corpus import text as text
from fdl.data.tokens.vocabulary import Vocabulary as Vocabulary
from fdl.data.tokens.vocabulary import characters as characters
from fdl.data.tokens.vocabulary import read_bpe as read_bpe
from fdl.data.tokens.vocabulary import train_bpe as train_bpe
from fdl.data.tokens.vocabulary import utf8 as utf8
from fdl.data.tokens.vocabulary import write_bpe as write_bpe
from fdl.data.tokens.windows import tokens_file as tokens_file
from fdl.data.tokens.windows import windows as windows
from fdl.data.tokens.windows import write_tokens as write_tokens
from fdl.data.weighted import balanced as balanced
from fdl.data.weighted import reweighed as reweighed
from fdl.data.weighted import weighted as weighted


def __dir__() -> list[str]:
    # TAB shows what users call, not the files that it is written in.
    public = {name: value for name, value in globals().items() if not name.startswith("_")}
    return sorted(name for name in public if name == "synthetic" or not isinstance(public[name], _ModuleType))
