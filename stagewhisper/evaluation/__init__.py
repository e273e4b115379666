"""How good and how fast a model is on recordings whose true text is known."""

from stagewhisper.evaluation.comparison import Comparison, compare_texts
from stagewhisper.evaluation.datasets import load_dataset, load_datasets
from stagewhisper.evaluation.evaluate import evaluate
from stagewhisper.evaluation.items import DataSet, Item
from stagewhisper.evaluation.journal import Journal
from stagewhisper.evaluation.normalization import NORMALIZERS, normalizer_for
from stagewhisper.evaluation.reference import beside_reference, read_document
from stagewhisper.evaluation.results import Clip, EditCounts, ErrorRate, Evaluation, Figures, Row
from stagewhisper.evaluation.scoring import Score, score
from stagewhisper.evaluation.transcriber import Transcriber

__all__ = [
    "NORMALIZERS",
    "Clip",
    "Comparison",
    "DataSet",
    "EditCounts",
    "ErrorRate",
    "Evaluation",
    "Figures",
    "Item",
    "Journal",
    "Row",
    "Score",
    "Transcriber",
    "beside_reference",
    "compare_texts",
    "evaluate",
    "load_dataset",
    "load_datasets",
    "normalizer_for",
    "read_document",
    "score",
]
