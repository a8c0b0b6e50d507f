"""The examples shown on the pages about signing, magic orders, pytest and the client run as written."""

from __future__ import annotations

import hmac
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mock_server.serve import RunningMock
from tests.docs.pages import ROOT, blocks, read
from tn_contract.cli.root import main
from tn_contract.contract.corpus import load_corpus

EXAMPLES = {"js": "cancel.mjs", "php": "cancel.php", "go": "cancel.go"}


def test_the_table_of_magic_orders_is_the_corpus() -> None:
    spec = importlib.util.spec_from_file_location("manifest", ROOT / "fixtures/generators/manifest.py")
    assert spec
    assert spec.loader
    manifest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(manifest)
    assert f"-->\n{manifest.magic_table(load_corpus())}<!-- /magic orders -->" in read("docs/magic-orders.md")


@pytest.mark.parametrize(("language", "name"), EXAMPLES.items())
def test_an_example_is_the_file_in_examples(language: str, name: str) -> None:
    shown = blocks("docs/signing.md", language)
    assert shown == [(ROOT / "examples" / name).read_text("utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("language", EXAMPLES)
def test_an_example_cancels(language: str, tn_mock: RunningMock, tmp_path: Path) -> None:
    file = str(ROOT / "examples" / EXAMPLES[language])
    commands = {"js": ["node", file], "php": ["php", file], "go": ["go", "run", file]}
    command = commands[language]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    if language == "php" and "curl" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout:
        pytest.skip("PHP has no curl extension")
    credentials = tn_mock.broker.open_session().credentials
    environment = {
        **os.environ,
        "GOCACHE": str(tmp_path),
        "TN_BASE_URL": tn_mock.base_url,
        "TN_API_KEY": credentials.api_key,
        "TN_API_SECRET": credentials.secret.reveal(),
    }
    for order_id in ("12345", "12346"):
        ran = subprocess.run([*command, order_id], env=environment, capture_output=True, text=True, timeout=120)
        assert "".join(ran.stdout.split()) == f'200{{"order_id":{order_id}}}', ran.stdout + ran.stderr


def test_the_explanation_shown_is_what_explain_request_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = [block for block in blocks("docs/signing.md", "console") if "explain-request" in block]
    _, *shown = block.splitlines()
    signed = next(line for line in shown if line.startswith("signed")).split("'")[1]
    nonce = signed.partition("nonce=")[2].partition("&")[0]
    signature = hmac.digest(b"tn-demo-secret", signed.encode(), "sha256").hex()
    request = tmp_path / "request.txt"
    request.write_text(
        f"curl http://127.0.0.1:8787/api/v2/cmd/delTradeOrder -H 'X-NtApi-Sig: {signature}' -d apiKey=tn-demo-key"
        f" -d cmd=delTradeOrder -d nonce={nonce} -d 'params[order_id]=2929292929'"
    )
    monkeypatch.setenv("TN_API_SECRET", "tn-demo-secret")
    with pytest.raises(SystemExit) as end:
        main(["explain-request", str(request)])
    assert end.value.code == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:1] for line in printed] == [line.split()[:1] for line in shown]
    assert [line for line in printed if line[:6] in ("signed", "wanted")] == [
        line for line in shown if line[:6] in ("signed", "wanted")
    ]


def test_the_string_to_sign_shown_is_what_sign_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = [block for block in blocks("docs/signing.md", "sh") if "tn-contract sign" in block]
    [string] = blocks("docs/signing.md", "text")
    monkeypatch.setenv("TN_API_SECRET", "tn-demo-secret")
    main(example.split()[2:], standalone_mode=False)
    assert string.strip() in capsys.readouterr().out


@pytest.mark.parametrize("page", ["docs/client.md", "docs/pytest.md"])
def test_python_examples_compile(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")
