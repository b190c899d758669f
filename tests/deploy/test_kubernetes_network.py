"""What the policies of deploy/kubernetes let out, decided as Kubernetes decides it."""

from ipaddress import ip_address, ip_network

import kubernetes_validate
import pytest

from tests.deploy.kustomize import Resource, build
from tests.deploy.test_kubernetes import FOLDER, OVERLAYS, VERSIONS, of_kind

POD = {"app.kubernetes.io/name": "frontdesk", "app.kubernetes.io/component": "worker"}
PRIVATE, PUBLIC, NODE_CACHE, METADATA, POD_IDENTITY = (
    "10.1.2.3",
    "93.184.215.14",
    "169.254.20.10",
    "169.254.169.254",
    "169.254.170.23",
)


def lets_out(policies: list[Resource], address: str, port: int, protocol: str = "TCP") -> bool:
    """Whether any policy lets a worker reach an address outside the cluster's pods."""
    rules = [
        rule
        for policy in policies
        if policy["spec"]["podSelector"]["matchLabels"].items() <= POD.items()
        for rule in policy["spec"].get("egress", ())
        if {"protocol": protocol, "port": port} in rule["ports"]
    ]
    blocks = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]
    return any(
        ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(one) for one in block.get("except", ()))
        for block in blocks
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_asked_of_the_node_too(overlay: str) -> None:
    """NodeLocal DNSCache and GKE's server answer at link-local addresses; nothing else there is reached."""
    policies = list(of_kind(build(FOLDER / "overlays" / overlay), "NetworkPolicy").values())
    for server in (NODE_CACHE, METADATA):
        assert lets_out(policies, server, 53, "UDP")
        assert lets_out(policies, server, 53)
    for port in (80, 443):
        assert not lets_out(policies, METADATA, port)
        assert not lets_out(policies, POD_IDENTITY, port)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_engines_are_private_and_partners_public(overlay: str) -> None:
    """The database is not asked of the internet, and what is called for a partner is not in the house."""
    policies = list(of_kind(build(FOLDER / "overlays" / overlay), "NetworkPolicy").values())
    assert [lets_out(policies, address, 5432) for address in (PRIVATE, PUBLIC)] == [True, False]
    assert [lets_out(policies, address, 443) for address in (PRIVATE, PUBLIC)] == [False, True]
    assert not lets_out(policies, PUBLIC, 80)


def test_the_examples_of_more_ways_out_are_valid() -> None:
    """Strictly; they add to the base, are there before the migration, and let nothing to the node's own keys."""
    policies = build(FOLDER / "components/egress")
    for policy in policies:
        for version in VERSIONS:
            kubernetes_validate.validate(policy, version, strict=True)
        assert policy["metadata"]["labels"]["frontdesk/phase"] == "first"
        assert policy["metadata"]["annotations"] == {"argocd.argoproj.io/sync-wave": "-2"}
        assert policy["metadata"]["name"] not in of_kind(build(FOLDER / "base"), "NetworkPolicy")
    assert lets_out(policies, POD_IDENTITY, 80)
    assert not lets_out(policies, METADATA, 80)
    assert not lets_out(policies, PRIVATE, 443)
