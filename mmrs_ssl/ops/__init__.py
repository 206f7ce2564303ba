"""Formulations that exist only for speed on a processor; what they compute has its plain twin in the tests.

In float32 all together save a tenth of the CMID demo's step, by one thread in five alternating pairs: linear layers and
1x1 convolutions as tall images, Adan in blocks, and freed memory that is kept. In bfloat16, on a processor that has it,
the whole step of DINO-MC's ViT then takes 0.72 of its bare passes with torch's attention (configs/dino_mc/README.md).
"""
