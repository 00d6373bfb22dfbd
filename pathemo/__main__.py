"""The command line, a thin door: `python -m pathemo fetch|corpora|new|run|lab|readme`, and `-h`."""

import argparse
import os
import subprocess
import sys

import pathemo  # each room is loaded where it is needed, so that help is there at once

COMMANDS = {
    "fetch": "download a corpus, or say how to get it",
    "corpora": "show which corpora are there, and the next step for each",
    "new": "check a CSV file of your own, and write a profile that runs the study on it",
    "run": "run the notebooks of a profile that are out of date",
    "lab": "open the notebooks in JupyterLab; it gets all further options",
    "readme": "bring README.md's table up to date with reports/paper",
}


def main(arguments=None):
    """Return the exit status of a command: 0, or 1 after one clear message."""
    if hasattr(sys.stdout, "reconfigure"):  # a console, which may know fewer letters
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser("python -m pathemo", description=pathemo.__doc__)
    add = parser.add_subparsers(dest="command", required=True).add_parser
    fetch, corpora, new, run, _, readme = (add(name, help=text) for name, text in COMMANDS.items())
    fetch.add_argument("name", help="a corpus, or a network: cnn14, mn04, whisper-tiny.en")
    fetch.add_argument("--parts", nargs="+", default=["audio"], help="audio, video, landmarks")
    new.add_argument("table", help="CSV with clip, speaker, emotion, and audio, video or image")
    for command in (fetch, corpora, new):
        command.add_argument("--root", help="of the corpora (default: PATHEMO_DATA, else data/)")
    run.add_argument("profile", help="quick (synthetic), paper (recorded), or a reports/*.yaml")
    run.add_argument("--only", metavar="NOTEBOOK", help="this one, such as 01_data_preparation")
    readme.add_argument("--check", action="store_true", help="only say whether it is")
    options, further = parser.parse_known_args(arguments)
    if further and options.command != "lab":
        parser.error(f"unknown: {' '.join(further)}")
    try:
        return follow(options, further)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"pathemo {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def follow(options, further):
    """Do what a command says."""
    match options.command:
        case "fetch":
            pathemo.corpora.fetch(options.name, options.root, parts=options.parts)
        case "corpora":
            for row in pathemo.corpora.overview(options.root).to_dict("records"):
                print(f"{row.pop('corpus')}: {row.pop('where')}")
                print("".join(f"    {name:10} {value}\n" for name, value in row.items()), end="")
        case "new":
            profile, facts = pathemo.own.new(options.table, options.root)
            print("\n".join(facts))
            print(f"{os.path.relpath(profile)}; next: python -m pathemo run {profile.stem}")
        case "run":
            index = pathemo.runner.run(options.profile, only=options.only)
            print(f"open {os.path.relpath(index)}")
        case "lab":
            return _open_lab(pathemo.report.home() / "notebooks", further)
        case "readme":
            pathemo.report.readme(check=options.check)


def _open_lab(notebooks, further):
    lab = [sys.executable, "-m", "jupyterlab", str(notebooks), *further]
    if "default_url" not in " ".join(further):
        lab.append("--LabApp.default_url=/lab/tree/START.md")
    paths = [str(notebooks / ".jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environment = {
        "OMP_NUM_THREADS": "1",  # as in reports, for the same numbers: jobs run side by side
        **os.environ,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths)),  # Markdown as a page
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    return subprocess.call(lab, env=environment)


if __name__ == "__main__":
    sys.exit(main())
