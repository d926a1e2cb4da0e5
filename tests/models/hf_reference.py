"""The maps of `fdl.pretrained` as the tests call them."""

import functools

from fdl.pretrained.bert import bert_names, masked_bert_names, pooled_bert_names
from fdl.pretrained.gpt2 import gpt2_names as gpt2
from fdl.pretrained.llama import llama_names as llama
from fdl.pretrained.names import tree_of as tree_of
from fdl.pretrained.t5 import t5_names as t5
from fdl.pretrained.vit import vit_names as vit

__all__ = ["bert", "bert_masked", "bert_pooled", "gpt2", "llama", "t5", "tree_of", "vit"]

bert = functools.partial(bert_names, prefix="")
bert_pooled = functools.partial(pooled_bert_names, prefix="")
bert_masked = masked_bert_names
