"""How `make` finds a Python, on a PATH made of shims. Nothing is installed here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FAILING_SHIM = "#!/bin/sh\necho 'pyenv: this version is not selected' >&2\nexit 127\n"


def python_saying(version, *, venv=True):
    """A stand-in that answers the questions asked of an interpreter, and makes a `.venv` that records who made it."""
    major, minor = version.split(".")
    return f"""#!/bin/sh
case "$*" in
  *version_info*) echo {major}.{minor} ;;
  *ensurepip*) exit {0 if venv else 1} ;;
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo {version} >.venv/made-by ;;
  "-m pip"*) echo "$*" >>pip.log ;;
  "- requirements.txt pyproject.toml") exec {sys.executable} "$@" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A folder with the script and the files it reads, and a PATH of our own beside the basic commands."""
    (tmp_path / "local").mkdir()
    shutil.copy(REPO / "local" / "venv.sh", tmp_path / "local")
    (tmp_path / "requirements.txt").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "cp", "mkdir", "rm", "grep"):
        (tools / name).symlink_to(shutil.which(name))
    return tmp_path


def offer(project, **pythons):
    for name, script in pythons.items():
        path = project / "bin" / name.replace("_", ".")
        path.write_text(script)
        path.chmod(0o755)


def setup(project, **variables):
    env = {"PATH": str(project / "bin"), **variables}
    return subprocess.run(
        ["sh", "local/venv.sh"],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        executable=shutil.which("sh"),
    )


def test_a_shim_that_fails_is_passed_over(project):
    offer(project, python3_13=FAILING_SHIM, python3_12=python_saying("3.12"))
    assert setup(project).returncode == 0
    assert (project / ".venv" / "made-by").read_text() == "3.12\n"


@pytest.mark.parametrize("name", ["python3", "python"])
def test_a_fitting_python_is_found_under_any_of_its_names(project, name):
    offer(project, **{name: python_saying("3.11")})
    assert setup(project).returncode == 0


def test_without_a_fitting_python_it_says_which_it_found_and_why_they_do_not_fit(project):
    offer(project, python3_12=FAILING_SHIM, python3_11=python_saying("3.11", venv=False), python3=python_saying("3.14"))
    done = setup(project)
    assert done.returncode == 2
    assert "python3 is 3.14" in done.stderr
    assert "python3.11 is 3.11, but lacks the venv module" in done.stderr
    assert "python3.12" not in done.stderr.partition("Install one")[0]


def test_without_any_python_it_says_so(project):
    done = setup(project)
    assert done.returncode == 2
    assert "none" in done.stderr


def test_a_python_that_was_named_is_the_only_one_tried(project):
    offer(project, python3_12=python_saying("3.12"), other=python_saying("3.10"))
    done = setup(project, PYTHON=str(project / "bin" / "other"))
    assert done.returncode == 2
    assert "is 3.10" in done.stderr


def test_a_second_call_installs_nothing_until_the_lock_changes(project):
    offer(project, python3_12=python_saying("3.12"))
    setup(project)
    first = (project / "pip.log").read_text()
    setup(project)
    assert (project / "pip.log").read_text() == first
    (project / "requirements.txt").write_text("a==2\n")
    setup(project)
    assert (project / "pip.log").read_text() == first * 2
    assert "-r requirements.txt" in first
    assert "--no-deps -e ." in first


def test_a_venv_whose_python_is_gone_is_made_again(project):
    offer(project, python3_12=python_saying("3.12"))
    setup(project)
    (project / ".venv" / "bin" / "python").write_text(FAILING_SHIM)
    assert setup(project).returncode == 0
    assert (project / ".venv" / "made-by").exists()
