"""Weights that are written in Hugging Face's layout are read again the same, by fdl and by Transformers."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import pytest

from fdl import models, pretrained

TEXT = np.random.default_rng(7).integers(1, 13, (2, 6)).astype(np.int32)
IMAGES = np.random.default_rng(7).normal(size=(2, 40, 40, 2)).astype(np.float32)
SIZES = {"width": 16, "layers": 2, "heads": 4}


class Case(NamedTuple):
    write: Callable[..., None]
    load: Callable[..., Any]
    model: nn.Module
    inputs: tuple[np.ndarray, ...]
    theirs: str


def bert(**more: Any) -> Any:
    return models.MaskedLanguageModel(models.bert(13, length=8, hidden=24, **SIZES, **more))


def vit(**more: Any) -> Any:
    return models.vision_transformer(3, size=40, patch=20, hidden=24, **SIZES, **more)


def gpt2(**more: Any) -> Any:
    return models.gpt2(13, length=8, **SIZES, **more)


BERT = pretrained.write_masked_bert, pretrained.load_masked_bert
GPT2 = pretrained.write_gpt2, pretrained.load_gpt2
RESNET = pretrained.write_resnet, pretrained.load_resnet
VIT = pretrained.write_vit, pretrained.load_vit
T5 = pretrained.write_t5, pretrained.load_t5
LARGE = models.ResNet((1, 2), 3, width=4, bottleneck=True)
SMALL_T5 = models.t5(13, width=16, layers=2, heads=4, head_width=6, hidden=24)
CASES = {
    "bert": Case(*BERT, bert(), (TEXT,), "BertForMaskedLM"),
    "gpt2": Case(*GPT2, gpt2(dropout=0.1), (TEXT,), "GPT2LMHeadModel"),
    "untied gpt2": Case(*GPT2, gpt2(tied=False), (TEXT,), "GPT2LMHeadModel"),
    "vit": Case(*VIT, vit(), (IMAGES,), "ViTForImageClassification"),
    "resnet": Case(*RESNET, models.ResNet((1, 2), 3, width=4), (IMAGES,), "ResNetForImageClassification"),
    "bottlenecks": Case(*RESNET, LARGE, (IMAGES,), "ResNetForImageClassification"),
    "t5": Case(*T5, SMALL_T5, (TEXT, TEXT[:, :5]), "T5ForConditionalGeneration"),
}


@functools.cache
def variables_of(model: nn.Module, shapes: tuple[tuple[int, ...], ...], kind: str) -> Any:
    """Random ones, no two alike, so that none can stand for another."""
    given = [jax.ShapeDtypeStruct(shape, kind) for shape in shapes]
    forms = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *given))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda one: rng.uniform(0.1, 0.6, one.shape).astype(np.float32), dict(forms))


def given(case: Case) -> Any:
    return variables_of(case.model, tuple(x.shape for x in case.inputs), case.inputs[0].dtype.name)


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_read_again_to_the_bit(name, tmp_path):
    case = CASES[name]
    case.write(tmp_path / "new", case.model, given(case))
    again, found = case.load(tmp_path / "new")
    jax.tree.map(np.testing.assert_array_equal, found, given(case))
    assert type(again) is type(case.model)


@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_it_with_the_same_logits(name, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    transformers = pytest.importorskip("transformers", reason="Transformers is the reference")
    transformers.utils.logging.disable_progress_bar()
    case = CASES[name]
    case.write(tmp_path / "new", case.model, given(case))
    loaded = getattr(transformers, case.theirs).from_pretrained(tmp_path / "new", output_loading_info=True)
    module, told = loaded[0].eval(), loaded[1]
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    names = ("input_ids", "decoder_input_ids")
    theirs = {name: torch.tensor(x.astype(np.int64)) for name, x in zip(names, case.inputs, strict=False)}
    if case.inputs[0].dtype == np.float32:
        theirs = {"pixel_values": torch.tensor(np.moveaxis(IMAGES, -1, 1).copy())}
    with torch.no_grad():
        expected = module(**theirs)["logits"].numpy()
    ours = jax.jit(case.model.apply)(given(case), *case.inputs)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


OTHERS = {
    "another activation": (models.ResNet((1, 2), 3, width=4, activation=nn.gelu), "resnet"),
    "small images": (models.ResNet((1, 2), 3, width=4, small=True), "resnet"),
    "no mask": (gpt2(mask=None), "gpt2"),
    "norms after": (gpt2(pre_norm=False), "gpt2"),
    "another epsilon": (bert(norm=functools.partial(models.layer_norm, epsilon=1e-5)), "bert"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_the_file_cannot_tell_of_is_refused_and_nothing_is_written(name, tmp_path):
    model, of = OTHERS[name]
    case = CASES[of]._replace(model=model)
    with pytest.raises(ValueError, match=r"none that Hugging Face's|the variables differ from such") as said:
        case.write(tmp_path / "new", model, given(case))
    assert "\n" not in str(said.value) and not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    case = CASES["gpt2"]
    (tmp_path / "mine").write_text("here")
    with pytest.raises(ValueError, match="holds something already"):
        case.write(tmp_path, case.model, given(case))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_numbers_that_float32_does_not_hold_are_not_rounded_in_silence(tmp_path):
    case = CASES["gpt2"]
    fine = jax.tree.map(lambda leaf: leaf.astype(np.float64) + 1e-12, given(case))
    with pytest.raises(ValueError, match="more digits than float32"):
        case.write(tmp_path / "new", case.model, fine)
