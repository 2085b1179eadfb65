"""Train the tiny Whisper: prompts, inputs of the decoder, and an encoder without padding to its window."""

import functools
from collections.abc import Callable

import numpy as np
import tiny_whisper
import torch
import torch.nn.functional as F
from bank import LANGUAGES, Utterance
from pretraining import IGNORED, AudioStates, Pretraining, Prompt


CODES = dict(zip(LANGUAGES, "en es it tr fi id ro hr".split(), strict=True))
UNSEEN_CODES = ("uz", "gl")  # occur in some prompts, but have no recordings


class WhisperPretraining(Pretraining):
    """
    Train with a prompt that names the language, a wrong one, or none.

    One batch in five is padded to the encoder's window, as the extractor pads; the others only to the longest clip.
    """

    end_of_target = tiny_whisper.END
    gain = 0.2
    pads = True
    dtype = torch.float16  # as in the original files, which other programs read

    def __init__(self, seed: int):
        processor = tiny_whisper.build_processor()
        super().__init__(processor, tiny_whisper.build_model(processor, seed=seed), seed)
        self.window = processor.feature_extractor.nb_max_frames

    @property
    def frames_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return functools.partial(tiny_whisper.frames_of, self.processor.feature_extractor)

    def decoder_prompt(self, code: str | None) -> Prompt:
        language = [f"<|{code}|>"] if code else []
        tokens = [tiny_whisper.START, *language, tiny_whisper.TRANSCRIBE, tiny_whisper.NO_TIMESTAMPS]
        return self.tokenizer.convert_tokens_to_ids(tokens), []

    def drawn_prompt(self, language: str) -> Prompt:
        """Return a prompt with the language in half of the cases, else with any language or none."""
        draw = self.draw.random()
        if draw < 0.5:
            return self.plain_prompt(language)
        return self.decoder_prompt(self.draw.choice([*CODES.values(), *UNSEEN_CODES]) if draw < 0.85 else None)

    def plain_prompt(self, language: str) -> Prompt:
        return self.decoder_prompt(CODES[language])

    def audio_tokens(self, frames: int) -> int:
        """Return the number of positions after the convolution with stride 2."""
        return (frames + 1) // 2

    def audio_inputs(self, features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return frames that are padded with the value of silence, which the extractor sets 2 below the maximum."""
        longest = max(map(len, features))
        if not self.model.training or self.draw.random() < 0.2:
            longest = self.window
        longest += longest % 2
        padded = [F.pad(item, (0, 0, 0, longest - len(item)), value=float(item.max() - 2)) for item in features]
        counts = torch.tensor([self.audio_tokens(len(item)) for item in features])
        return {"input_features": torch.stack(padded).transpose(1, 2), "audio_counts": counts}

    def batch(self, utterances: list[Utterance], train: bool) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        """Return the model inputs; a transcript begins with a space, as in Whisper's output."""
        features = [torch.from_numpy(item.frames.astype(np.float32)) for item in utterances]
        features = [self.masked(item) for item in features] if train else features
        targets = [self.ids(f" {item.text}") for item in utterances]
        end, rows, labels = self.tokenizer.eos_token_id, [], []
        for item, target in zip(utterances, targets, strict=True):
            prompt, _ = self.drawn_prompt(item.language) if train else self.plain_prompt(item.language)
            rows.append(torch.tensor(prompt + target))
            labels.append(torch.tensor([IGNORED] * (len(prompt) - 1) + [*target, end]))
        batch = {"decoder_input_ids": self.padded(rows, end), "labels": self.padded(labels, IGNORED)}
        return batch | self.audio_inputs(features), targets

    def padded(self, rows: list[torch.Tensor], blank: int) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=blank)

    def encode_audio(self, batch: dict[str, torch.Tensor]) -> AudioStates:
        """Return the encoder's states; its own `forward` refuses clips that are shorter than the window."""
        encoder = self.model.model.encoder
        states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(batch["input_features"])))).transpose(1, 2)
        states = states + encoder.embed_positions.weight[: states.shape[1]]
        for layer in encoder.layers:
            states = layer(states, None)
        return encoder.layer_norm(states), batch["audio_counts"].tolist()

    def ctc_loss(self, audio: AudioStates, targets: list[list[int]]) -> torch.Tensor:
        """Return the CTC loss without the special tokens after the end of text, which is the blank."""
        states, lengths = audio
        logits = F.linear(states, self.model.proj_out.weight[: self.tokenizer.eos_token_id + 1])
        return F.ctc_loss(
            F.log_softmax(logits, -1).transpose(0, 1),
            torch.tensor([token for target in targets for token in target]),
            torch.tensor(lengths),
            torch.tensor([len(target) for target in targets]),
            blank=self.tokenizer.eos_token_id,
            zero_infinity=True,
        )

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, AudioStates]:
        states, counts = self.encode_audio(batch)
        logits = self.model(encoder_outputs=(states,), decoder_input_ids=batch["decoder_input_ids"]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED)
        return loss, (states, counts)

    def transcripts(self, utterances: list[Utterance]) -> list[str]:
        """Return the texts of greedy decoding in the language of each utterance."""
        batch, _ = self.batch(utterances, train=False)
        languages = [CODES[item.language] for item in utterances]
        new = self.model.generate(batch["input_features"], language=languages, task="transcribe", max_new_tokens=48)
        return [text.strip() for text in self.tokenizer.batch_decode(new, skip_special_tokens=True)]
