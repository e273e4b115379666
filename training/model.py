"""Whisper in PyTorch as it is trained: openai/whisper's layers and names, and a vocabulary cut to what is used.

Three things differ from a checkpoint's Whisper, and all three vanish at export:

* **The vocabulary** has a row for each token that the texts use. All other tokens share one row, "never": its
  logit counts once for each of them, so that the softmax is that of the full vocabulary, exactly.
* **Timestamps** have no rows of their own. `<|t|>` is a linear map of the sinusoid that the encoder adds at
  position t: 0.02 s is one position, so a time seen anywhere teaches all 1,501.
* **Heads on the encoder** (phonemes frame by frame, phonemes by CTC) teach it to hear before the decoder can read.

Some decoder heads are the alignment heads by construction: `forward` returns their attention for the guided loss.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 PyTorch's own name for it

from training.vocabulary import N_TIMESTAMPS


@dataclass(frozen=True)
class Shape:
    """The model's size; field names are openai/whisper's."""

    n_audio_state: int = 128
    n_audio_head: int = 4
    n_audio_layer: int = 4
    n_text_state: int = 128
    n_text_head: int = 4
    n_text_layer: int = 2
    n_mels: int = 80
    n_audio_ctx: int = 1500
    n_text_ctx: int = 448


@dataclass(frozen=True)
class Output:
    """What one pass gives; all but `logits` teach and are gone after export."""

    logits: Tensor
    """"n_judged n_rows", over the compact vocabulary, at the judged tokens."""
    phoneme_logits: Tensor
    """"batch n_positions n_phonemes"."""
    ctc_logits: Tensor
    """"batch n_positions n_phonemes"."""
    alignment: Tensor
    """"n_heads batch n_tokens n_positions": logarithm of the alignment heads' attention."""


