"""The modules that programs of examples/ share: command lines, errors, files, charts, the digits, a pooling method."""
