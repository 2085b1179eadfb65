"""
Evaluate an adapter on test corpora, compared with its base and other systems.

    python eval/run.py --run runs/quickstart-uzbek
    python eval/run.py --run runs/quickstart-uzbek --baseline openai/whisper-small --against user/adapter@v1
    python eval/run.py --base quickstart/gemma4 --adapter user/adapter --corpus test.jsonl --out results
    torchrun --nproc_per_node 2 -- eval/run.py --run runs/quickstart-uzbek

Writes the predictions of each corpus and system, and computes `results.json` and `report.html` from them. An
interrupted evaluation resumes when the command is run again. Several processes, on one machine or on several with a
shared folder, divide the batches and give the same predictions as one; `--shard` and `--merge` divide the work among
independent jobs.

`escoita eval`, [`escoita.evaluate_run`] and [`escoita.evaluate_manifests`] run the same steps; copy this file to
change them.
"""

from pathlib import Path

import typer

from escoita.cli.endpoint import evaluate_served_model
from escoita.cli.evaluation import (
    check_options,
    evaluation_overrides,
    refuse_prompt_without_adapter,
    refuse_with_endpoint,
    rescore_predictions,
)
from escoita.cli.main import script
from escoita.cli.options import (
    AdapterOption,
    AgainstOption,
    AllowOtherBaseOption,
    BaselineOption,
    BaseOption,
    BaseRevisionOption,
    ConcurrencyOption,
    CorpusOption,
    EndpointOption,
    EvaluatedRunOption,
    LanguageOption,
    MergeOption,
    ModelOption,
    NormalizerOption,
    NumBeamsOption,
    OutOption,
    PromptOption,
    RescoreOption,
    RunSetOption,
    ShardOption,
    SystemOption,
    YesOption,
)
from escoita.cli.tables import print_evaluation
from escoita.evaluation import evaluate
from escoita.evaluation.request import request_for_manifests, request_for_run
from escoita.evaluation.shards import Shard
from escoita.recipe.files import refuse_missing_manifests
from escoita.utils.processes import is_main_process


def main(
    run: EvaluatedRunOption = None,
    base: BaseOption = None,
    adapter: AdapterOption = None,
    corpus: CorpusOption = None,
    out: OutOption = None,
    language: LanguageOption = None,
    baseline: BaselineOption = None,
    against: AgainstOption = None,
    normalizer: NormalizerOption = None,
    shard: ShardOption = None,
    merge_shards: MergeOption = False,
    overrides: RunSetOption = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
    prompt: PromptOption = None,
    system: SystemOption = None,
    endpoint: EndpointOption = None,
    model: ModelOption = None,
    concurrency: ConcurrencyOption = 4,
    yes: YesOption = False,
    num_beams: NumBeamsOption = None,
    rescore: RescoreOption = False,
) -> None:
    """Evaluate an adapter and its base: predictions, WER and CER with 95 % confidence intervals, and a report."""
    ################
    # The systems, the corpora and the settings
    ################
    refuse_missing_manifests(corpus or [])
    if endpoint is not None or model is not None:
        others = base, adapter, against, shard, merge_shards, base_revision, allow_other_base, prompt, system
        refuse_with_endpoint(*others, num_beams, rescore)
        evaluate_served_model(
            endpoint, model, run, corpus, out, language, normalizer, baseline, overrides, concurrency, yes
        )
        return
    if rescore:
        unused = base, adapter, corpus, language, baseline, against, shard, merge_shards, base_revision, prompt, system
        rescore_predictions(run, out, normalizer, overrides, *unused, allow_other_base, num_beams)
        return
    check_options(run, base, adapter, corpus, out, language, against, shard, merge_shards, overrides)
    refuse_prompt_without_adapter(prompt, system, adapter)
    part = Shard.parse(shard) if shard else None
    changes = evaluation_overrides(overrides, baseline, against, normalizer, num_beams)
    revision = base_revision, allow_other_base
    if run:
        request = request_for_run(run, changes, *revision)
    else:
        manifests, folder = corpus or [], out or Path()
        from escoita.inference.model_source import adapter_settings

        settings = adapter_settings(adapter, language, prompt, system) if adapter else None
        request = request_for_manifests(
            base or "", adapter, manifests, folder, language, baseline, normalizer, settings, *revision, num_beams or 1
        )
    setup = evaluate.prepare(request, part, merge_shards)

    with evaluate.evaluation_lock(setup):
        ################
        # The predictions
        ################
        if merge_shards:
            evaluate.merge_predictions(setup)
        else:
            evaluate.predict(setup)

        ################
        # Rates, verdicts and the report
        ################
        if not shard:
            record = evaluate.score_predictions(setup)
            evaluate.write_results(setup, record)
            evaluate.write_page(setup, record)

    if run and not shard:
        evaluate.write_overlap(run, changes)
    if is_main_process():
        if shard:
            typer.echo(setup.folder)
        else:
            print_evaluation(request.out)


if __name__ == "__main__":
    script(main)
