"""Run and pool mmpretrain's backbones from outside, without changing them."""