class Attention(nn.Module):
    """Multi-head attention; as in Whisper, keys have no bias."""

    def __init__(self, n_state: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query = nn.Linear(n_state, n_state)
        self.key = nn.Linear(n_state, n_state, bias=False)
        self.value = nn.Linear(n_state, n_state)
        self.out = nn.Linear(n_state, n_state)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """Self-attention, "batch n n_state" as `x`."""
        query, key, value = (part.float() for part in self._heads(x, x))
        # In float32 even under autocast: on a CPU the bfloat16 kernel's backward pass takes twice as long.
        return self._joined(F.scaled_dot_product_attention(query, key, value, is_causal=causal))

    def forward_with_weights(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention, and the logarithm of its weights, "batch n_heads n n_source"."""
        query, key, value = self._heads(x, source)
        log_weights = (query @ key.mT * query.shape[-1] ** -0.5).log_softmax(-1)
        return self._joined(log_weights.exp() @ value), log_weights

    def _heads(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.n_head, -1).transpose(1, 2)

    def _joined(self, x: Tensor) -> Tensor:
        projected: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return projected


class Block(nn.Module):
    """A residual block; the decoder's has cross-attention too."""

    def __init__(self, n_state: int, n_head: int, *, cross: bool) -> None:
        super().__init__()
        self.attn = Attention(n_state, n_head)
        self.attn_ln = nn.LayerNorm(n_state)
        self.cross_attn = Attention(n_state, n_head) if cross else None
        self.cross_attn_ln = nn.LayerNorm(n_state) if cross else None
        self.mlp = nn.Sequential(nn.Linear(n_state, 4 * n_state), nn.GELU(), nn.Linear(4 * n_state, n_state))
        self.mlp_ln = nn.LayerNorm(n_state)

    def forward(self, x: Tensor, source: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What follows on `x`, and with cross-attention to `source` the logarithm of its weights."""
        x = x + self.attn(self.attn_ln(x), causal=self.cross_attn is not None)
        log_weights = None
        if self.cross_attn is not None and self.cross_attn_ln is not None and source is not None:
            heard, log_weights = self.cross_attn.forward_with_weights(self.cross_attn_ln(x), source)
            x = x + heard
        return x + self.mlp(self.mlp_ln(x)), log_weights


class Encoder(nn.Module):
    """Whisper's encoder, which may be given a part of a window."""

    positional_embedding: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(shape.n_mels, shape.n_audio_state, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.n_audio_state, shape.n_audio_state, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            Block(shape.n_audio_state, shape.n_audio_head, cross=False) for _ in range(shape.n_audio_layer)
        )
        self.ln_post = nn.LayerNorm(shape.n_audio_state)
        self.register_buffer("positional_embedding", sinusoids(shape.n_audio_ctx, shape.n_audio_state))

    def forward(self, mel: Tensor, offsets: Tensor) -> Tensor:
        """Features of windows that start at position `offsets` of a 30-second one: "batch n_positions n_state"."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        positions = offsets[:, None] + torch.arange(x.shape[1], device=x.device)
        x = x + self.positional_embedding[positions]
        for block in self.blocks:
            x, _ = block(x)
        features: Tensor = self.ln_post(x)
        return features


class Decoder(nn.Module):
    """Whisper's decoder with the compact vocabulary."""

    times: Tensor
    multiplicity: Tensor

    def __init__(self, shape: Shape, n_used: int, n_unused: int) -> None:
        super().__init__()
        n_state = shape.n_text_state
        self.used = nn.Parameter(torch.randn(n_used, n_state) * 0.02)
        self.never = nn.Parameter(torch.zeros(1, n_state))
        self.timestamp = nn.Linear(n_state, n_state)
        nn.init.normal_(self.timestamp.weight, std=0.02)
        self.positional_embedding = nn.Parameter(torch.randn(shape.n_text_ctx, n_state) * 0.01)
        self.blocks = nn.ModuleList(Block(n_state, shape.n_text_head, cross=True) for _ in range(shape.n_text_layer))
        self.ln = nn.LayerNorm(n_state)
        self.register_buffer("times", sinusoids(N_TIMESTAMPS, n_state), persistent=False)
        n_rows = n_used + 1 + N_TIMESTAMPS
        multiplicity = torch.zeros(n_rows)
        multiplicity[n_used] = torch.log(torch.tensor(float(max(n_unused, 1))))
        self.register_buffer("multiplicity", multiplicity, persistent=False)

    def embedding(self) -> Tensor:
        """Rows of the compact vocabulary: the used tokens, "never", the timestamps."""
        return torch.cat([self.used, self.never, self.timestamp(self.times)])

    def forward(self, tokens: Tensor, features: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at the judged tokens, and "n_layers batch n_heads n_tokens n_positions" log attention."""
        table = self.embedding()
        x = F.embedding(tokens, table) + self.positional_embedding[: tokens.shape[1]]
        attention = []
        for block in self.blocks:
            x, log_weights = block(x, features)
            attention.append(log_weights)
        return self.ln(x[judged]) @ table.T + self.multiplicity, torch.stack(attention)


class Nano(nn.Module):
    """Whisper with its teaching heads."""

    def __init__(self, shape: Shape, *, n_used: int, n_unused: int, n_phonemes: int) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape, n_used, n_unused)
        self.phoneme_head = nn.Linear(shape.n_audio_state, n_phonemes)
        self.ctc_head = nn.Linear(shape.n_audio_state, n_phonemes)

    def forward(self, mel: Tensor, offsets: Tensor, tokens: Tensor, judged: Tensor) -> Output:
        """One pass, teacher-forced.

        Args:
            mel: "batch n_mels n_frames", as in Whisper; the number of frames is even.
            offsets: " batch", the encoder position at which each window begins.
            tokens: "batch n_tokens", rows of the compact vocabulary.
            judged: "batch n_tokens", where logits are wanted.
        """
        features = self.encoder(mel, offsets)
        logits, attention = self.decoder(tokens, features, judged)
        # The first head of each layer is taught to follow the words.
        return Output(logits, self.phoneme_head(features), self.ctc_head(features), attention[:, :, 0])

    def cross_attention(self, mel: Tensor, offsets: Tensor, tokens: Tensor) -> Tensor:
        """ "n_layers batch n_heads n_tokens n_positions": how every head of the decoder looks at the audio."""
        nowhere = torch.zeros_like(tokens, dtype=torch.bool)
        attention: Tensor = self.decoder(tokens, self.encoder(mel, offsets), nowhere)[1]
        return attention.exp()


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed positions, "length channels": sines in the first half, cosines in the second.

    Source: Radford et al. 2022, section 2.2; openai/whisper's `sinusoids`.
    """
    half = channels // 2
    rates = torch.exp(torch.arange(half) * (-torch.log(torch.tensor(10_000.0)) / (half - 1)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
