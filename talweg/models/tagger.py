"""A tagger of sequences by an LSTM in both directions (Huang, Xu and Yu, 2015, "Bidirectional
LSTM-CRF models for sequence tagging", without the CRF)."""

from __future__ import annotations

from talweg import nn
from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor


class LSTMTagger(nn.Module):
    """An embedding, an LSTM, and a linear layer that gives a score for each tag at each word.

    Args:
        vocab_size: how many words there are.
        num_tags: how many tags there are.
        embedding_dim, hidden_dim: widths of a word and of the LSTM (both directions together).
        num_layers: of the LSTM.
        dropout: of the words, between layers and before the scores.
        bidirectional: whether each word is also read from the right.
        padding_idx: the word that fills short sentences; its embedding stays 0.

    Shape: words, int64 [N, T], to [N, T, num_tags].

    Raises:
        InvalidValue: when two directions do not divide hidden_dim.

    Example:
        >>> from talweg import models
        >>> model = models.LSTMTagger(vocab_size=100, num_tags=5, embedding_dim=8, hidden_dim=6)
        >>> model(tw.tensor([[4, 8, 15, 0]])).shape
        (1, 4, 5)
    """

    def __init__(
        self,
        vocab_size: int,
        num_tags: int,
        embedding_dim: int = 100,
        hidden_dim: int = 200,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = True,
        padding_idx: int | None = 0,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        if hidden_dim % directions:
            raise InvalidValue(f"hidden_dim={hidden_dim} must be even for two directions")
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim, padding_idx)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            embedding_dim,
            hidden_dim // directions,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        self.hidden2tag = nn.Linear(hidden_dim, num_tags)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.dropout(self.word_embeddings(words)))
        out: Tensor = self.hidden2tag(self.dropout(states))
        return out
