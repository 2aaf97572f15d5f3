"""What is in deploy/kubernetes is what every Kubernetes from 1.25 on understands."""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_validate import utils
from referencing import Registry, Resource

from clockstep.core.condition import IN_BOUNDS, STATUS
from clockstep.model import CLOCK_PROBLEM

DEPLOY = Path(__file__).parents[2] / "deploy/kubernetes"
RULE = "readiness-rule.yaml"
OLDEST = (1, 25)


def minor(version: str) -> tuple[int, int]:
    major, number, _ = version.split(".", 2)
    return int(major), int(number)


VERSIONS = [version for version in dict.fromkeys(utils.all_versions()) if minor(version) >= OLDEST]
OBJECTS: dict[str, dict[str, Any]] = {
    f"{file.stem}: {found['kind']} {found['metadata']['name']}": found
    for file in sorted(DEPLOY.glob("*.yaml"))
    if file.name != RULE
    for found in yaml.safe_load_all(file.read_text())
}


@cache
def definitions(version: str) -> "Registry[Any]":
    """The published schemas of a version; reading them takes much longer than using them."""
    return Resource.from_contents(_read(version, "_definitions")) @ Registry()


def _read(version: str, name: str) -> Any:
    return utils.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{name}.json", version)


def objections(version: str, found: dict[str, Any]) -> list[str]:
    """What a version's schema has against an object."""
    group, _, name = found["apiVersion"].rpartition("/")
    prefix = f"{group.partition('.')[0]}-" if group else ""
    schema = _read(version, f"{found['kind'].lower()}-{prefix}{name}")
    registry = Resource.from_contents(schema) @ definitions(version)
    return [error.message for error in jsonschema.Draft202012Validator(schema, registry=registry).iter_errors(found)]


def test_the_schemas_are_of_all_versions_that_are_supported() -> None:
    known = list(map(minor, VERSIONS))
    assert known[0] == OLDEST
    assert known == [(1, number) for number in range(OLDEST[1], known[-1][1] + 1)]
    assert known[-1] >= (1, 37)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    assert {name: objections(version, found) for name, found in OBJECTS.items()} == {name: [] for name in OBJECTS}


def test_a_word_that_no_schema_knows_would_be_found() -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}}
    rule = {"apiGroups": [""], "resources": ["nodes"]}
    assert objections(VERSIONS[-1], role | {"rules": [rule | {"verb": ["get"]}]})
    assert objections(VERSIONS[-1], role | {"rules": [rule]})


@pytest.mark.parametrize("found", OBJECTS.values(), ids=OBJECTS)
def test_no_rule_has_a_wildcard_and_only_clocksteps_accounts_are_bound(found: dict[str, Any]) -> None:
    for rule in found.get("rules", ()):
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
    subjects = {(one["namespace"], one["name"]) for one in found.get("subjects", ())}
    assert subjects <= {("clockstep", f"clockstep-{name}") for name in ("cli", "watcher", "agent")}


def test_the_rule_taints_where_the_condition_that_clockstep_writes_is_not_in_bounds() -> None:
    spec = yaml.safe_load((DEPLOY / RULE).read_text())["spec"]
    (condition,) = spec["conditions"]
    assert (condition["type"], condition["requiredStatus"]) == (CLOCK_PROBLEM, STATUS[IN_BOUNDS])
    assert condition["defaultStatus"] == STATUS[IN_BOUNDS]
    assert spec["taint"] == {"key": "readiness.k8s.io/clock-problem", "effect": "NoSchedule"}
    assert (spec["enforcementMode"], bool(spec["nodeSelector"])) == ("continuous", True)
