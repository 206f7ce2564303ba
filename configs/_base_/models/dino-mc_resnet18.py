_base_ = 'dino-mc_resnet50.py'

# for small data sets: with BatchNorm in the head the teacher tells images apart within few steps, residual branches
# that open from zero keep what the stem shows of an image meanwhile, and balanced choices use all prototypes, of which
# a running center leaves a dozen (docs/results.md)
model = dict(backbone=dict(depth=18, zero_init_residual=True), head=dict(batch_norm=True), balanced=True)
