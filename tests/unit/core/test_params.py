"""Parameters: where they come from, what is said when they are wrong, and secrets that stay so."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console
from rich.traceback import Traceback

from trunkline import ConfigurationError, Params, Secret
from trunkline.params import (
    Backbone,
    ParameterError,
    environment_file,
    load_backbone,
    load_params,
    revealed,
)

HUSH = "hush-hush"


class Env(Params):
    url: str
    token: Secret
    limit: int = 10
    ratio: float = 0.5
    eager: bool = False
    tables: tuple[str, ...] = ()
    mode: Literal["a", "b"] = "a"
    note: str | None = None
    keys: list[Secret] | None = None


FILE = {"params": {"url": "http://file", "token": HUSH, "limit": 20}}


def load(environ: dict[str, str] | None = None, **params: object) -> Env:
    file = {"params": {**FILE["params"], **params}}
    return load_params(Env, file, environ=prefixed(**(environ or {})))


def prefixed(**variables: str) -> dict[str, str]:
    """Variables of parameters, as they stand in the process environment."""
    return {f"TRUNKLINE_PARAMS_{name}": text for name, text in variables.items()}


def problems(environ: dict[str, str] | None = None, **params: object) -> dict[str, str]:
    with pytest.raises(ParameterError) as caught:
        load(environ, **params)
    return caught.value.problems


def test_the_process_environment_wins_over_the_file_and_the_file_over_the_default() -> None:
    assert (load().limit, load().ratio) == (20, 0.5)
    assert load({"LIMIT": "30"}).limit == 30
    assert load({"RATIO": "0.25"}).ratio == 0.25


def test_what_others_put_into_the_environment_is_no_parameter() -> None:
    """The shell has USER, HOME and PATH, Kubernetes <SERVICE>_PORT for each service beside us."""

    class Ordinary(Params):
        user: str
        home: str
        path: str
        shop_port: int = 8085

    of_others = {
        "USER": "root",
        "HOME": "/root",
        "PATH": "/usr/bin",
        "SHOP_PORT": "tcp://10.0.0.7:80",
    }
    file = {"params": {"user": "erp", "home": "Pisa", "path": "/orders"}}
    env = load_params(Ordinary, file, environ=of_others)
    assert (env.user, env.home, env.path, env.shop_port) == ("erp", "Pisa", "/orders", 8085)


def test_a_variable_without_the_prefix_is_named_where_its_parameter_is_missing() -> None:
    with pytest.raises(ParameterError) as caught:
        load_params(Env, {}, environ={"URL": "http://shell", "LIMIT": "3"})
    said = caught.value.problems
    assert said["url"].endswith("(URL is set, but is not read: it may be somebody else's)")
    assert "is set" not in said["token"]
    assert "http://shell" not in str(caught.value)


def test_flows_that_share_a_file_have_tables_of_their_own() -> None:
    tables = {"orders": {"limit": 7}, "billing": {"account": "x"}}
    file = {"params": {**FILE["params"], **tables}}
    assert load_params(Env, file, flow="orders", environ={}).limit == 7
    assert load_params(Env, file, flow="returns", environ={}).limit == 20
    assert load_params(Env, file, flow="orders", environ=prefixed(LIMIT="8")).limit == 8
    with pytest.raises(ParameterError, match="parameter 'account' is unknown"):
        load_params(Env, file, flow="billing", environ={})


def test_a_table_may_be_a_parameter() -> None:
    class Labels(Params):
        labels: dict[str, str]

    file = {"params": {"labels": {"team": "erp"}}}
    assert load_params(Labels, file, flow="labels", environ={}).labels == {"team": "erp"}


def test_an_empty_variable_is_a_value() -> None:
    assert load({"URL": ""}).url == ""


def test_names_are_upper_case_in_the_environment_only() -> None:
    assert load({"url": "http://lower"}).url == "http://file"


def test_text_becomes_what_the_field_is() -> None:
    env = load({"EAGER": "true", "LIMIT": "7", "MODE": "b", "NOTE": "x"})
    assert (env.eager, env.limit, env.mode, env.note) == (True, 7, "b", "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a,b", ["a", "b"]), ("a", ["a"]), (" a , b ,", ["a", "b"]), ("", [])],
)
def test_a_list_is_separated_by_commas(text: str, expected: list[str]) -> None:
    assert load({"TABLES": text}).tables == tuple(expected)


def test_loading_changes_neither_the_file_nor_the_environment() -> None:
    file, environ = copy.deepcopy(FILE), prefixed(LIMIT="30")
    load_params(Env, file, environ=environ)
    assert (file, environ) == (FILE, prefixed(LIMIT="30"))


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().limit = 3


def test_everything_that_is_wrong_is_said_at_once_with_how_to_mend_it() -> None:
    with pytest.raises(ParameterError) as caught:
        load_params(Env, {"params": {"limit": "many", "urk": 1}}, environ=prefixed(MODE="c"))
    assert caught.value.problems == {
        "url": "parameter 'url' is missing: set TRUNKLINE_PARAMS_URL or url in [params]",
        "token": "parameter 'token' is missing: set TRUNKLINE_PARAMS_TOKEN or token in [params]",
        "limit": "parameter 'limit' is wrong: Input should be a valid integer, "
        "unable to parse string as an integer",
        "mode": "parameter 'mode' is wrong: Input should be 'a' or 'b'",
        "urk": "parameter 'urk' is unknown: take it out of [params]; "
        "what another flow has stands in [params.<flow>]",
    }
    assert str(caught.value).splitlines() == list(caught.value.problems.values())
    assert isinstance(caught.value, ConfigurationError)


def test_values_are_not_in_the_messages() -> None:
    found = problems({"LIMIT": HUSH, "MODE": HUSH, "EAGER": HUSH}, ratio=HUSH, tables=HUSH)
    assert set(found) == {"limit", "mode", "eager", "ratio", "tables"}
    assert HUSH not in str(found)


def test_a_secret_is_text() -> None:
    assert problems(token=17) == {"token": "parameter 'token' is wrong: a secret is text"}
    assert set(problems(keys=[HUSH, 17])) == {"keys.1"}


def test_the_backbone_has_variables_and_a_table_of_its_own() -> None:
    file = {"params": {"bootstrap": "not this"}, "trunkline": {"partitions": 12}}
    environ = {"TRUNKLINE_BOOTSTRAP": "kafka:9092", "BOOTSTRAP": "not this"}
    backbone = load_backbone(file, environ=environ)
    assert (backbone.bootstrap, backbone.partitions) == ("kafka:9092", 12)
    assert backbone.registry == Backbone().registry


def test_the_backbones_problems_name_its_variables() -> None:
    with pytest.raises(ParameterError) as caught:
        load_backbone({"trunkline": {"urk": 1}}, environ={"TRUNKLINE_PARTITIONS": "x"})
    assert caught.value.problems["partitions"].startswith("parameter 'partitions' is wrong")
    assert "take it out of [trunkline]" in caught.value.problems["urk"]


@pytest.mark.parametrize("given", [{"partitions": 0}, {"partitions": 10**9}, {"replication": -1}])
def test_numbers_that_no_topic_can_have_are_refused(given: dict[str, int]) -> None:
    """Of -1 replicas Kafka would make as many as it likes, and each plan want another number."""
    with pytest.raises(ParameterError) as caught:
        load_backbone({"trunkline": given}, environ={})
    assert caught.value.problems.keys() == given.keys()


def test_an_environments_file(tmp_path: Path) -> None:
    (tmp_path / "prod.toml").write_text('[params]\nurl = "x"\n[trunkline]\npartitions = 3\n')
    assert environment_file("prod", tmp_path) == {
        "params": {"url": "x"},
        "trunkline": {"partitions": 3},
    }


def test_an_environment_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    for name in ("prod", "local"):
        (tmp_path / f"{name}.toml").touch()
    with pytest.raises(
        ConfigurationError, match=r"prd\.toml: there is no .*\(found: local, prod\)"
    ):
        environment_file("prd", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[params", "not TOML"),
        ("[parms]\n", "'parms' is read by nobody: parameters stand in"),
        ('url = "x"\n', "'url' is read by nobody: parameters stand in"),
        ("params = 3\n", "'params' is read by nobody"),
    ],
)
def test_an_environments_file_that_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "prod.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        environment_file("prod", tmp_path)
    assert str(tmp_path / "prod.toml") in str(caught.value)


def test_a_secret_is_revealed_on_purpose_only() -> None:
    secret = Secret(HUSH)
    assert secret.reveal() == revealed(secret) == revealed(HUSH) == HUSH


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(HUSH)),
        repr(Secret(HUSH)),
        f"{Secret(HUSH)} {Secret(HUSH)!r}",
        "%s %r" % (Secret(HUSH), Secret(HUSH)),  # noqa: UP031 -- loggers format so
        repr([Secret(HUSH)]),
        repr({"token": Secret(HUSH)}),
        repr(load()),
        str(load()),
        repr(load().model_dump()),
        load().model_dump_json(),
        repr(load().model_dump(mode="json")),
        repr(Backbone(registry_password=Secret(HUSH))),
        repr(Backbone(kafka={"sasl.password": HUSH})),
        str(Env.model_json_schema(mode="serialization")),
    ],
)
def test_a_secret_never_shows_itself(shown: str) -> None:
    assert HUSH not in shown


def test_a_masked_secret_is_seen_as_such() -> None:
    assert str(Secret(HUSH)) == "***"
    assert "token=***" in repr(load())
    assert '"token":"***"' in load().model_dump_json()


def test_a_secret_stays_out_of_logs(caplog: pytest.LogCaptureFixture) -> None:
    env = load()
    try:
        raise ValueError(f"cannot connect with {env.token}")
    except ValueError:
        logging.getLogger("test").exception("failed with %s and %r", env, env.token)
    assert "***" in caplog.text
    assert HUSH not in caplog.text


def test_a_secret_stays_out_of_tracebacks_with_locals() -> None:
    token = load().token
    try:
        raise ValueError(f"cannot connect with {token}")
    except ValueError as error:
        plain = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        out = io.StringIO()
        Console(file=out, width=200).print(
            Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        )
    for text in (plain, out.getvalue()):
        assert "***" in text
        assert HUSH not in text


def test_an_error_about_parameters_keeps_no_value_in_its_causes() -> None:
    with pytest.raises(ParameterError) as caught:
        load({"LIMIT": HUSH})
    assert HUSH not in "".join(traceback.format_exception(caught.value))
    assert HUSH not in repr(caught.value.__context__)


def test_secrets_compare_by_their_text() -> None:
    assert Secret(HUSH) == Secret(HUSH)
    assert Secret(HUSH) != Secret("other")
    assert Secret(HUSH) != HUSH
    assert len({Secret(HUSH), Secret(HUSH)}) == 1


def test_a_secret_crosses_to_a_worker_process() -> None:
    assert pickle.loads(pickle.dumps(load())).token.reveal() == HUSH


def test_a_list_of_secrets() -> None:
    keys = load({"KEYS": f"{HUSH},other"}).keys
    assert keys is not None
    assert [key.reveal() for key in keys] == [HUSH, "other"]
