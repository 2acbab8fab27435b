"""Wire format of an exchange between server and workers: the numbers of a message and their positions.

A message starts with float64 words: its :class:`MessageHead`, then the numbers of its kind, then a dtype code and a
length per array. Compiled code reads and writes gradients and answers at the positions below; Python builds and unpacks
the tuples. Arrays and values follow the words, or lie in shared memory.
"""

from __future__ import annotations

from typing import NamedTuple


class MessageHead(NamedTuple):
    """First words of every message.

    Attributes
    ----------
    kind : float
        Position in :class:`tsnn.parallel.channel.MessageKind`.
    n_values : float
        Length of the vector that the sender put into its outbox.
    n_numbers : float
        Numbers that follow.
    """

    kind: float
    n_values: float
    n_numbers: float


class GradientHead(NamedTuple):
    """Numbers of a gradient (of a trained model, if ``parallel.mode`` is ``local``).

    Attributes
    ----------
    version, update : float
        Topology version and number of updates of the weights that it was computed on.
    samples : float
        Training samples in it.
    loss, n_correct : float
        Sum of their losses, and how many were classified correctly.
    seconds_compute, seconds_communicate, seconds_idle : float
        Time spent since the worker's previous gradient.
    memory_bytes : float
        Resident memory of the worker's process.
    """

    version: float
    update: float
    samples: float
    loss: float
    n_correct: float
    seconds_compute: float
    seconds_communicate: float
    seconds_idle: float
    memory_bytes: float


class AnswerHead(NamedTuple):
    """First numbers of an answer; the live settings follow (:data:`tsnn.config.LIVE_SETTINGS`).

    Attributes
    ----------
    version : float
        Topology version of the weights.
    update : float
        Number of updates made so far; in phase 2 the epoch after which the worker sends a copy of its model.
    idle_seconds : float
        Part of the worker's waiting time that was not the exchange: for other workers, evaluation, evolution, records.
    epoch : float
        Finished epochs.
    """

    version: float
    update: float
    idle_seconds: float
    epoch: float


#: Positions in the words of a message.
FIRST_NUMBER = len(MessageHead._fields)
GRADIENT_SAMPLES = FIRST_NUMBER + GradientHead._fields.index("samples")
GRADIENT_LOSS = FIRST_NUMBER + GradientHead._fields.index("loss")
ANSWER_UPDATE = FIRST_NUMBER + AnswerHead._fields.index("update")
ANSWER_IDLE_SECONDS = FIRST_NUMBER + AnswerHead._fields.index("idle_seconds")

#: Positions in a row of received gradients: the worker's index, counted from 0, then the words of its message.
ROW_WORKER, ROW_WORDS = 0, 1
