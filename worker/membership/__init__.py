"""This worker among the others: identity, presence, peers; adoption of the dead; pacing; leaving."""
