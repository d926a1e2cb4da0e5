"""Published weights in Hugging Face's layout, as models and their variables; no pickle is ever read."""

from fdl.pretrained.bert import load_bert as load_bert
from fdl.pretrained.bert import load_masked_bert as load_masked_bert
from fdl.pretrained.bert import load_pooled_bert as load_pooled_bert
from fdl.pretrained.bert import write_masked_bert as write_masked_bert
from fdl.pretrained.distilbert import load_distilbert as load_distilbert
from fdl.pretrained.distilbert import load_masked_distilbert as load_masked_distilbert
from fdl.pretrained.gpt2 import load_gpt2 as load_gpt2
from fdl.pretrained.gpt2 import write_gpt2 as write_gpt2
from fdl.pretrained.llama import load_llama as load_llama
from fdl.pretrained.resnet import load_resnet as load_resnet
from fdl.pretrained.resnet import write_resnet as write_resnet
from fdl.pretrained.roberta import load_masked_roberta as load_masked_roberta
from fdl.pretrained.roberta import load_roberta as load_roberta
from fdl.pretrained.t5 import load_t5 as load_t5
from fdl.pretrained.t5 import write_t5 as write_t5
from fdl.pretrained.tokens import tokenized as tokenized
from fdl.pretrained.vit import load_vit as load_vit
from fdl.pretrained.vit import write_vit as write_vit
from fdl.pretrained.weights import read_weights as read_weights
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
