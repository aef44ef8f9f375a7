"""What-if: two versions of a head over the same utterances."""
