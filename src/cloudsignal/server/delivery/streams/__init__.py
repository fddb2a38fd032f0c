"""How other systems are told of every signal: streams, which hold the log once more and share it out."""
