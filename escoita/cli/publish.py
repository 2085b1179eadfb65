"""Define the commands that write cards, publish adapters, and verify what was published."""

from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.done import done
from escoita.cli.options import (
    AllowOtherBaseOption,
    BaseRevisionOption,
    PublishBaseOption,
    RunOption,
    RunSetOption,
    repository,
)


Force = Annotated[bool, typer.Option("--force", help="Overwrite manual changes inside the generated blocks.")]


def card(
    run: Annotated[Path | None, typer.Option("--run", help="Run directory, runs/<name>.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="Published adapter to evaluate, user/name or user/name@revision.", callback=repository
        ),
    ] = None,
    corpus: Annotated[list[Path] | None, typer.Option(help="Manifest of a test corpus; repeatable.")] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Base model (default: the base that adapter_config.json names).", callback=repository),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Language of the clips (a tag such as gl or uz-Latn), if the adapter stores none."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="User prompt, if the adapter stores none.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt, if the adapter stores none.")] = None,
    normalizer: Annotated[
        str | None, typer.Option(help="Text normalizer used for scoring (default: the normalizer of the language).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for predictions, results and card.", file_okay=False)
    ] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request that adds the evaluation.")] = False,
    force: Force = False,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
    overrides: RunSetOption = None,
) -> None:
    """Write the model card of a run. With --from, add an evaluation to a published card."""
    if run is not None and not (
        source or corpus or base or language or prompt or system or normalizer or out or pr or base_revision
    ):
        from escoita.cards.build import write_card
        from escoita.run_directory import RunDirectory

        RunDirectory(run).change_recipe(overrides)
        typer.echo(write_card(run, force))
        done(next_commands=[("push", "--run", run, "--repo", "user/name")])
    elif run is None and source and corpus and out and not overrides:
        from escoita.recipe.files import refuse_missing_manifests

        refuse_missing_manifests(corpus)
        from escoita.cards.contribute import add_evaluation, contributed_settings
        from escoita.evaluation.evaluate import evaluate_manifests

        generation_settings, base = contributed_settings(source, base, language, prompt, system, pr)
        evaluate_manifests(
            base,
            source,
            corpus,
            out,
            normalizer=normalizer,
            generation_settings=generation_settings,
            base_revision=base_revision,
            allow_other_base=allow_other_base,
        )
        typer.echo(add_evaluation(source, base, out, pr, force))
    else:
        raise typer.BadParameter("give --run, with or without --set; or --from, --corpus and --out")


def push_run(
    run: RunOption,
    repo: Annotated[
        str | None, typer.Option(help="Repository, user/name (default: hub.repo of the recipe).", callback=repository)
    ] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request that lists the changes.")] = False,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public", help="Visibility of a new repository (default: hub.private of the recipe)."
        ),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag of the commit, such as v1.")] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            help="Collection that the repository is added to, a slug (default: hub.collection of the recipe)."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes, and publish nothing.")] = False,
    force: Force = False,
    sign: Annotated[
        str | None,
        typer.Option(
            help="Private key (PEM file) for the signature, or 'sigstore' for keyless signing in GitHub Actions."
        ),
    ] = None,
    overrides: RunSetOption = None,
    publish_base: PublishBaseOption = False,
) -> None:
    """Publish adapter, card and records in one commit. The uploaded files are compared with those of the run."""
    from escoita.cards.publish import push
    from escoita.run_directory import RunDirectory

    if overrides and dry_run:
        raise typer.BadParameter("--set writes into the recipe of the run, which --dry-run does not change")
    RunDirectory(run).change_recipe(overrides)
    published = push(
        run,
        repo,
        pr=pr,
        private=private,
        tag=tag,
        collection=collection,
        dry_run=dry_run,
        force=force,
        sign=sign,
        publish_base=publish_base,
    )
    typer.echo(published.url)
    owner, name = published.repo.split("/")
    page = ("space", "push", "--repo", f"{owner}/{name}-demo", "--adapter", published.repo)
    done(published.lines, () if dry_run or pr else (("verify", published.repo), page))


def verify(
    source: Annotated[
        str,
        typer.Argument(help="Repository (user/name), or folder with the files of a repository.", callback=repository),
    ],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    transcribe: Annotated[
        int, typer.Option(min=0, help="Transcribe N clips of each public corpus again and compare the texts.")
    ] = 0,
    references: Annotated[
        list[str] | None,
        typer.Option(help="Unpublished transcripts of a corpus, CORPUS=MANIFEST; repeatable."),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(help="Require a signature by this key (sha256:FINGERPRINT) or Sigstore identity."),
    ] = None,
    identity_provider: Annotated[
        str | None, typer.Option(help="OpenID Connect issuer of a Sigstore identity (default: GitHub Actions).")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 also if a check has the status 'not checked'.")
    ] = False,
    allow_custom_template: Annotated[
        bool,
        typer.Option(
            "--allow-custom-template", help="With --strict: accept sections of the publisher's own template."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check a published card against its predictions. The command exits with status 1 if something differs."""
    from escoita.cards.verify.signature import required_signer
    from escoita.cards.verify.verify import passed, print_checks, to_json
    from escoita.cards.verify.verify import verify as check
    from escoita.evaluation.aggregate import score
    from escoita.evaluation.report.plots import drawings

    signer = required_signer(identity, identity_provider)
    checks = check(source, score, drawings, revision, transcribe, references or [], signer)
    if as_json:
        typer.echo(to_json(source, checks))
    else:
        print_checks(checks)
    if not passed(checks, strict, allow_custom_template):
        raise typer.Exit(1)
