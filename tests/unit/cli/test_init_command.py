"""``trunkline init``: what it writes is green as it is, and nothing that is there is touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from docs_pages import ROOT
from marked_secrets import Marked
from pipeline_kit import (
    DIGEST,
    MEANING,
    Github,
    Gitlab,
    Pipeline,
    StepFailed,
    copied,
    instructions,
)
from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.params import environment_file
from walk_kit import reader_environ

INSTALL = "python -m pip install -e '.[dev]'"


def init(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["init", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def git(project: Path, *arguments: str) -> None:
    person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *person, *arguments], cwd=project, check=True, capture_output=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, committed; nobody changes it."""
    project = tmp_path_factory.mktemp("new") / "acme-flows"
    init(str(project))
    git(project, "init", "--initial-branch", "main")
    git(project, "add", ".")
    git(project, "commit", "--message", "first")
    git(project, "remote", "add", "origin", str(project))
    git(project, "fetch", "origin")
    return project


@pytest.fixture
def project(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "project")


@pytest.fixture
def github(project: Path, tmp_path: Path) -> Github:
    return Github(project, tmp_path, meaning=MEANING, event="pull_request")


@pytest.fixture
def gitlab(project: Path, tmp_path: Path) -> Gitlab:
    variables = {
        "CI_COMMIT_SHA": "0123456789abcdef",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_REGISTRY": "registry.example.com",
        "CI_REGISTRY_IMAGE": "registry.example.com/acme/flows",
        "CI_REGISTRY_PASSWORD": "t0ken",
        "CI_REGISTRY_USER": "ada",
        "IMAGE_DIGEST": DIGEST,
        "TRUNKLINE_CHART": MEANING["vars.TRUNKLINE_CHART"],
        "TRUNKLINE_IMAGE": MEANING["vars.TRUNKLINE_IMAGE"],
    }
    return Gitlab(project, tmp_path, variables)


# Green as it is


def test_the_check_of_github_is_green(github: Github) -> None:
    """Style, strict types, the flow's check, its tests, and schemas that break nobody."""
    github.job("check.yml", "check", without=["Install"])


def test_the_check_of_gitlab_is_green(gitlab: Gitlab) -> None:
    told = gitlab.job("check", without=[INSTALL])
    assert "orders: ok (1 source, 1 topic, 1 route, 1 destination)" in told
    assert "3 passed" in told
    assert (gitlab.project / "tests.xml").exists()
    gitlab.job("schemas", without=[INSTALL])
    assert (gitlab.project / "schemas.json").read_text().strip() == "[]"


def test_it_can_be_installed(project: Path, tmp_path: Path) -> None:
    """As the step ``Install`` says, into an environment that has its dependencies."""
    home = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    # With its own .pth files: this package is installed as it is worked on.
    with_all = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
    (site / "dependencies.pth").write_text(with_all)
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0: yes, none
    environ = {**reader_environ(), **offline, "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    for command in (INSTALL, "python -c 'import acme_flows.schemas.shop'"):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=project,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", [".", "flows/acme_flows", "environments"])
