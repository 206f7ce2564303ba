"""What is done with mmpretrain's backbones from outside."""
