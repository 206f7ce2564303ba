"""Formulations that exist only for speed on a processor; each has its plain twin in the tests.

Measured on the CMID demo's step, by one thread of a processor without AMX (five alternating pairs): linear layers as
convolutions save 6 %, Adan in blocks 6 %, both together 11 %. They compute the same.
"""
