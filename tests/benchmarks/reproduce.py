"""Reproduction of the papers' comparisons, and of the figures that the presets and the README quote.

Trains what is missing, as sweeps in a folder, and writes the tables of REPORT.md whose runs are there; the others stay
as they are, or are left out. For the dashboard the same tables, with links to the runs, are written into their folder.
Killed, it continues with the same command. Each method has the learning rate, of those tried, that is best on a sixth
of the training part; the figures are test accuracies after the last epoch.

Run ``python -m tests.benchmarks.reproduce [TABLE ...] [--quick] [--seeds N] [--runs FOLDER] [--report-only]``. All
tables take a night of one core, with ``--quick`` about an hour. TSNN_DATA names the folder of the complete data sets.
"""

import argparse
import datetime
import re
from pathlib import Path

from tests.benchmarks import accuracy_tables, density_tables, time_to_accuracy
from tests.benchmarks.figure import write_figure
from tests.benchmarks.laboratory import Laboratory
from tests.benchmarks.limits import machine
from tests.benchmarks.scales import FULL, QUICK
from tsnn.files import json_line, write_atomic
from tsnn.runs import RunStore

HERE = Path(__file__).parent
REPORT = HERE / "REPORT.md"
PAGE = "report.json"  # in the folder of the runs; its reader is app/pages/report_tab.py
EARLIER = "Made by an earlier version of the command, with other settings."
_LINK = re.compile(r"\[([^]]*)]\(\?[^)]*\)")  # to a page of the dashboard
TABLES = {
    "papers": accuracy_tables.papers,
    "density": density_tables.density,
    "few": density_tables.few,
    "cifar": accuracy_tables.cifar,
    "mnist": accuracy_tables.mnist,
    "madelon": accuracy_tables.madelon,
    "time": time_to_accuracy.table,
    "parallel": accuracy_tables.parallel,
    "presets": accuracy_tables.presets,
    "wide": accuracy_tables.wide,
}


def main():
    """Train, and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.reproduce", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer epochs, seeds and learning rates")
    parser.add_argument("--seeds", type=int, help="seeds of each method")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "reproduction", metavar="FOLDER")
    parser.add_argument("--report-only", action="store_true", help="train nothing, write the report")
    options = parser.parse_args()
    if unknown := sorted(set(options.tables) - set(TABLES)):
        parser.error(f"there is no table {unknown[0]!r}; choose from {', '.join(TABLES)}")
    scale = QUICK if options.quick else FULL
    if options.seeds:
        scale = scale.with_seeds(options.seeds)
    folder = options.runs / scale.name
    for name in [] if options.report_only else options.tables or TABLES:
        list(TABLES[name](Laboratory(RunStore(folder), training=True), scale))
        write(folder, scale)
    write(folder, scale)


def write(folder, scale):
    """Write the report: tables whose runs are in the folder; others as they were. For the dashboard the former only."""
    before = sections(REPORT.read_text()) if REPORT.exists() else {}
    command = f"python -m tests.benchmarks.reproduce{' --quick' if scale is not FULL else ''}"
    head = "\n".join([
        "# Report", "",
        "Nothing in it is typed by hand. One thread. Test accuracy in per cent after the last epoch, mean ± standard "
        "deviation over the seeds; a number alone is one seed. Each method has the learning rate, of those tried, that "
        "is best on a sixth of the training part. A table is that of the command and the machine below it.", "",
        f"Without `--quick`: {FULL.text} With it: {QUICK.text}",
    ])  # fmt: skip
    here, kept, figures = [head], [head], {}
    for name, table in TABLES.items():
        lab = Laboratory(RunStore(folder), training=False)
        text = "\n".join(table(lab, scale))
        plain, heading = _LINK.sub(r"\1", text), text.partition("\n")[0]
        if lab.found:
            old, words = before.get(heading, ""), command.replace("reproduce", f"reproduce {name}")
            made = f"\n\n`{words}`, {datetime.date.today()}, {machine()}."
            if old.startswith(plain + "\n\n`"):
                made = old[len(plain) :]
            elif not old or not lab.missing:  # a part does not take the place of a complete table
                before[heading] = plain + made
            here.append(text + made)
            figures |= lab.figures
        if heading in before:
            kept.append(_dated(before[heading], plain, f"`{command.replace('reproduce', f'reproduce {name}')}`"))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / PAGE, json_line({"text": "\n\n".join(here), "figures": figures}))
    REPORT.write_text("\n\n".join(kept) + "\n")
    for name, figure in figures.items():
        write_figure(REPORT.with_name(name), **figure)


def _dated(section, now, command):
    """Return a section with a note if it was made by this command when its text, and so its settings, were others."""
    texts = [[line for line in text.splitlines() if line and line[0] not in "|`!"] for text in (section, now)]
    if command not in section or texts[0] == texts[1] or section.endswith(EARLIER):
        return section
    return f"{section} {EARLIER}"


def sections(report):
    """Return the sections of a report by their headings."""
    parts = re.split(r"\n\n(?=## )", report.strip())[1:]
    return {part.partition("\n")[0]: part for part in parts}


if __name__ == "__main__":
    main()