def test_commands_find_the_project_from_each_of_its_folders(project: Path, folder: str) -> None:
    for command in (
        ["check", "--env", "local"],
        ["schemas", "generate", "--check"],
        ["acls", str(project / "flows" / "orders.py"), "--env", "staging"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "trunkline", *command],
            cwd=project / folder,
            env=reader_environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


# What is incompatible, or refused, ends a pull request


@pytest.fixture
def breaking(project: Path) -> None:
    schema = project / "avro_schemas" / "shop" / "Order.avsc"
    schema.write_text(schema.read_text().replace('"total_cents"', '"total"'))


@pytest.mark.usefixtures("breaking")
def test_a_schema_that_breaks_somebody_ends_the_check_of_github(github: Github) -> None:
    others = ["Install", "Style and types", "Flows", "Tests"]
    with pytest.raises(StepFailed, match=r"::error file=avro_schemas/shop/Order\.avsc"):
        github.job("check.yml", "check", without=others)


@pytest.mark.usefixtures("breaking")
def test_a_schema_that_breaks_somebody_ends_the_check_of_gitlab(gitlab: Gitlab) -> None:
    with pytest.raises(StepFailed):
        gitlab.job("schemas", without=[INSTALL])
    assert "Order.avsc" in (gitlab.project / "schemas.json").read_text()


def test_both_pipelines_plan_and_apply_with_the_same_commands(written: Path) -> None:
    """tests/e2e/test_first_project.py runs those of GitHub on two clusters."""
    files = [*(written / ".github" / "workflows").iterdir(), written / ".gitlab-ci.yml"]
    found = re.compile(r"trunkline (?:plan|apply) .*|if grep .* fi")
    github, gitlab = (
        {line.rstrip('"') for file in some for line in found.findall(file.read_text())}
        for some in (files[:2], files[2:])
    )
    assert github == gitlab
    assert len(github) == 6


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_what_a_plan_refuses_ends_the_job(github: Github, environment: str) -> None:
    text = "~ topic orders.x\n      refused: order would break  (--force partitions:orders.x)\n"
    (github.project / f"plan-{environment}.txt").write_text(text)
    job = ("check.yml", "plan") if environment == "staging" else ("deliver.yml", "plan-prod")
    with pytest.raises(StepFailed, match="order would break"):
        github.job(*job, without=["Install", "Plan"])
    (github.project / f"plan-{environment}.txt").write_text("+ topic orders.x  partitions 4\n")
    github.job(*job, without=["Install", "Plan"])


# The image, by its digest, and the chart's values


def test_github_deploys_the_image_that_it_has_built(github: Github) -> None:
    assert github.job("deliver.yml", "image") == {"digest": DIGEST}
    assert "docker push ghcr.io/acme/flows:0123456789abcdef" in github.asked.read_text()
    for environment in ("staging", "prod"):
        others = ["Install", "Apply", "Apply the plan that was approved"]
        github.job("deliver.yml", environment, without=others)
        deployed(github, environment, f"ghcr.io/acme/flows@{DIGEST}")


def test_no_secret_of_a_pipeline_stands_in_what_it_sends_or_leaves(
    project: Path, tmp_path: Path
) -> None:
    """Neither in Helm's command and objects, nor in Docker's, nor in a file of the project's."""
    marked, before = Marked(), set(project.rglob("*"))
    words = ("secrets.GITHUB_TOKEN", "secrets.KAFKA_PASSWORD", "secrets.REGISTRY_TOKEN")
    secrets = {name: marked.secret(name.partition(".")[2].title()) for name in words}
    github = Github(project, tmp_path, meaning={**MEANING, **secrets})
    github.job("deliver.yml", "image")
    github.job("deliver.yml", "prod", without=["Install", "Apply the plan that was approved"])
    sent = [github.asked, Path(f"{github.asked}.yaml"), tmp_path / "outputs"]
    left = [file for file in set(project.rglob("*")) - before if file.is_file()]
    assert github.objects()
    for file in [*sent, *left]:
        assert marked.found(file.read_bytes()) == set(), file


def test_gitlab_deploys_the_image_that_it_has_built(gitlab: Gitlab) -> None:
    gitlab.job("build")
    assert (gitlab.project / "image.env").read_text() == f"IMAGE_DIGEST={DIGEST}\n"
    for environment in ("staging", "prod"):
        gitlab.job(environment)
        deployed(gitlab, environment, f"registry.example.com/acme/flows@{DIGEST}")


def deployed(pipeline: Pipeline, environment: str, image: str) -> None:
    """The chart takes the values, and the worker runs the flow in that environment."""
    (worker,) = [one for one in pipeline.objects() if one["kind"] == "Deployment"]
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image
    shown = " ".join(map(str, [*container.get("command", []), *container["args"]]))
    assert "flows/orders.py" in shown
    assert f"--env {environment}" in shown.replace("=", " ")
    secret = {"name": "acme-flows", "key": "warehouse-url"}
    variables = {one["name"]: one for one in container["env"]}
    referenced = variables["TRUNKLINE_PARAMS_WAREHOUSE_URL"]["valueFrom"]["secretKeyRef"]
    assert referenced.items() >= secret.items()


def test_the_image_is_the_one_for_flows_and_its_commands_run(project: Path, tmp_path: Path) -> None:
    dockerfile = (project / "flows.Dockerfile").read_text()
    assert dockerfile == (ROOT / "deploy" / "docker" / "flows.Dockerfile").read_text()
    kept = re.findall(r"^!(\w+)$", (project / ".dockerignore").read_text(), re.MULTILINE)
    for source in copied(dockerfile):
        assert source.rstrip("/") in kept
        shutil.copytree(project / source, tmp_path / "app" / source)
    for command in [text for word, text in instructions(dockerfile) if word == "RUN"]:
        subprocess.run(
            ["sh", "-c", command], cwd=tmp_path / "app", env=reader_environ(), check=True
        )


# The files


def linted(schema: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflows_are_what_their_services_take(written: Path) -> None:
    files = sorted(str(file) for file in (written / ".github" / "workflows").iterdir())
    assert len(files) == 2
    linted("vendor.github-workflows", *files)
    transform = ("--data-transform", "gitlab-ci")
    linted("vendor.gitlab-ci", *transform, str(written / ".gitlab-ci.yml"))


def test_the_jobs_that_are_needed_are_there(written: Path) -> None:
    for file in [*(written / ".github" / "workflows").iterdir(), written / ".gitlab-ci.yml"]:
        workflow = yaml.safe_load(file.read_text())
        jobs = workflow.get("jobs", workflow)
        for job in jobs.values():
            needed = job.get("needs", []) if isinstance(job, dict) else []
            assert {needed} if isinstance(needed, str) else set(needed) <= set(jobs)


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_no_secret_stands_in_the_file_of_an_environment_that_others_reach(
    written: Path, environment: str
) -> None:
    tables = environment_file(environment, written / "environments")
    assert tables["trunkline"]["create"] is False
    assert tables["params"].keys() == {"shop_host"}
    assert "password" not in str(tables)


# Names, and what is there


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Acme", "no name of a project"),
        ("1st-flows", "no name of a project"),
        ("acme_flows", "no name of a project"),
        ("acme-", "no name of a project"),
        ("../acme", "no name of a project"),
        ("a" * 41, "at most 40"),
        ("class", "--name acme-flows"),
        ("json", "would hide"),
        ("trunkline", "would hide"),
        ("flows", "would hide"),
        ("orders", "would hide"),
        ("yaml", "installed here already"),
    ],
)
def test_names_that_cannot_be(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        init(str(tmp_path / "new"), "--name", name)
    assert list(tmp_path.iterdir()) == []


def test_the_name_is_the_folders_in_its_plain_form(tmp_path: Path) -> None:
    init(str(tmp_path / "Zeta Flows"))
    assert (tmp_path / "Zeta Flows" / "flows" / "zeta_flows" / "schemas" / "shop.py").is_file()
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "."], ["format", "--check", "."]):  # imports are sorted for any name
        subprocess.run([*ruff, *command], cwd=tmp_path / "Zeta Flows", check=True)


