"""Values of a step: the recipe's, then a file's, then a flag's."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from training import recipe
from training.configuration import add_flags, config_text, given_flags, read_config, write_config
from training.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
KINDS = {
    "prepare": recipe.PrepareConfig,
    "distill": recipe.DistillConfig,
    "finetune": recipe.FinetuneConfig,
    "finetune_restart": recipe.FinetuneConfig,
    "finetune_known_tight": recipe.FinetuneConfig,
    "unfold": recipe.UnfoldConfig,
    "experts_contrast": recipe.ExpertsConfig,
    "finetune_contrast": recipe.FinetuneConfig,
    "unfold_contrast": recipe.UnfoldConfig,
    "finetune_others": recipe.FinetuneConfig,
    "finetune_pretrained": recipe.FinetuneConfig,
    "unfold_joined": recipe.UnfoldConfig,
    "finetune_warp": recipe.FinetuneConfig,
    "adopt": recipe.AdoptConfig,
    "join": recipe.JoinConfig,
    "part": recipe.PartConfig,
    "unfold_others": recipe.UnfoldConfig,
    "finetune_volumes": recipe.VolumesConfig,
    "experts": recipe.ExpertsConfig,
    "mix": recipe.MixConfig,
    "export": recipe.ExportConfig,
    "export_volumes": recipe.VolumeExportConfig,
    "quantise": recipe.QuantiseConfig,
    "validate": recipe.ValidateConfig,
    "card": recipe.CardConfig,
}


def flags_of(kind, *words):
    parser = argparse.ArgumentParser()
    add_flags(parser, kind)
    return given_flags(parser.parse_args(words))


def test_every_file_has_a_kind():
    assert {path.stem for path in CONFIGS.glob("*.toml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_says_every_value_of_its_step(name, tmp_path):
    found = read_config(KINDS[name], CONFIGS / f"{name}.toml")
    body = (CONFIGS / f"{name}.toml").read_text().split("\n\n", 1)[1]
    assert body == config_text(found)


OF_ONE_RUN = {
    *("finetune_restart", "finetune_known_tight", "finetune_contrast", "finetune_others"),
    *("finetune_pretrained", "finetune_warp", "unfold_joined"),
    *("unfold", "unfold_contrast", "unfold_others", "experts_contrast", "validate"),
}
"""Files that are not their step's defaults."""


@pytest.mark.parametrize("name", sorted(set(KINDS) - OF_ONE_RUN))
def test_the_files_are_the_defaults(name):
    assert read_config(KINDS[name], CONFIGS / f"{name}.toml") == KINDS[name]()


def test_the_restart_is_the_first_run_on_a_fresh_schedule_at_half_the_rates():
    first, second = (
        read_config(recipe.FinetuneConfig, CONFIGS / f"finetune{x}.toml") for x in ("", "_restart")
    )
    changed = {"steps": 1900, "encoder_rate": 1.5e-4, "decoder_rate": 1e-3, "warmup_steps": 100}
    assert second == replace(first, **changed, seed=5, checkpoint_every=100)


@pytest.mark.parametrize(
    ("unfold", "finetune"),
    [("unfold", "finetune_known_tight"), ("unfold_contrast", "finetune_contrast")],
)
def test_what_is_unfolded_is_what_the_run_goes_on_from(unfold, finetune):
    start = read_config(recipe.UnfoldConfig, CONFIGS / f"{unfold}.toml").start
    run = read_config(recipe.FinetuneConfig, CONFIGS / f"{finetune}.toml")
    assert start == run


def test_what_was_written_is_read_back_the_same(tmp_path):
    config = recipe.ExpertsConfig(
        groups={"a b": ("X-Ray",), 'quo"te': ()},
        finetune=recipe.FinetuneConfig(
            encoder_rate=1e-7,
            samples=recipe.SampleConfig(modality_bonus={"MR": 1}, modalities=("MR",)),
            model=recipe.ModelConfig(iou_head=True, widths=(1, 2, 3)),
        ),
    )
    write_config(config, tmp_path / "c.toml")
    assert read_config(recipe.ExpertsConfig, tmp_path / "c.toml") == config


def test_a_flag_beats_the_file_and_the_file_the_recipe(tmp_path):
    (tmp_path / "c.toml").write_text('steps = 7\nseed = 8\n[loss]\nkind = "dice-focal"\n')
    flags = flags_of(
        recipe.FinetuneConfig,
        *("--steps", "9", "--loss.small-gain", "2", "--samples.modalities", "MR,CT"),
        *("--model.iou-head", "true", "--samples.modality-bonus", "{PET = 3}"),
    )
    found = read_config(recipe.FinetuneConfig, tmp_path / "c.toml", flags)
    assert (found.steps, found.seed, found.weight_decay) == (9, 8, 0.01)
    assert (found.loss.kind, found.loss.small_gain) == ("dice-focal", 2.0)
    assert found.samples.modalities == ("MR", "CT") and found.model.iou_head
    assert found.samples.modality_bonus == {"PET": 3.0}


def test_a_table_changes_only_the_values_it_names(tmp_path):
    (tmp_path / "c.toml").write_text("[finetune]\nseed = 3\n[finetune.loss]\nsmall_gain = 1\n")
    tuning = read_config(recipe.ExpertsConfig, tmp_path / "c.toml").finetune
    assert (tuning.seed, tuning.loss.small_gain) == (3, 1)
    assert (tuning.steps, tuning.frozen_blocks) == (500, -1)  # the experts' own, not finetune's


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 1", r"c\.toml: stepz: expected one of \['average_decay'"),
        ("steps = 1.5", r"c\.toml: steps: expected int, found 1\.5"),
        ("steps = true", r"steps: expected int, found True"),
        ("weight_decay = '1'", r"weight_decay: expected float, found '1'"),
        ("loss = 3", r"loss: expected a table, found 3"),
        ("[loss]\nkind = 'l1'", r"loss\.kind: expected one of \('dice-bce', 'dice-focal'\)"),
        ("[model]\nwidths = [1, 2]", r"model\.widths: expected a list of 3, found \[1, 2\]"),
        ("[samples]\nmodalities = [1]", r"samples\.modalities\[0\]: expected str, found 1"),
        ("[samples]\nmodality_bonus = {PET='x'}", r"samples\.modality_bonus\.PET: expected float"),
        ("steps = ", r"c\.toml: expected TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(recipe.FinetuneConfig, tmp_path / "c.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: expected a TOML file, found: No such file"):
        read_config(recipe.CardConfig, tmp_path / "none.toml")


def test_a_wrong_flag_is_refused():
    with pytest.raises(ConfigError, match=r"^loss\.kind: expected one of"):
        read_config(
            recipe.FinetuneConfig, None, flags_of(recipe.FinetuneConfig, "--loss.kind", "x")
        )
