"""Deep Compression (Han et al., arXiv:1510.00149) of any net: pruning, weight sharing, entropy coding.

    pruning.py   the smallest weights become zero, and stay zero in fine-tuning
    sharing.py   the weights of a layer get at most 2^bits values: k-means
    api.py       `lightseg compress`: both on a checkpoint, and the file (lightseg/compressed_file.py)

Pruning and sharing change the model in memory; the file is lossless.
"""
