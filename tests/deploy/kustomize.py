"""What `kustomize build` makes of the files in deploy/kubernetes: just as much of Kustomize as those files use.

No package registry carries the program for the Pythons that this runs on. Where it is installed, a test holds the two
equal.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
KNOWN = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "labels",
    "images",
    "patches",
    "replacements",
} | {"configMapGenerator"}
CLUSTER_WIDE = {"Namespace"}
HASHED = "internal.config.kubernetes.io/needsHashSuffix"


class NotCovered(Exception):
    """The files use something of Kustomize that is not here."""


def build(folder: Path) -> list[Resource]:
    """The resources of a kustomization, transformed."""
    made = _accumulated(folder)
    for resource in made:
        if resource["metadata"].get("annotations", {}).pop(HASHED, None):
            _name_by_content(resource, made)
    return made


def _accumulated(folder: Path) -> list[Resource]:
    file = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := file.keys() - KNOWN:
        raise NotCovered(f"{folder}: {unknown}")
    made = [one for name in file.get("resources", ()) for one in _load(folder / name)]
    for name in file.get("components", ()):
        made += _accumulated(folder / name)
    for generator in file.get("configMapGenerator", ()):
        _generate(made, generator, folder)
    for patch in file.get("patches", ()):
        _patch(made, patch, folder)
    for resource in made:
        if namespace := file.get("namespace"):
            _set_namespace(resource, namespace)
        for label in file.get("labels", ()):
            _set_labels(resource, label["pairs"])
        for image in file.get("images", ()):
            _set_image(resource, image)
    for replacement in file.get("replacements", ()):
        _replace(made, replacement)
    return made


def _load(path: Path) -> Iterator[Resource]:
    if path.is_dir():
        yield from _accumulated(path)
    else:
        # Through JSON: what is shared by an anchor must not be changed twice.
        yield from (json.loads(json.dumps(one)) for one in yaml.safe_load_all(path.read_text()) if one)


def _generate(made: list[Resource], generator: dict[str, Any], folder: Path) -> None:
    """A ConfigMap of files of variables, or more for one that is there."""
    if generator.keys() - {"name", "behavior", "envs", "options"}:
        raise NotCovered(generator)
    lines = [line for name in generator["envs"] for line in (folder / name).read_text().splitlines()]
    data = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    if generator.get("behavior") == "merge":
        (there,) = (one for one in made if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", generator["name"]))
        there["data"] |= data
        return
    options = generator.get("options", {})
    if options.keys() - {"labels", "annotations"}:
        raise NotCovered(generator)
    metadata = {
        "name": generator["name"],
        "labels": dict(options.get("labels", {})),
        "annotations": {**options.get("annotations", {}), HASHED: "enabled"},
    }
    made.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _name_by_content(resource: Resource, made: list[Resource]) -> None:
    """A hash at the end of the name, and at the end of all references to it."""
    name = resource["metadata"]["name"]
    # Kustomize leaves the name out of it.
    content = {"data": resource["data"], "kind": resource["kind"], "name": ""}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    # As Go writes JSON; and no digit or vowel that would make a word of the hash.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    suffix = hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))
    resource["metadata"]["name"] = f"{name}-{suffix}"
    for other in made:
        pod = pod_template(other).get("spec", {})
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            for source in container.get("envFrom", ()):
                if source.get("configMapRef", {}).get("name") == name:
                    source["configMapRef"]["name"] = resource["metadata"]["name"]


def _set_namespace(resource: Resource, namespace: str) -> None:
    if resource["kind"] not in CLUSTER_WIDE:
        resource["metadata"]["namespace"] = namespace


def _set_labels(resource: Resource, pairs: dict[str, str]) -> None:
    resource["metadata"].setdefault("labels", {}).update(pairs)
    if job := resource.get("spec", {}).get("jobTemplate"):
        job.setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
    if template := pod_template(resource):
        template["metadata"].setdefault("labels", {}).update(pairs)


def pod_template(resource: Resource) -> Resource:
    """What the pods of a resource are made from; empty when it makes none."""
    spec: Resource = resource.get("spec", {})
    found: Resource = spec.get("jobTemplate", {}).get("spec", spec).get("template", {})
    return found


def _set_image(resource: Resource, image: dict[str, str]) -> None:
    pod = pod_template(resource).get("spec", {})
    for container in pod.get("containers", []) + pod.get("initContainers", []):
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"


def _patch(made: list[Resource], patch: dict[str, Any], folder: Path) -> None:
    text = (folder / patch["path"]).read_text() if "path" in patch else patch["patch"]
    change = yaml.safe_load(text)
    target = patch.get("target") or {"kind": change["kind"], "name": change["metadata"]["name"]}
    hit = [
        one
        for one in made
        if one["kind"] == target["kind"] and target.get("name", one["metadata"]["name"]) == one["metadata"]["name"]
    ]
    if not hit:
        raise NotCovered(f"{folder}: a patch that hits nothing: {target}")
    for resource in hit:
        if isinstance(change, list):
            for step in change:
                _take(resource, step)
        else:
            _merge(resource, change)


def _take(resource: Resource, step: dict[str, Any]) -> None:
    """One operation of a JSON patch (RFC 6902)."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    at: Any = resource
    for part in way:
        at = at[int(part) if isinstance(at, list) else part]
    if isinstance(at, list):
        if step["op"] != "replace":
            raise NotCovered(step)
        at[int(last)] = deepcopy(step["value"])
        return
    if step["op"] in ("remove", "replace") and last not in at:
        raise KeyError(step["path"])
    if step["op"] == "remove":
        del at[last]
    elif step["op"] in ("add", "replace"):
        at[last] = deepcopy(step["value"])
    else:
        raise NotCovered(step)


def _replace(made: list[Resource], replacement: dict[str, Any]) -> None:
    """One field of one resource, into a part of a text of others."""
    source = replacement["source"]
    (value,) = (_at(one, source["fieldPath"])[0] for one in made if one["kind"] == source["kind"])
    for target in replacement["targets"]:
        if target.keys() != {"select", "fieldPaths", "options"} or target["select"].keys() != {"kind"}:
            raise NotCovered(target)
        for resource in (one for one in made if one["kind"] == target["select"]["kind"]):
            for path in target["fieldPaths"]:
                text, within, last = _at(resource, path)
                parts = text.split(target["options"]["delimiter"])
                parts[target["options"]["index"]] = value
                within[last] = target["options"]["delimiter"].join(parts)


def _at(resource: Resource, path: str) -> tuple[str, Any, str | int]:
    """The text at a path, what it stands in, and under which key."""
    within: Any = resource
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in way:
        within = within[part]
    return within[last], within, last


def _merge(into: Resource, change: Resource) -> None:
    """A strategic merge without lists, whose keys depend on the kind."""
    for key, value in change.items():
        if isinstance(value, list):
            raise NotCovered(key)
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


if __name__ == "__main__":
    print(yaml.safe_dump_all(build(Path(sys.argv[1]))))
