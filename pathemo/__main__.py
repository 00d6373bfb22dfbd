"""The command line, a thin door: `python -m pathemo fetch|corpora|run|lab|readme`, and `-h` after each."""

import argparse
import os
import subprocess
import sys


def main(arguments=None):
    """Exit status of a command: 0, or 1 after one clear message."""
    parser = argparse.ArgumentParser("python -m pathemo", description=sys.modules["pathemo"].__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fetch", help="download a corpus or a model, or say how to get it")
    command.add_argument("name", help="emodb, enterface, ravdess, savee; or a model: yunet, cnn14")
    command.add_argument("--parts", nargs="+", default=["audio"], help="audio, video, landmarks")
    command.add_argument("--root", help="folder for the corpora (default: PATHEMO_DATA, else data/)")

    command = commands.add_parser("corpora", help="show which corpora are there, and the next step for each")
    command.add_argument("--root", help="folder with the corpora (default: PATHEMO_DATA, else data/)")

    command = commands.add_parser("run", help="run the notebooks of a profile that are out of date")
    command.add_argument("profile", help="quick (synthetic corpora), paper (recorded), or a reports/*.yaml")
    command.add_argument("--only", metavar="NOTEBOOK", help="this one alone, such as 01_data_preparation")
    command.add_argument("--force", action="store_true", help="run what is up to date, too")

    commands.add_parser("lab", help="open the notebooks in JupyterLab; it gets all further options")

    command = commands.add_parser("readme", help="bring README.md's table up to date with reports/paper")
    command.add_argument("--check", action="store_true", help="only say whether it is")

    options, further = parser.parse_known_args(arguments)
    if further and options.command != "lab":
        parser.error(f"unknown: {' '.join(further)}")
    try:
        return COMMANDS[options.command](options, further)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"pathemo {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def fetch(options, _):
    from . import corpora

    corpora.fetch(options.name, options.root, parts=options.parts)


def show_corpora(options, _):
    from . import corpora

    for row in corpora.overview(options.root).to_dict("records"):
        print(f"{row.pop('corpus')}: {row.pop('where')}")
        for name, value in row.items():
            print(f"    {name:10} {value}")


def run(options, _):
    from . import runner

    index = runner.run(options.profile, only=options.only, force=options.force)
    print(f"open {os.path.relpath(index)}")


def lab(_, further):
    from . import report

    folder = report.project() / "notebooks"
    environment = os.environ | {"JUPYTER_PREFER_ENV_PATH": "1"}  # the kernel of this environment comes first
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(folder), *further], env=environment)


def readme(options, _):
    from . import report

    report.readme(check=options.check)


COMMANDS = {"fetch": fetch, "corpora": show_corpora, "run": run, "lab": lab, "readme": readme}

if __name__ == "__main__":
    sys.exit(main())
