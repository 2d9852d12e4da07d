"""Results of Ray Tune: an experiment folder, and files of single trials."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from foreign_sources import cells, ray_line, table_of, write_ray, write_ray_trial

from analysis import TableError
from analysis.importers import read_sweep

STATES = ["TERMINATED", "TERMINATED", "TERMINATED", "ERROR", "ERROR", "PENDING"]


def test_an_experiment_has_a_row_for_each_trial(tmp_path: Path) -> None:
    write_ray(tmp_path / "exp")
    sweep = read_sweep(str(tmp_path / "exp"))
    assert (sweep.name, sweep.format, sweep.experiment) == ("exp", "ray", "")
    assert sweep.frame["state"].tolist() == STATES
    assert sweep.frame["trial_id"].tolist() == [f"a826b_{i:05}" for i in range(6)]
    assert sweep.places[4] == "trial train_a826b_00004_4_lr=0.4_2025"
    assert sweep.frame["lr"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, None]
    assert sweep.frame["model.width"].tolist()[:4] == [64] * 4
    assert sweep.frame["config.done"].tolist()[0] == "config's own"
    table = table_of(sweep, columns={"error": "loss"}, outcomes={"shorter": "ok"})
    assert table["outcome"].tolist() == ["ok", "ok", "diverged", *["crashed"] * 2, "missing"]
    assert cells(table["error"]) == [25.0, 60.0, *[None] * 4]  # the last line, not the first
    assert table["trial"].tolist()[0] == "a826b_00000"
    assert table["training_iteration"].tolist()[:3] == [2, 1, 2]
    assert set(table["sampler"]) == {"unknown"}
    assert any("trials ended after 1 to 2 iterations" in note for note in sweep.notes)


def test_without_the_state_of_the_experiment_the_last_line_decides(tmp_path: Path) -> None:
    write_ray(tmp_path / "exp", state=False)
    sweep = read_sweep(str(tmp_path / "exp"))
    assert sweep.frame["state"].tolist() == [
        *("RUNNING", "TERMINATED", "TERMINATED", "ERROR", "ERROR", "PENDING"),
    ]
    assert "--map-outcome RUNNING=ok" in sweep.state_notes["RUNNING"]
    assert sweep.frame["trial_id"].tolist()[4:] == ["a826b_00004", "a826b_00005"]


@pytest.mark.parametrize("name", ["result.json", "progress.csv", ""])
def test_a_file_of_a_trial_is_its_last_line(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "exp" / "train_a_00000_0_lr=1"
    lines = [ray_line("a_00000", i, 60.0 / i, 0.1, done=i == 3) for i in (1, 2, 3)]
    write_ray_trial(folder, lines)
    sweep = read_sweep(str(folder / name))
    assert (sweep.name, sweep.experiment, len(sweep.frame)) == ("exp", "exp", 1)
    assert sweep.places == (("line 3" if name != "progress.csv" else "line 4"),)
    assert sweep.frame["state"].tolist() == ["TERMINATED"]
    assert sweep.frame["lr"].tolist() == [0.1]  # of params.json, where the file has no config
    table = table_of(sweep, columns={"error": "loss"})
    assert table["error"].tolist() == [20.0]
    metric = "info/val/err" if name == "progress.csv" else "info.val.err"
    assert table[metric].tolist() == [13.0]


def test_the_state_beside_a_trial_counts(tmp_path: Path) -> None:
    write_ray(tmp_path / "exp")
    file = tmp_path / "exp" / "train_a826b_00000_0_lr=0.0_2025" / "result.json"
    assert read_sweep(str(file)).frame["state"].tolist() == ["TERMINATED"]
    moved = tmp_path / "other.json"
    moved.write_text(file.read_text())
    alone = read_sweep(str(moved))
    assert (alone.frame["state"].tolist(), alone.experiment) == (["RUNNING"], tmp_path.name)


@pytest.mark.parametrize("token", ["NaN", "Infinity", '"null"'])
def test_values_that_are_not_finite_are_divergence(tmp_path: Path, token: str) -> None:
    folder = tmp_path / "exp" / "train_a_00000"
    write_ray_trial(folder, [ray_line("a_00000", 1, 12345.5, 0.1, done=True)])
    file = folder / "result.json"
    file.write_text(file.read_text().replace("12345.5", token))
    loss = read_sweep(str(file)).frame["loss"][0]
    assert not math.isfinite(loss)
    assert table_of(read_sweep(str(file)), columns={"error": "loss"})["outcome"][0] == "diverged"


def test_the_dataframe_of_one_trial_has_bare_names(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_text("trial_id,training_iteration,done,loss,config/lr\na_0,1,False,9,1\n")
    sweep = read_sweep(str(path))
    assert (sweep.format, sweep.frame["lr"].tolist()) == ("ray", ["1"])
    path.write_text("trial_id,training_iteration,done,config/loss,loss\na_0,1,True,3,9\n")
    assert read_sweep(str(path)).frame["config.loss"].tolist() == ["3"]


def test_a_table_of_several_trials_is_a_flat_table(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("trial_id,training_iteration,error\na_0,3,9\na_1,3,8\n")
    assert read_sweep(str(path)).format == "table"
    lines = [ray_line(f"a_{i}", 1, 9.0, 0.1, done=True) for i in range(2)]
    (tmp_path / "r.json").write_text("\n".join(map(json.dumps, lines)))
    assert read_sweep(str(tmp_path / "r.json")).format == "table"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"trial_id": "a", ', "result.json, line 2: no JSON"),
        ('{"loss": 5}', "result.json has no lines of one trial of Ray Tune"),
        (json.dumps({**ray_line("a_1", 1, 1, 1, done=True), "info.val.err": 1}), "there twice"),
    ],
)
def test_every_trial_that_cannot_be_read_is_named(tmp_path: Path, line: str, said: str) -> None:
    for i in range(2):
        folder = tmp_path / "exp" / f"train_a_{i}"
        write_ray_trial(folder, [ray_line("a_1", 1, 5.0, 0.1, done=True)])
        with (folder / "result.json").open("a") as file:
            file.write(line)
    with pytest.raises(TableError) as caught:
        read_sweep(str(tmp_path / "exp"))
    faults = caught.value.faults
    assert [said in fault for fault in faults] == [True, True]
    assert "train_a_0" in faults[0]


def test_older_versions_keep_states_as_checkpoints(tmp_path: Path) -> None:
    write_ray(tmp_path / "exp", state=False)
    checkpoints: list[Any] = [
        json.dumps({"trial_id": "a826b_00000", "status": "TERMINATED"}),
        {"trial_id": "a826b_00001", "status": "ERROR"},
        "8005950a",
        {"no": "id"},
    ]
    state = tmp_path / "exp" / "experiment_state-2020-01-01_00-00-00.json"
    state.write_text(json.dumps({"checkpoints": checkpoints}))
    found = read_sweep(str(tmp_path / "exp")).frame["state"].tolist()
    assert found[:3] == ["TERMINATED", "ERROR", "TERMINATED"]


def test_trials_stand_in_the_order_in_which_ray_made_them(tmp_path: Path) -> None:
    for i in (0, 2, 10):
        write_ray_trial(tmp_path / "exp" / f"f_{i}", [ray_line(f"id{i}", 1, 5.0, 0.1, done=True)])
    names = ["f_0", "f_10", "f_2"]
    assert list(read_sweep(str(tmp_path / "exp")).places) == [f"trial {name}" for name in names]
    trials = [[json.dumps({"trial_id": f"id{i}", "status": "TERMINATED"}), ""] for i in (0, 2, 10)]
    state = tmp_path / "exp" / "experiment_state-2025-01-01_00-00-00.json"
    state.write_text(json.dumps({"trial_data": trials}))
    assert list(read_sweep(str(tmp_path / "exp")).places) == [
        "trial f_0",
        "trial f_2",
        "trial f_10",
    ]


def test_a_trial_that_ended_without_a_result_has_none(tmp_path: Path) -> None:
    write_ray(tmp_path / "exp")
    state = next((tmp_path / "exp").glob("experiment_state*10-00-00.json"))
    state.write_text(state.read_text().replace("PENDING", "TERMINATED"))
    said = {"columns": {"error": "loss"}, "outcomes": {"shorter": "ok"}, "empty": "crashed"}
    table = table_of(read_sweep(str(tmp_path / "exp")), **said)
    assert table["outcome"].tolist()[5] == "crashed"


def test_a_folder_without_trials_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no folder of a trial of Ray Tune in it"):
        read_sweep(str(tmp_path), "ray")
