import subprocess
import sys

import pytest

from pathemo import corpora, runner
from pathemo.__main__ import main


def test_each_command_has_help(capsys):
    """`-h` after each command explains it, and ends well."""
    for command in ("fetch", "corpora", "run", "lab", "readme"):
        with pytest.raises(SystemExit) as ended:
            main([command, "-h"])
        assert ended.value.code == 0
        assert f"python -m pathemo {command}" in capsys.readouterr().out


def test_help_is_light():
    """The help starts without loading torch, pandas or papermill."""
    code = ("import runpy, sys\nsys.argv = ['pathemo', '-h']\n"
            "try:\n    runpy.run_module('pathemo', run_name='__main__')\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'pandas', 'papermill'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_run_passes_its_options_on(monkeypatch, capsys, tmp_path):
    """`run PROFILE --only NB --force` calls `runner.run` with them and says what to open."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run", lambda *names, **given: calls.append((names, given)) or "index.html")
    assert main(["run", "paper", "--only", "01_data_preparation", "--force"]) is None
    assert calls == [(("paper",), {"only": "01_data_preparation", "force": True})]
    assert "index.html" in capsys.readouterr().out


def test_fetch_passes_its_options_on(monkeypatch):
    """`fetch NAME --parts ... --root ...` calls `corpora.fetch` with them."""
    calls = []
    monkeypatch.setattr(corpora, "fetch", lambda *names, **options: calls.append((names, options)))
    main(["fetch", "ravdess", "--parts", "audio", "landmarks", "--root", "here"])
    assert calls == [(("ravdess", "here"), {"parts": ["audio", "landmarks"]})]


def test_corpora_shows_what_is_there_and_the_next_step(capsys, synthetic_root, tmp_path):
    """Every corpus is listed with its clips, or as not found with the command that gets it."""
    main(["corpora", "--root", str(synthetic_root)])
    there = capsys.readouterr().out
    main(["corpora", "--root", str(tmp_path)])
    absent = capsys.readouterr().out
    for name in corpora.CORPORA:
        assert f"{name}: {synthetic_root / name}" in there
        assert f"{name}: not found" in absent
        assert f"python -m pathemo fetch {name}" in absent
    for column in corpora.overview(tmp_path).columns[2:]:
        assert there.count(f"    {column:10} ") == len(corpora.CORPORA)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("no profile 'x'"), 1, "pathemo run: no profile 'x'\n"),
        (RuntimeError("01_one: cell [3] stopped"), 1, "pathemo run: 01_one: cell [3] stopped\n"),
        (FileNotFoundError("no environment.yml"), 1, "pathemo run: no environment.yml\n"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on where it stopped\n"),
    ],
)
def test_an_error_is_one_message(monkeypatch, capsys, error, status, message):
    """What goes wrong is said in one message, without a traceback, and the exit status tells it."""
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(runner, "run", fail)
    assert main(["run", "quick"]) == status
    assert capsys.readouterr().err == message


def test_lab_opens_the_notebooks_with_this_python(monkeypatch, tmp_path):
    """`lab` starts JupyterLab of this environment at notebooks/ and hands further options on."""
    called = {}
    (tmp_path / "environment.yml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "call", lambda command, env: called.update(command=command, env=env) or 0)
    assert main(["lab", "--no-browser"]) == 0
    notebooks = str(tmp_path / "notebooks")
    assert called["command"] == [sys.executable, "-m", "jupyterlab", notebooks, "--no-browser"]
    assert called["env"]["JUPYTER_PREFER_ENV_PATH"] == "1"


def test_an_unknown_option_is_refused(capsys):
    """Only `lab` takes options that are not its own."""
    with pytest.raises(SystemExit):
        main(["corpora", "--rot", "x"])
    assert "--rot" in capsys.readouterr().err
