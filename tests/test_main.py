"""The command line: what it hands on, and what it says."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from pathemo import corpora, runner
from pathemo.__main__ import main

PROJECT = Path(__file__).parents[1]


def test_each_command_has_help(capsys):
    """`-h` after each command explains it, and ends well."""
    for command in ("fetch", "corpora", "run", "lab", "readme"):
        with pytest.raises(SystemExit) as ended:
            main([command, "-h"])
        assert ended.value.code == 0
        assert f"python -m pathemo {command}" in capsys.readouterr().out


def test_help_is_light():
    """The help starts without loading torch, pandas or papermill."""
    code = (
        "import runpy, sys\nsys.argv = ['pathemo', '-h']\n"
        "try:\n    runpy.run_module('pathemo', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'pandas', 'papermill'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_run_passes_its_options_on(monkeypatch, capsys, tmp_path):
    """`run PROFILE --only NB` calls `runner.run` with them and says what to open."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        runner, "run", lambda *names, **given: calls.append((names, given)) or "index.html"
    )
    assert main(["run", "paper", "--only", "01_data_preparation"]) is None
    assert calls == [(("paper",), {"only": "01_data_preparation"})]
    assert "index.html" in capsys.readouterr().out


def test_a_console_of_ascii_gets_what_it_can_show(tmp_path):
    """Other letters are told by their codes."""
    sound = tmp_path / "naïve" / "emodb" / "wav" / "03a01Fa.wav"
    sound.parent.mkdir(parents=True)
    sound.write_bytes(b"sound")
    command = [sys.executable, "-m", "pathemo", "corpora", "--root", "naïve"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    told = subprocess.check_output(command, cwd=tmp_path, env=ascii_only, text=True)
    assert "na\\xefve" in told and "clips      1/535" in told


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
        assert f"{name}: {tmp_path / name} (not found)" in absent
        assert f"python -m pathemo fetch {name} --root {tmp_path}\n" in absent
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


def test_lab_opens_the_start_page_with_this_python(monkeypatch, tmp_path):
    """`lab` starts JupyterLab of this environment at notebooks/START.md, with one thread unless
    told so.

    Further options are handed on, another start page among them.
    """
    called = []
    (tmp_path / "environment.yml").write_text("name: pathemo\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "mine")
    monkeypatch.setattr(subprocess, "call", lambda command, env: called.append((command, env)) or 0)
    lab = [sys.executable, "-m", "jupyterlab", str(tmp_path / "notebooks")]
    assert main(["lab", "--no-browser"]) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert main(["lab", "--LabApp.default_url=/lab"]) == 0
    (command, environment), (other, others) = called
    assert command == [*lab, "--no-browser", "--LabApp.default_url=/lab/tree/START.md"]
    assert other == [*lab, "--LabApp.default_url=/lab"]
    assert [e["OMP_NUM_THREADS"] for e in (environment, others)] == ["1", "4"]
    assert environment["JUPYTER_PREFER_ENV_PATH"] == "1"
    paths = [str(tmp_path / "notebooks" / ".jupyter"), "mine"]
    assert environment["JUPYTER_CONFIG_PATH"] == os.pathsep.join(paths)


def test_lab_shows_the_start_page(tmp_path):
    """The server, started by the command, leads to START.md, serves it, and shows Markdown as a
    page.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=secret",
    ]
    command = [sys.executable, "-m", "pathemo", "lab", *options]
    own = {
        "HOME": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "JUPYTER_CONFIG_DIR": str(tmp_path),
    }
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=os.environ | own,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )

    def get(path):
        answer = requests.get(
            f"http://127.0.0.1:{port}/{path}", params={"token": "secret"}, timeout=60
        )
        answer.raise_for_status()
        return answer

    try:
        while process.poll() is None:
            try:
                page = get("")
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        assert page.url.startswith(f"http://127.0.0.1:{port}/lab/tree/START.md")
        assert "jupyter-config-data" in page.text
        assert get("api/contents/START.md").json()["content"].startswith("# Start here")
        settings = get("lab/api/settings/@jupyterlab/docmanager-extension:plugin").json()
        viewers = settings["schema"]["properties"]["defaultViewers"]["default"]
        assert viewers == {"markdown": "Markdown Preview"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_start_page_names_every_notebook_and_its_question(monkeypatch):
    """START.md has a line a notebook, in order, with the sentence that its section Question begins
    with.
    """
    monkeypatch.chdir(PROJECT)
    page = (PROJECT / "notebooks" / "START.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| \[(\w+)\]\((.+?)\) \| (.+?) \|", page, re.MULTILINE)
    notebooks = sorted((PROJECT / "notebooks").glob("*.ipynb"))
    asked = [runner.title_and_question(path.stem)[1] for path in notebooks]
    assert lines == [(n.stem, n.name, q) for n, q in zip(notebooks, asked, strict=True)]
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page) if "://" not in link]
    assert all((PROJECT / "notebooks" / link).is_file() for link in links)


def test_an_unknown_option_is_refused(capsys):
    """Only `lab` takes options that are not its own."""
    with pytest.raises(SystemExit):
        main(["corpora", "--rot", "x"])
    assert "--rot" in capsys.readouterr().err
