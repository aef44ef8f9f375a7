"""The shared encoder of a language ring: utterances in, token vectors out."""
