"""The options of greedy decoding and sampling, as an engine takes them that decodes whole windows by itself."""

from functools import partial

from stagewhisper.checkpoint import ModelDims
from stagewhisper.decoding.greedy import Greedy
from stagewhisper.decoding.logit_filters import blank_tokens, max_initial_timestamp_index, suppressed_tokens
from stagewhisper.decoding.options import DecodingOptions
from stagewhisper.engines.generation import GenerationRules, TimestampRules
from stagewhisper.tokenizer import Tokenizer


def generation_rules(
    tokenizer: Tokenizer,
    options: DecodingOptions,
    *,
    search: Greedy,
    sot_index: int,
    n_prompt: int,
    dims: ModelDims,
) -> GenerationRules:
    """What `options` ask for, in numbers; the noise of draws is the search's own."""
    timestamps = None
    if not options.without_timestamps:
        latest = max_initial_timestamp_index(options, n_audio_ctx=dims.n_audio_ctx)
        timestamps = TimestampRules(tokenizer.timestamp_begin, tokenizer.no_timestamps, latest)
    return GenerationRules(
        eot=tokenizer.eot,
        no_speech=tokenizer.no_speech,
        sot_index=sot_index,
        n_steps=min(options.sample_len or dims.n_text_ctx // 2, dims.n_text_ctx + 1 - n_prompt),
        suppressed=suppressed_tokens(tokenizer, options.suppress_tokens),
        suppressed_first=blank_tokens(tokenizer) if options.suppress_blank else (),
        timestamps=timestamps,
        n_group=search.n_group,
        temperature=options.temperature,
        noise=partial(search.noise, dims.n_vocab) if options.temperature > 0 else None,
    )
