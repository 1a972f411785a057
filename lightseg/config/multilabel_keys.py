"""The keys of task=multilabel that task=cls lacks, and those that it has alone: a part of the table of `domains`."""

from lightseg.config.domain import Domain, number, one_of

OF_SINGLE_LABELS = ("loss.label_smoothing", "data.sampler")
MULTILABEL_LOSS: dict[str, Domain] = {
    "loss.name": one_of("bce", "asymmetric"),
    "loss.gamma_positive": number("[0, inf)"),
    "loss.gamma_negative": number("[0, inf)"),
    "loss.clip": number("[0, 1)"),
}