@pytest.fixture
def occupied(tmp_path: Path) -> Iterator[Path]:
    """A folder with things of somebody's, a link among them that leads nowhere yet."""
    folder = tmp_path / "acme-flows"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "deploy").write_text("a file")
    (folder / ".gitignore").symlink_to(tmp_path / "elsewhere")
    yield folder
    assert (folder / "README.md").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_each_file_that_is_there_is_named_and_nothing_is_written(occupied: Path) -> None:
    before = sorted(occupied.rglob("*"))
    with pytest.raises(ConfigurationError, match="nothing is written") as refused:
        init(str(occupied))
    for name in ("README.md", "pyproject.toml", "deploy/values.yaml", ".gitignore"):
        assert f"  {occupied / name}\n" in str(refused.value)
    assert "flows/orders.py" not in str(refused.value)
    assert sorted(occupied.rglob("*")) == before


def test_with_keep_the_others_are_written_beside_them(occupied: Path) -> None:
    told = init(str(occupied), "--keep")
    assert f"kept {occupied / 'README.md'} as it is" in told
    assert (occupied / "flows" / "orders.py").is_file()
    assert (occupied / "deploy").read_text() == "a file"
    said = told.partition("pyproject.toml:\n\n")[2]
    assert said.startswith('[tool.trunkline]\nflows = ["flows/*.py"]')
    assert 'into = "flows/acme_flows/schemas"' in said
