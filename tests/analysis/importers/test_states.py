"""Words of other programs for how a run ended."""

import pytest
from foreign_tables import faults_of, foreign, outcomes_of

from analysis.importers.states import outcome_of_word, suggested_outcome

STATES = {
    "optuna": {"COMPLETE": "ok", "FAIL": "crashed", "RUNNING": "missing", "WAITING": "missing"},
    "wandb": {"finished": "ok", "crashed": "crashed", "failed": "crashed", "killed": "timed_out"},
    "mlflow": {"FINISHED": "ok", "FAILED": "crashed", "SCHEDULED": "missing"},
    "ray": {"TERMINATED": "ok", "ERROR": "crashed", "PENDING": "missing", "PAUSED": "missing"},
    "keras": {"COMPLETED": "ok", "FAILED": "crashed", "INVALID": "crashed", "IDLE": "missing"},
    "slurm": {
        "COMPLETED": "ok", "CANCELLED by 1000": "timed_out", "CANCELLED+": "timed_out",
        "TIMEOUT": "timed_out", "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "crashed",
        "PREEMPTED": "timed_out", "PENDING": "missing",
    },
}  # fmt: skip


@pytest.mark.parametrize("tool", STATES)
@pytest.mark.parametrize("name", ["state", "Status", "info.status", "trial_state"])
def test_the_states_of_each_tool_are_known_in_any_table(tool: str, name: str) -> None:
    states = STATES[tool]
    errors = [50.0 - 7 * (i % 3) for i in range(len(states))]
    found = outcomes_of(
        foreign(error=errors, number=list(range(len(states))), **{name: list(states)})
    )
    assert found == list(states.values())


def test_a_state_that_was_pruned_or_stopped_is_asked_about() -> None:
    source = foreign(error=[5.0, 6.0, 7.0], state=["COMPLETE", "PRUNED", "stopped"])
    pruned, stopped = faults_of(source)
    assert "1 run is PRUNED" in pruned
    assert "--map-outcome 'stopped=timed_out'" in stopped
    said = {"PRUNED": "timed_out", "stopped": "ok"}
    assert outcomes_of(source, outcomes=said) == ["ok", "timed_out", "ok"]
    assert len(faults_of(source, outcomes={**said, "PRUNED": "ok"})) == 1


def test_terminated_is_the_end_of_a_ray_trial_and_of_others_unknown() -> None:
    rows = {"error": [5.0, 6.0]}
    assert outcomes_of(foreign(**rows, status=["TERMINATED", "ERROR"])) == ["ok", "crashed"]
    (fault,) = faults_of(foreign(**rows, status=["terminated", "finished"]))
    assert "1 run is terminated: ended as planned, or were killed" in fault


def test_hints_are_sensible() -> None:
    (fault,) = faults_of(foreign(error=[5.0, 6.0, 7.0], status=["exploded", "done", "done"]))
    assert "--map-outcome 'exploded=OUTCOME'" in fault
    (fault,) = faults_of(foreign(error=[5.0, 6.0, 7.0], status=[None, "done", "done"]))
    assert "1 run without a state; say what it means: --map-outcome '(empty)=OUTCOME'" in fault
    source = foreign(error=[5.0, 6.0], status=[None, "done"])
    assert outcomes_of(source, outcomes={"(empty)": "crashed"}) == ["crashed", "ok"]
    assert suggested_outcome("CUDA OOM") == "out_of_memory"
    assert outcome_of_word("exploded") is None


def test_another_column_that_looks_like_states_is_asked_about() -> None:
    source = foreign(error=[5.0, 6.0, 7.0], result=["good", "oom", "crashed"])
    (fault,) = faults_of(source)
    assert "column 'result' looks like how the runs ended (good, oom, crashed)" in fault
    said = {"columns": {"outcome": "result"}, "outcomes": {"good": "ok"}}
    assert outcomes_of(source, **said) == ["ok", "out_of_memory", "crashed"]
    assert outcomes_of(source, constants={"outcome": "ok"}) == ["ok"] * 3
    linkage = foreign(error=[5.0, 6.0, 7.0], linkage=["complete", "ward", "average"])
    assert outcomes_of(linkage) == ["ok"] * 3


def test_two_columns_of_states_are_asked_about() -> None:
    source = foreign(error=[5.0], state=["done"], status=["failed"])
    (fault,) = faults_of(source)
    assert "state, status may each say how the runs ended" in fault
    assert outcomes_of(source, columns={"outcome": "status"}) == ["crashed"]


def test_yes_and_no_under_the_name_of_an_outcome_are_asked_about() -> None:
    source = foreign(error=[5.0, 6.0], crashed=[True, False])
    assert "column 'crashed' looks like how the runs ended" in faults_of(source)[0]
    said = {"columns": {"outcome": "crashed"}, "outcomes": {"True": "crashed", "False": "ok"}}
    assert outcomes_of(source, **said) == ["crashed", "ok"]
    nan = foreign(error=[5.0, 6.0], result=["finished", "nan"])
    assert "column 'result' looks like how the runs ended (finished, nan)" in faults_of(nan)[0]


def test_outcomes_and_states_that_contradict_each_other_are_asked_about() -> None:
    source = foreign(error=[5.0, 6.0], outcome=["ok", "ok"], state=["FINISHED", "CRASHED"])
    (fault,) = faults_of(source)
    assert "outcome and state contradict each other in 1 run" in fault
    assert outcomes_of(source, columns={"outcome": "state"}) == ["ok", "crashed"]
    empty = foreign(error=[5.0, 6.0], outcome=[None, None], state=["FINISHED", "CRASHED"])
    assert outcomes_of(empty) == ["ok", "crashed"]
