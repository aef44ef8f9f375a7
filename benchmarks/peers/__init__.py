"""Other systems on the same work, in the same run. The rules that keep it fair stand in each file."""
