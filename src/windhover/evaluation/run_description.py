"""What MLflow shows of an evaluated model: few figures, five of them first, and a text.

All figures are in `metrics.json`, which the run keeps; a figure logged as a metric becomes a chart
of its own on MLflow's pages, so only those are logged by which runs are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windhover.metrics.evaluation_result import EvaluationResult
from windhover.metrics.metrics_record import MetricsRecord, SceneMetricsRecord
from windhover.params import flatten
from windhover.params.evaluate import EvaluateParams
from windhover.rendering.text import (
    ValueAndInterval,
    format_cell,
    format_interval,
    format_parameter,
)
from windhover.tracking.mlflow_client import HEADLINE_AP

# MLflow sorts by name: the number keeps the order, and other groups have names after `headline`
HEADLINES = {
    HEADLINE_AP: ("ap", "AP"),
    "headline/2_recall": ("recall", "recall"),
    "headline/3_precision": ("precision", "precision"),
    "headline/4_f1": ("f1", "F1"),
    "headline/5_false_alarms_per_km2": ("false_alarms_per_km2", "false alarms per km²"),
}
WINDOW_AP = "headline/1_window_ap"  # where no scene of test is labeled
CLASS_FIGURES = ("ap", "recall")


def run_metrics(metrics: MetricsRecord) -> dict[str, float]:
    """Return the figures on test that a run is compared by; undefined ones are left out.

    Five headline figures; of several classes also the AP and recall of each; where no scene of
    test is labeled the mean AP on windows alone.
    """
    test = metrics.scenes.get("test")
    if test is None:
        aps = [window.ap_sampled for window in metrics.windows.get("test", {}).values()]
        known = [ap for ap in aps if ap is not None]
        return {WINDOW_AP: sum(known) / len(known)} if known else {}
    figures = {name: getattr(test, key).value for name, (key, _) in HEADLINES.items()}
    for class_name, estimates in (test.classes or {}).items():
        for key in CLASS_FIGURES:
            if key in estimates:
                figures[f"per_class/{key} {class_name}"] = estimates[key].value
    return {name: value for name, value in figures.items() if value is not None}


def evaluation_tags(params: EvaluateParams) -> dict[str, str]:
    """Return the parameters of the stage as tags: another evaluation of a run may change them.

    What the card states is in the bundle.
    """
    tags = {}
    values = flatten(params.model_dump(mode="json", exclude={"model_card"}))
    for key, value in values.items():
        text = format_parameter(value)
        if value is None:  # a tag that is left out would keep the value of an earlier evaluation
            text = "none"
        tags[f"evaluate.{key}"] = text
    return tags


def run_description(result: EvaluationResult, metrics: MetricsRecord) -> str:
    """Return a text in Markdown: what was trained on, figures with intervals, what to beware of."""
    parts = [_trained_on(result)]
    test = metrics.scenes.get("test")
    if test is not None:
        parts.append(_figures_on_test(test))
    thresholds = [
        f"{name}: {format_cell(chosen.threshold.value)}"
        for name, chosen in metrics.operating_point.items()
    ]
    rule = f"{result.params.threshold_rule} {result.params.threshold_rule_value:g}"
    parts.append(f"Threshold, chosen on {metrics.fitted_on} by {rule}: {', '.join(thresholds)}.")
    if metrics.notes:
        parts.append("\n".join(["**Beware**", "", *(f"- {note}" for note in metrics.notes)]))
    parts.append(
        "Report: `reports/index.html`, here under Artifacts, `evaluation/index.html`. All figures: "
        "`evaluation/metrics.json`. The model: `bundle`."
    )
    return "\n\n".join(parts)


def _trained_on(result: EvaluationResult) -> str:
    card = result.card
    training: Mapping[str, Any] = card.get("training", {})
    network: Mapping[str, Any] = card.get("network", {})
    sentence = f"**{network.get('name', 'A model')}** for {', '.join(result.classes)}"
    truth = result.train_ground_truth
    if truth is not None and len(truth.scenes):
        places = truth.scenes["place"].nunique()
        km2 = float(truth.scenes["km2"].sum())
        sentence += (
            f", trained on {len(truth.objects)} objects in {len(truth.scenes)} scenes of {places} "
            f"places ({km2:.3g} km²)"
        )
    sentence += f". Bands {', '.join(card.get('bands', ()))}"
    if "gsd_m" in card:
        sentence += f", {card['gsd_m']:g} m per px"
    if "epochs" in training:
        kept = training.get("kept_epoch", training["epochs"])
        sentence += f"; {training['epochs']} epochs, the weights are those of epoch {kept}"
    return f"{sentence}."


def _figures_on_test(test: SceneMetricsRecord) -> str:
    searched = (
        f"On test: {test.objects} objects in {test.scenes} scenes of {test.places} places, "
        f"{test.km2:.3g} km²."
    )
    lines = [
        searched,
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
    ]
    for key, title in HEADLINES.values():
        record = getattr(test, key)
        estimate: ValueAndInterval = (record.value, record.low, record.high)
        lines.append(f"| {title} | {format_cell(record.value)} | {format_interval(estimate)} |")
    return "\n".join(lines)
