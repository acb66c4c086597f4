"""How long what stands in messages may be: for those who read it, and for those who write it."""

from __future__ import annotations

from pydantic import StringConstraints
from typing_extensions import Annotated

#: Characters of a word (an id, a version), of a name (a model, a label, an address), of a topic and of a
#: sentence, at most.
MAX_WORD, MAX_NAME, MAX_TOPIC, MAX_SENTENCE = 128, 256, 512, 1024
#: Topics that one worker reads, sentences about one model, and labels or candidates of one Result, at most.
MAX_INPUTS, MAX_SENTENCES, MAX_LABELS = 64, 32, 1000
#: Bytes of the largest packet with an answer: a client that reads nothing larger tells it the broker.
MAX_ANSWER_PACKET = (1 << 20) + (1 << 16)

# No Field: pydantic 2.10 gives what one field says by Field, its default too, to all fields of the type.
Word = Annotated[str, StringConstraints(max_length=MAX_WORD)]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME)]
Topic = Annotated[str, StringConstraints(max_length=MAX_TOPIC)]
Sentence = Annotated[str, StringConstraints(max_length=MAX_SENTENCE)]
