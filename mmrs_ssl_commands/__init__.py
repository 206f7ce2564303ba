"""The command line: what each command is called, takes and says.

It stands beside ``mmrs_ssl`` because importing that registers all modules, which takes seconds, and help has to come at
once. Here nothing is imported but the standard library until a command runs; its work is in ``mmrs_ssl.cli``.
"""
