"""One frame's path: from the inbox through decoder, batcher and engine to the outbox."""
