"""Deep Compression (Han et al., arXiv:1510.00149) of any net: pruning, shared weights, entropy coding.

    pruning.py      the smallest weights become zero, and stay zero while the others are trained on
    sharing.py      the weights of a layer take a few values: k-means
    coding.py       a tensor of few values as short streams of bytes, and back without a loss
    file.py         one file of a model, which `lightseg.checkpoint.load_model` reads
    compressing.py  all of it on a checkpoint: `lightseg compress`

Only pruning and sharing change numbers, both in the model itself: what a file holds is that model exactly.
"""
