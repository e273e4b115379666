"""transformers and openai-whisper on the device that `gpu_pytorch.py` measures, given the same work.

The same work: random weights of the same shape and type, spectrograms that lie on the host, a prompt of four tokens,
then greedy steps up to a fixed number of tokens, none of which may be the end. transformers attends by torch's SDPA;
its cache is the one that it chooses itself, and its `generate` is called below Whisper's own, whose rules of language,
long recordings and timestamps would only add time. openai-whisper suppresses tokens as it always does, without rules
of timestamps; its weights are in the type wanted already, where it would convert them at every call. Both are loaded if
they are installed, and left out with a reason if not.
"""

from collections.abc import Callable
from typing import Any

import torch

from stagewhisper.checkpoint import ModelDims

Run = Callable[[torch.Tensor], Any]
"""Spectrograms on the host, "n_audio n_mels n_frames" → anything, once the device is done."""


def transformers_runs(
    dims: ModelDims, *, device: str, dtype: torch.dtype, prompt: tuple[int, ...], eot: int, n_tokens: int
) -> dict[str, Run]:
    """Its encoder, and a whole window."""
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.WhisperForConditionalGeneration(config).to(dtype).eval()

    def encode(mel: torch.Tensor) -> Any:
        return model.model.encoder(mel.to(device, dtype)).last_hidden_state

    def window(mel: torch.Tensor) -> Any:
        start = torch.tensor([prompt] * len(mel), device=device)
        return transformers.GenerationMixin.generate(
            model,
            mel.to(device, dtype),
            decoder_input_ids=start,
            max_new_tokens=n_tokens,
            min_new_tokens=n_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=eot,
            pad_token_id=eot,
        )

    return {"encode": torch.no_grad()(encode), "window": window}


def openai_runs(
    dims: ModelDims, *, device: str, dtype: torch.dtype, prompt: tuple[int, ...], eot: int, n_tokens: int
) -> dict[str, Run]:
    """Its encoder, and a whole window."""
    import whisper

    del prompt  # its options make the same one
    torch.manual_seed(0)
    with torch.device(device):
        model = whisper.model.Whisper(whisper.model.ModelDimensions(**dims.to_dict())).eval()
    for module in model.modules():  # layer norms stay in float32, as it computes them
        if not isinstance(module, whisper.model.LayerNorm):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, torch.nn.Parameter(parameter.to(dtype), requires_grad=False))
    model.encoder.positional_embedding = model.encoder.positional_embedding.to(device, dtype)
    options = whisper.DecodingOptions(
        language="en", without_timestamps=True, sample_len=n_tokens, suppress_tokens=[eot], fp16=False
    )

    def encode(mel: torch.Tensor) -> Any:
        return model.encoder(mel.to(device, dtype))

    def window(mel: torch.Tensor) -> Any:
        # Encoded here, since its decoding would turn the spectrogram into a type of its own choice.
        task = whisper.decoding.DecodingTask(model, options)
        task._get_audio_features = lambda _: encode(mel)
        return task.run(mel)

    return {"encode": torch.no_grad()(encode), "window": torch.no_grad()(window)}


RIVALS = {"transformers": transformers_runs, "openai-whisper": openai_runs}
