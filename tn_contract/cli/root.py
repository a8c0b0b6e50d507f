"""The command `tn-contract`. Each verb has a module, imported when it is used: start-up time is a feature."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from tn_contract import __version__
from tn_contract.cli.output import fail, say
from tn_contract.cli.streams import OutputLost, harden
from tn_contract.contract.errors import TargetError, TargetRefused, TnContractError, WorkerLost


def _debug(_ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        os.environ["TN_DEBUG"] = "1"


# Each command's module and function, imported when it is wanted.
_COMMANDS = {
    "explain": "explain:explain",
    "explain-request": "explain_request:explain_request",
    "judge": "judge:judge",
    "list": "listing:list_",
    "replay": "replay:replay",
    "serve": "serve:serve",
    "sign": "sign:sign",
    "verify": "verify:verify",
}


class _Commands(click.Group):
    """Turns the kit's exceptions into one sentence and the documented exit codes; gives each command `--debug`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            module, _, function = _COMMANDS[cmd_name].partition(":")
            command = getattr(import_module(f"tn_contract.cli.{module}"), function)
            told = "Print the traceback of an unexpected error."
            debug = click.Option(["--debug"], is_flag=True, expose_value=False, callback=_debug, help=told)
            command.params.append(debug)
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:  # noqa: BLE001 # here, for click gives a broken pipe the exit code 1
            _give_up(error)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        harden()
        try:
            try:
                return super().main(*args, **{**kwargs, "standalone_mode": False})
            finally:
                if sys.stdout:
                    sys.stdout.flush()  # now, for Python's own flush at the end has an exit code of its own
        except click.ClickException as error:
            error.show(shown := io.StringIO())
            say(shown.getvalue().rstrip("\n"), err=True)
            sys.exit(4)
        except click.Abort:
            fail("interrupted", 2)
        except Exception as error:  # noqa: BLE001 # the last place to catch it
            _give_up(error)


def _give_up(error: Exception) -> NoReturn:
    """Turn an exception into one sentence and an exit code."""
    if isinstance(error, OutputLost):
        fail(f"the output cannot be written ({error.strerror})", 3)
    if isinstance(error, TnContractError) and not isinstance(error, TargetError | WorkerLost):
        fail(str(error), 4)
    if isinstance(error, TnContractError):
        fail(str(error), 4 if isinstance(error, TargetRefused) else 3)
    from tn_contract.report.crash import unexpected

    fail(unexpected(error), 3)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tn-contract")
def main() -> None:
    """Contract tests, a mock server and signing help for the Tradernet command delTradeOrder.

    Exit codes: 0 judged, nothing failed; 1 a clause is broken; 2 interrupted; 3 the target, a control or the kit
    failed; 4 usage, or a refused target; 5 nothing was judged.
    """
