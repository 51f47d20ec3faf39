"""The program `windhover`: its commands in the order of the flow, and how errors end it."""

from __future__ import annotations

from typing import Annotated

import typer

from windhover import __version__
from windhover.cli import batch, data, delivery, detection, evaluation, project, review, training
from windhover.console import show_messages
from windhover.program_end import errors_told

INCOMPLETE = detection.INCOMPLETE

app = typer.Typer(
    help="From a few annotated satellite scenes to a detector, and from the detector to a map.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to load than everything else that the help needs
    context_settings={"max_content_width": 120},
)
app.command()(project.init)
app.command()(project.check)
app.command()(detection.detect)
app.command()(batch.plan)
app.command()(batch.run)
app.command()(batch.collect)
app.command()(delivery.export)
app.command()(review.review)
app.command()(evaluation.assess)
app.command()(evaluation.compare)
app.command()(evaluation.accept)
app.command()(evaluation.promote)
app.command()(data.inspect)
app.command(name="import")(data.import_)
app.command()(detection.explain)
app.command()(training.train)
app.command()(training.kfold)
app.command(name="label-curve")(training.label_curve)
app.command()(training.tune)
app.command()(training.shapes)
app.command(name="export-model")(delivery.export_model)
app.command(name="set")(project.set_)
app.command()(project.summary)


@app.callback(invoke_without_command=True)
def _print_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    show_messages()
    if version:
        typer.echo(f"windhover {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error that the user can correct is one sentence and exit code 1."""
    with errors_told("windhover"):
        app()


if __name__ == "__main__":
    main()
