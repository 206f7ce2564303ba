"""Formulations that exist only for speed on a processor; each has its plain twin in the tests.

All together save a tenth of the CMID demo's step, by one thread in five alternating pairs: linear layers and 1x1
convolutions as tall images, Adan in blocks, and freed memory that is kept. They compute the same.
"""
