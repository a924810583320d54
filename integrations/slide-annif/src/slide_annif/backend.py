"""SlideBackend: what Annif asks of a backend, answered by a slide.SlideTextClassifier.

Its labels are subjects by their numbers in Annif's index; scores are the classifier's calibrated probabilities. By
default its features are slide's own, of the text as it stands, which was measured to be better than those of Annif's
TfidfVectorizerMixin over stemmed words: compare.py says how. Options are in parameters.py.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, Any

import annif.util
from annif.backend import backend, hyperopt
from annif.exception import NotInitializedException, NotSupportedException
from annif.suggestion import SuggestionBatch

import slide
from slide_annif.documents import Documents
from slide_annif.models import suggestions, trained
from slide_annif.parameters import DEFAULTS, classifier, read
from slide_annif.search import SlideOptimizer

if TYPE_CHECKING:
    from annif.corpus import Document, DocumentCorpus


class SlideBackend(hyperopt.AnnifHyperoptBackend, backend.AnnifLearningBackend):
    """slide's sampled network with a sparse linear part, over words and pairs of words."""

    name = "slide"
    MODEL_FILE = "slide-model.slide"
    TRAIN_FILE = "slide-train.jsonl.gz"
    DEFAULT_PARAMETERS = DEFAULTS

    _model: slide.SlideTextClassifier | None = None

    # -- the model ---------------------------------------------------------------------------------------------------

    def initialize(self, parallel: bool = False) -> None:
        """Loads the model, once."""
        if self._model is None:
            self._model = self._load()

    def _load(self) -> slide.SlideTextClassifier:
        path = os.path.join(self.datadir, self.MODEL_FILE)
        self.debug(f"loading model from {path}")
        if not os.path.exists(path):
            raise NotInitializedException(f"model {path} not found", backend_id=self.backend_id)
        return slide.load(path)

    def _save(self, model: slide.SlideTextClassifier) -> None:
        model.save(os.path.join(self.datadir, self.MODEL_FILE))  # whole or not at all
        self._model = model

    def _read(self, params: dict[str, Any], name: str) -> Any:
        return read(params, name, self.backend_id)

    def text_of(self, text: str, analyzed: bool) -> str:
        """What of a text is read: the text, or the words that the project's analyzer makes of it."""
        return " ".join(self.project.analyzer.tokenize_words(text)) if analyzed else text

    # -- training ----------------------------------------------------------------------------------------------------

    def _train(self, corpus: DocumentCorpus | str, params: dict[str, Any], jobs: int = 0) -> None:
        model = classifier(params, self.backend_id, jobs or None)  # refuses options before documents are read
        documents = self.cached() if corpus == "cached" else self._cache(self._documents(corpus, params))
        if not documents.texts:
            raise NotSupportedException("Cannot train slide project with no documents")
        self.info(f"training on {len(documents.texts):,} documents, {len(documents.seen()):,} subjects")
        self._save(trained(model, documents))

    def _documents(self, corpus: DocumentCorpus, params: dict[str, Any]) -> Documents:
        analyzed = self._read(params, "analyzed")
        return Documents.of(corpus.documents, lambda text: self.text_of(text, analyzed))

    def _cache(self, documents: Documents) -> Documents:
        annif.util.atomic_save(documents, self.datadir, self.TRAIN_FILE)
        return documents

    def cached(self) -> Documents:
        """The documents of the last training."""
        path = os.path.join(self.datadir, self.TRAIN_FILE)
        if not os.path.exists(path):
            raise NotInitializedException(f"train data file {path} not found", backend_id=self.backend_id)
        return Documents.load(path)

    def _learn(self, corpus: DocumentCorpus, params: dict[str, Any]) -> None:
        """Goes on training; subjects that are new come in, words that are new do not."""
        model = self._load()  # not the one that answers meanwhile
        documents = self._documents(corpus, params)
        if not documents.texts:
            return
        known = set(model.classes_.tolist())
        new = [subject for subject in documents.seen() if subject not in known]
        if new:
            model.add_labels(new)
        self.info(f"learning from {len(documents.texts):,} documents, {len(new):,} new subjects")
        target = documents.indicator(model.classes_.tolist())
        model.partial_fit(documents.texts, target, epochs=self._read(params, "learn_epochs"))
        self._save(model)

    def get_hp_optimizer(self, corpus: DocumentCorpus, metric: str) -> SlideOptimizer:
        """What `annif hyperopt` asks for."""
        return SlideOptimizer(self, corpus, metric)

    # -- suggestions -------------------------------------------------------------------------------------------------

    def _suggest_batch(self, documents: list[Document], params: dict[str, Any]) -> SuggestionBatch:
        assert self._model is not None
        analyzed = self._read(params, "analyzed")
        texts = [self.text_of(document.text, analyzed) for document in documents]
        found = suggestions(self._model, texts, self._read(params, "limit"))
        return SuggestionBatch.from_sequence(found, self.project.subjects)
