"""What is in deploy/: each file is read by a tool of its kind, and held to what the server needs of it."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.sites import nginx_site
from deploy.tools import DEPLOY, run
from hubbub import shutdown
from hubbub.cli.options import Options
from hubbub.cluster.port import free_port
from hubbub.settings import Settings

UNIT = DEPLOY / "hubbub.service"
KUBERNETES = DEPLOY / "kubernetes" / "hubbub.yaml"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
CADDYFILES = [DEPLOY / "Caddyfile", DEPLOY / "compose" / "Caddyfile"]

# Seconds from SIGTERM to the end of the process, that the server promises.
STOPPED_S = 10

# systemd's own scale goes from 0 to 10, and 2 is as low as a server on the network gets with reason.
MOST_EXPOSED = 20


def read_yaml(file: Path) -> list[Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with pip install 'hubbub[deploy]'")
    return list(yaml.safe_load_all(file.read_text()))


# systemd


@pytest.mark.parametrize("drop_ins", [(), ("workers.conf",)], ids=["alone", "workers"])
def test_systemd_takes_the_unit(tmp_path: Path, drop_ins: Sequence[str]) -> None:
    # What it starts has to be there.
    unit, folder = tmp_path / "hubbub.service", tmp_path / "hubbub.service.d"
    folder.mkdir()
    for name in drop_ins:
        shutil.copy(UNIT.with_name(folder.name) / name, folder)
    unit.write_text(UNIT.read_text().replace("/opt/hubbub/bin/hubbub", sys.executable))
    said = run("systemd-analyze", "verify", unit)
    assert not [line for line in said.splitlines() if "hubbub.service" in line], said


def test_the_unit_is_hardened() -> None:
    threshold = f"--threshold={MOST_EXPOSED}"
    run("systemd-analyze", "security", "--no-pager", "--offline=true", threshold, UNIT)


def test_the_unit_starts_a_command_that_there_is() -> None:
    [line] = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    program, command, *flags = shlex.split(line)
    assert (program, command) == ("/opt/hubbub/bin/hubbub", "serve")
    assert_settings(flag.removeprefix("--") for flag in flags if flag.startswith("--"))


def test_workers_are_set_and_replaced() -> None:
    text = (UNIT.with_name("hubbub.service.d") / "workers.conf").read_text()
    assert_settings(name.removeprefix("HUBBUB_") for name in re.findall(r"\b(HUBBUB_[A-Z_]+)=", text))
    assert "ExecReload=/bin/kill -HUP $MAINPID" in text


def test_the_unit_waits_until_the_server_has_stopped() -> None:
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(seconds) > STOPPED_S > shutdown.LIMIT_S


def assert_settings(names: Any) -> None:
    """Each is a flag of `hubbub serve`, or a variable that stands for one."""
    known = set(Settings.__dataclass_fields__)
    for name in names:
        assert name.lower().replace("-", "_") in known, f"there is no setting {name}"


# Containers


def test_hadolint_takes_the_dockerfile() -> None:
    run("hadolint", DEPLOY / "Dockerfile")


def test_the_dockerfile_copies_what_a_build_needs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()}
    ignored_not = set(re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    assert copied == ignored_not
    for name in copied:
        assert (DEPLOY.parent / name).exists()
    assert {"src", "pyproject.toml"} <= copied
    assert_settings(name.removeprefix("HUBBUB_") for name in re.findall(r"\b(HUBBUB_\w+)=", text))


def test_the_compose_file_is_one() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_the_compose_file_has_two_nodes_on_one_redis() -> None:
    [found] = read_yaml(COMPOSE)
    nodes = {name: service for name, service in found["services"].items() if "build" in service}
    assert len(nodes) == 2
    for node in nodes.values():
        assert_settings(name.removeprefix("HUBBUB_") for name in node["environment"])
        assert node["environment"]["HUBBUB_ENGINE"].startswith("redis://redis:")
        delay = int(node["environment"]["HUBBUB_DRAIN_DELAY"])
        assert int(node["stop_grace_period"].removesuffix("s")) > STOPPED_S + delay
        assert (COMPOSE.parent / node["build"]["context"] / node["build"]["dockerfile"]).exists()
        assert node["environment"]["HUBBUB_TRUSTED_PROXY"] == found["networks"]["front"]["ipam"]["config"][0]["subnet"]
    redis = found["services"]["redis"]
    # All else in the proxy's network would be believed, too.
    assert redis["networks"] == ["back"]
    assert "noeviction" in redis["command"]
    caddyfile = (COMPOSE.parent / "Caddyfile").read_text()
    assert f"reverse_proxy {' '.join(f'{name}:8080' for name in nodes)} " in caddyfile


# Kubernetes


def test_kubernetes_takes_the_manifests() -> None:
    run("kubernetes-validate", "--strict", KUBERNETES)


def test_the_manifests_fit_the_server() -> None:
    found = {each["kind"]: each for each in read_yaml(KUBERNETES)}
    settings: Mapping[str, str] = found["ConfigMap"]["data"] | found["Secret"]["stringData"]
    assert_settings(name.removeprefix("HUBBUB_") for name in settings)
    spec = found["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    # Else Kubernetes sets HUBBUB_PORT=tcp://... for a Service of this name.
    assert pod["enableServiceLinks"] is False
    delay, probe = int(settings["HUBBUB_DRAIN_DELAY"]), container["readinessProbe"]
    assert pod["terminationGracePeriodSeconds"] > STOPPED_S + delay
    assert probe["periodSeconds"] * probe["failureThreshold"] < delay
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["ports"][0]["containerPort"] == Options().port
    labels = spec["template"]["metadata"]["labels"]
    assert labels == spec["selector"]["matchLabels"] == found["Service"]["spec"]["selector"]
    assert labels == found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    # A rollout and a drained machine leave somebody to serve.
    assert spec["replicas"] > found["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsUser"] == int(re.findall(r"^USER (\d+)$", dockerfile(), re.MULTILINE)[0])


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text()


# Proxies


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    run("nginx", "-t", "-c", nginx_site(tmp_path, port=free_port(), targets=[free_port()]).config)


@pytest.mark.parametrize("file", CADDYFILES, ids=["alone", "compose"])
def test_caddy_takes_its_file(tmp_path: Path, file: Path) -> None:
    run("caddy", "validate", "--adapter", "caddyfile", "--config", file, env={"HOME": str(tmp_path)})


@pytest.mark.parametrize("file", CADDYFILES, ids=["alone", "compose"])
def test_caddy_would_format_its_file_so(file: Path) -> None:
    assert run("caddy", "fmt", file) == file.read_text()


def test_nginx_is_more_patient_than_the_server() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    silence_s = Settings().heartbeat_interval + Settings().heartbeat_timeout
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        [seconds] = re.findall(rf"{name} +(\d+)s;", text)
        assert int(seconds) > 2 * silence_s


def test_the_commands_beside_the_proxies_are_ones() -> None:
    for file in ("nginx.conf", "Caddyfile"):
        [flags] = re.findall(r"^#     hubbub serve (.*)$", (DEPLOY / file).read_text(), re.MULTILINE)
        assert_settings(flag.removeprefix("--") for flag in flags.split() if flag.startswith("--"))
        assert_same_name(flags, (DEPLOY / file).read_text())


def assert_same_name(flags: str, text: str) -> None:
    [name] = re.findall(r"--allow-host (\S+)", flags)
    assert re.search(rf"^(?:    server_name )?{re.escape(name)}(?:;| \{{)$", text, re.MULTILINE)
