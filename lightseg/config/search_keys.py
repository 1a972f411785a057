"""The keys of the searches, and the values that each may have: a part of the table in `domains`."""

from lightseg.config.domain import Domain, either, many, number, one_of, optional, path, table, whole

POSITIVE, NOT_NEGATIVE, BELOW_ONE = number("(0, inf)"), number("[0, inf)"), number("[0, 1)")

DMASKING: dict[str, Domain] = {
    "search.table": optional(path("the path of a file")),
    "search.cost": one_of("madds", "params", "latency_ms"),
    "search.target": optional(POSITIVE),
    "search.weight": NOT_NEGATIVE,
    "search.lr": NOT_NEGATIVE,
    "search.weight_decay": NOT_NEGATIVE,
    "search.warmup": BELOW_ONE,
    "search.temperature": many(POSITIVE, 2),
}
NETADAPT: dict[str, Domain] = {
    "search.table": optional(path("the path of a file")),
    "search.variant": one_of("netadapt", "evolution"),
    "search.target": number("(0, 1)"),
    "search.cost": one_of("madds", "latency_ms"),
    "search.delta": number("(0, 1)"),
    "search.steps": whole(1),
    "search.lr": POSITIVE,
    "search.holdout": number("(0, 0.5)"),
    "search.population": whole(1),
    "search.generations": whole(1),
    "search.parents": whole(1),
}
OPTUNA: dict[str, Domain] = {
    "search.trials": whole(1),
    "search.space": optional(either(table("the keys with their values"), path("the path of a YAML file"))),
    "search.objective": one_of("monitor", "reward"),
    "search.target_ms": optional(POSITIVE),
    "search.reward_exponent": number("[-10, 0]"),
}
