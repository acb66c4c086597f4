"""What is printed about the commands themselves: an example of their settings, completion for shells."""
