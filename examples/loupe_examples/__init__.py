"""What examples/digits.py and examples/youtube8m share: command lines, errors, whole files, the digits, the mean."""
