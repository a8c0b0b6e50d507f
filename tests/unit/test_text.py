"""Text from outside: nothing invisible is shown raw, and files are read in every Unicode encoding."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mock_server.broker import DEMO, Broker
from mock_server.scenario import read_scenario
from tn_contract.cli.root import main
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError
from tn_contract.contract.text import escape, quoted, read_text, utf8
from tn_contract.contract.wire import compose
from tn_contract.record.evidence import from_lines, of_session, to_lines
from tn_contract.record.requestfile import read_requests
from tn_contract.trial.playback import read_journal

any_text = st.text(st.characters())  # surrogates included


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("apiKey=öß€漢字🙂", "apiKey=öß€漢字🙂"),
        ("a\x1b[2J\x07\x00\x7f\x9b", r"a\x1b[2J\x07\x00\x7f\x9b"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("\ufeffapiKey", r"\ufeffapiKey"),
        ("order\u200b_id\u00a0\u00ad", r"order\u200b_id\xa0\xad"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("a\u2028b\u3164\ufe0f\u2800", r"a\u2028b\u3164\ufe0f\u2800"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), r"\xff\xfe"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_invisible_characters_are_written_out(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(any_text)
def test_escaped_text_is_printable_and_survives_any_output(text: str) -> None:
    shown = escape(text)
    assert shown.isprintable()
    assert escape(shown) == shown
    shown.encode("utf-8")


@given(any_text)
def test_kept_line_ends_are_the_only_exception(text: str) -> None:
    assert all(line.isprintable() for line in escape(text, keep="\n").split("\n"))


def test_long_text_is_cut_before_it_is_quoted() -> None:
    assert quoted("ab\n" + "c" * 100, 4) == r"'ab\nc…'"
    assert quoted("abc") == "'abc'"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_files_in_every_unicode_encoding_are_read(encoding: str) -> None:
    assert read_text("naïve = 1\r\nb\rc\n".encode(encoding), "f") == "naïve = 1\nb\nc\n"


def test_a_big_endian_mark_is_understood() -> None:
    assert utf8(codecs.BOM_UTF16_BE + "POST /é".encode("utf-16-be")) == "POST /é".encode()


@pytest.mark.parametrize("content", [b"", b"a", b"\xff\xfea", b"\x00\x00", b"POST /\xff"])
def test_bytes_in_no_encoding_come_back_as_they_are(content: bytes) -> None:
    assert utf8(content) == content.removeprefix(b"\xff\xfe")


def test_a_file_that_is_no_text_is_named() -> None:
    with pytest.raises(UsageError, match=r"scenario\.toml is not a text file in UTF-8: byte 1 "):
        read_text(b"a\xff", "scenario.toml")


# ---- every verb reads files in the same way --------------------------------------------------------------------


def _as(text: bytes, encoding: str, end: str) -> bytes:
    return text.decode().replace("\n", end).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_verb_reads_files_as_windows_writes_them(tmp_path: Path, encoding: str, end: str) -> None:
    broker = Broker()
    request = compose(DEMO, "delTradeOrder", 5, {"order_id": 1}).request
    broker.handle(request)
    session = broker.session(DEMO.api_key)
    assert session
    exchanges = session.journal.exchanges()
    journal = _as(b"".join(to_lines(of_session("me", exchanges))), encoding, end)
    assert [each.exchange for each in from_lines(journal, "it").sent] == exchanges
    assert read_journal(journal, "it").exchanges == exchanges
    assert read_requests(journal) == [request]
    file = tmp_path / "file"
    file.write_bytes(_as(b'[[rule]]\norder_id = "1"\npayload = "http-502"\n', encoding, end))
    assert read_scenario(file, load_corpus())
    file.write_bytes(_as(b'{\n"apiKey": "k", "cmd": "x", "nonce": "1"\n}\n', encoding, end))
    signed = CliRunner().invoke(main, ["sign", str(file)], env={"TN_API_SECRET": "s"})
    assert (signed.exit_code, "apiKey=k&cmd=x&nonce=1" in signed.output) == (0, True)
