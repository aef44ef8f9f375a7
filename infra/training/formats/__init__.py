"""Files that people bring from elsewhere: a file here for each format, and a registry that recognizes them by content.

A format takes what it is given as it stands, names every row that it cannot take by file and line, and goes on.
"""
