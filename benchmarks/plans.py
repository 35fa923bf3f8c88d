"""Plans of the recipes for many GPUs, each for the cluster that its first lines name.

`python benchmarks/plans.py`: what each plan chooses, the memory of a rank by kind, and the processor's seconds that
measuring it took. It says whether the recipe's own fields are those that the plan chooses.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from byteproxy.recipes import named
from byteproxy.train.cards import card_named
from byteproxy.train.run_plan import Cluster, plan_run

RECIPES = ("0.5b", "1.5b", "4b", "7b", "14b")


def plans(recipes: Sequence[str]) -> dict:
    """The plan of each of these recipes, by name."""
    found = {}
    for name in recipes:
        text = Path(named.__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
        said = re.search(r"--ranks (\d+) --gpu ([\w-]+)", text)
        assert said is not None, f"{name} names no cluster"
        print(f"{name}, {said[1]} of {said[2]} ...", file=sys.stderr)
        config, begin = named.run_named(name), time.process_time()
        plan = plan_run(config, None, cluster=Cluster(card_named(said[2]), int(said[1])))
        cluster = plan.cluster
        assert cluster is not None
        chosen = cluster.micro_sequences, cluster.activation_checkpointing
        found[name] = {
            "cards": f"{cluster.ranks} of {cluster.card.name}",
            "micro_sequences": chosen[0],
            "passes": cluster.passes,
            "activation_checkpointing": chosen[1],
            "as_the_recipe": chosen == (config.micro_sequences, config.activation_checkpointing),
            "gigabytes": {key: round(value / 1e9, 2) for key, value in asdict(cluster.memory).items()},
            "room": round(cluster.room / 1e9, 2),
            "flops": plan.flops,
            "days": round(plan.seconds / 86400, 2),
            "checkpoint_gigabytes": round(plan.checkpoint_bytes / 1e9, 1),
            "processor_seconds": round(time.process_time() - begin, 1),
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, help="all of them where none is named")
    print(json.dumps({"torch": torch.__version__, **plans(parser.parse_args().recipes)}, indent=2))
