"""The lengths of what stands in messages, which readers enforce and writers respect."""

from __future__ import annotations

from pydantic import StringConstraints
from typing_extensions import Annotated

#: Characters of a word (an id, a version), of a name (a model, a label, an address), of a topic and of a
#: sentence, at most.
MAX_WORD, MAX_NAME, MAX_TOPIC, MAX_SENTENCE = 128, 256, 512, 1024
#: Topics that one worker reads, sentences about one model, and labels or candidates of one Result, at most.
MAX_INPUTS, MAX_SENTENCES, MAX_LABELS = 64, 32, 1000
#: Labels of a model that are few enough for its worker's status; and characters of all of them, or of a
#: camera's groups, that are few enough to choose from.
MAX_FEW_LABELS, MAX_CHOICE = 64, 4000
#: Bytes of the largest packet with an answer: the Maximum Packet Size of clients that read nothing larger.
MAX_ANSWER_PACKET = (1 << 20) + (1 << 16)

# Without Field: pydantic 2.10 applies the Field of one model's attribute to all others of the type.
Word = Annotated[str, StringConstraints(max_length=MAX_WORD)]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME)]
Topic = Annotated[str, StringConstraints(max_length=MAX_TOPIC)]
Sentence = Annotated[str, StringConstraints(max_length=MAX_SENTENCE)]
