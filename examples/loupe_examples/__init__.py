"""What the programs of examples/ share: command lines, errors, output files, charts, the digits, a pooling method."""
