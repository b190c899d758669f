"""The journal of deployments and its lock."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploy.rollout.errors import Busy, RolloutError
from deploy.rollout.state import Generation, Journal, State, Step, replace_file

ROOT = Path(__file__).resolve().parents[2]


def served(*releases: str) -> State:
    """After these deployments."""
    state = State()
    for release in releases:
        state = state.at(Step.DRAINING, state.next(release)).done()
    return state


def test_slots_take_turns_and_the_former_release_is_known() -> None:
    """Each generation has the other slot, a number of its own, and a mark that no other has had."""
    one, two, three = served("a"), served("a", "b"), served("a", "b", "c")
    assert one.current is not None
    assert two.current is not None
    assert three.current is not None
    assert [state.current.slot for state in (one, two, three) if state.current] == ["blue", "green", "blue"]
    assert (one.former, three.former and three.former.release) == (None, "b")
    assert len({one.current.mark, two.current.mark, three.current.mark}) == 3
    assert (three.current.number, three.last, three.target) == (3, 3, None)


def test_the_same_release_again_is_not_its_own_former_one() -> None:
    """`rollback` after `deploy --again` goes to what was before both."""
    again = served("a", "b", "b")
    assert again.former is not None
    assert again.former.release == "a"


def test_a_number_that_was_given_up_is_not_used_again() -> None:
    """The proxy may still know the mark of a generation that was taken back."""
    state = served("a")
    given_up = state.at(Step.STARTING, state.next("bad")).given_up()
    assert (given_up.current, given_up.target) == (state.current, None)
    assert given_up.next("good").number == 3


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """A state survives the file, half-way or not; there is none before the first."""
    journal = Journal(tmp_path / "var")
    assert journal.read() == State()
    for state in (served("a", "b"), served("a").at(Step.SWITCHING, Generation(2, "green", "b", "2-x"))):
        journal.write(state)
        assert Journal(tmp_path / "var").read() == state


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": "elsewhere"}'])
def test_a_state_that_can_not_be_read_is_not_guessed(tmp_path: Path, text: str) -> None:
    """The message names the file and the page that says what to do."""
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(RolloutError, match=r"state\.json.*docs/runbooks/deployment-failed\.md"):
        Journal(tmp_path).read()


def test_a_command_holds_the_lock_beyond_its_deployment(tmp_path: Path) -> None:
    """What a killed run has left running keeps the next one out until it ends."""
    with Journal(tmp_path).lock() as lock:
        left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(Busy), Journal(tmp_path).lock():
        pass
    left.communicate(b"\n")
    with Journal(tmp_path).lock():
        pass


def test_what_a_killed_deployment_has_left_is_waited_for(tmp_path: Path) -> None:
    """The holder is dead and its command is not: the next one begins when that has ended, and is not sent away."""
    begun = """
import subprocess, sys
from pathlib import Path
from deploy.rollout.state import Journal
with Journal(Path(sys.argv[1])).lock() as lock:
    subprocess.Popen(["sh", "-c", "until [ -e over ]; do sleep 0.02; done"], cwd=sys.argv[1], pass_fds=(lock,))
"""
    subprocess.run([sys.executable, "-c", begun, str(tmp_path)], cwd=ROOT, check=True)
    over = tmp_path / "over"
    threading.Timer(0.5, over.touch).start()
    with Journal(tmp_path).lock():
        assert over.exists()


def test_what_can_not_be_written_is_named(tmp_path: Path) -> None:
    """A full disk is a sentence, not a traceback; what was there stays."""
    file = tmp_path / "state.json"
    file.write_text("old")
    (tmp_path / ".state.json.new").symlink_to("/dev/full")
    with pytest.raises(RolloutError, match=f"{file}: can't be written: No space left"):
        replace_file(file, "new")
    assert file.read_text() == "old"


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """The command says so and ends with 1."""
    (tmp_path / "var").write_text("a file")
    (tmp_path / ".env").write_text("PUBLIC_HOST=clinic.example.org")
    command = [sys.executable, "-m", "deploy.rollout", "--root", str(tmp_path), "status"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith("rollout: ")) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
