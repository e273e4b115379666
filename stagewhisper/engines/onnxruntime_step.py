"""One token after the other through a decoder whose past lies in fixed buffers: bound once, called many times.

    tokens, n_past ─► written into two small arrays that are bound ─► run ─► logits, copied out of a third

What a call needs is the same from step to step but for these numbers. To bind some dozens of tensors anew would take as
long as a tiny model's attention.
"""

from collections.abc import Mapping

import numpy as np

from stagewhisper.arrays import PositionLogits, Tokens
from stagewhisper.engines.onnxruntime_past import Buffers, ort, tensor_type


class StepCall:
    """Calls of one decoder with one token for each sequence, on one set of buffers. Not for several threads at once."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        n_seq: int,
        *,
        inputs: Buffers,
        outputs: Mapping[str, ort.OrtValue],
    ) -> None:
        """`inputs` and `outputs` are all that stays the same: keys and values, and where they are written."""
        names = {one.name: one for one in decoder.get_inputs()}
        logits = next(output for output in decoder.get_outputs() if output.name == "logits")
        n_vocab = int(logits.shape[-1])
        self._decoder, self._binding = decoder, decoder.io_binding()
        self._tokens, self._n_past = np.zeros((n_seq, 1), np.int64), np.zeros((), np.int64)
        self._logits = np.zeros((n_seq, 1, n_vocab), tensor_type(logits.type))
        own = {"tokens": self._tokens, "n_past": self._n_past, "logit_positions": np.array([-1])}
        self._kept = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in own.items() if name in names}
        self._kept["logits"] = ort.OrtValue.ortvalue_from_numpy(self._logits)
        for name, value in inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        for name, value in self._kept.items():
            if name == "logits":
                self._binding.bind_ortvalue_output(name, value)
            else:
                self._binding.bind_ortvalue_input(name, value)
        self._alive = (inputs, outputs, own)  # ONNX Runtime reads the arrays' own memory

    def run(self, tokens: Tokens, n_past: int) -> PositionLogits:
        """Logits after `tokens` [n_seq, 1], which stand behind `n_past` others."""
        self._tokens[...] = tokens
        self._n_past[...] = n_past
        self._decoder.run_with_iobinding(self._binding)
        return self._logits.copy()
