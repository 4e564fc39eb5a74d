"""The validation of averaged parameters, while the workers go on."""

from recipes.common.asynchronous import validate_average
from recipes.common.run_log import RunLog
from tests.unit.recipes.common.toy import make_batches, make_brain


class HeardLog(RunLog):
    """Keeps what it is told."""

    def __init__(self, folder):
        super().__init__(folder)
        self.heard = []

    def update(self, report):
        self.heard.append(("update", report))

    def progress(self, figures, *, number):
        self.heard.append(("progress", number))

    def stage(self, name, values, **options):
        self.heard.append((name, values))


def test_average_of_a_run_that_was_asked_to_stop_is_validated_and_workers_are_heard(tmp_path):
    brain, _ = make_brain(folder=tmp_path / "checkpoints")
    brain.run_log = log = HeardLog(tmp_path)
    brain.must_stop = True
    validated = brain.on_stage_end

    def end_stage(stage, loss, epoch=None):
        brain.run_log.stage("valid", {"loss": loss})
        validated(stage, loss, epoch)

    def batches():
        for batch in make_batches([2, 3]):
            brain.run_log.update("report")  # by the coordinator's thread
            brain.run_log.progress({}, number=7)
            yield batch

    brain.on_stage_end = end_stage
    validate_average(brain, batches(), epoch=1)  # does not end the run
    assert brain.must_stop
    assert brain.run_log is log
    assert [name for name, _ in log.heard] == [*["update", "progress"] * 2, "valid of the average"]
    assert not any((tmp_path / "checkpoints").iterdir())
    assert brain.clock.valid_s > 0
