"""Live through 2012, a month at a time: the way an application, its ground truth and a scheduler would.

    python replay.py --from hour.csv [--months 12] [--home DIR] [--direct]

Every month: its hours are predicted through the HTTP endpoint, what really happened is sent back as feedback, the
month's rows are appended to data/hour.csv, and the monitor runs. In mode "auto" an alert retrains; the gates decide.
At the end the first champion scores the same hours once more, to tell what a model that nobody retrains would have done.
Start `mlops-box up` first. With --direct the monitor trains in its own process instead of through the scheduler.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HISTORY = HERE / "data" / "hour.csv"  # what the box reads: the past as it is known today
MODEL = "bike-rentals"
INTEGERS = ("season", "hr", "holiday", "weekday", "workingday", "weathersit")
DECIMALS = ("temp", "atemp", "hum", "windspeed")


def box(arguments: list[str], home: list[str]) -> Any:
    """Run one mlops-box command with --json; a failure stops the replay and says why."""
    done = subprocess.run(
        [sys.executable, "-m", "mlops_box", *arguments, *home, "--json"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 4):
        sys.exit(f"mlops-box {' '.join(arguments)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def row_of(line: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"at": f"{line['dteday']}T{int(line['hr']):02d}:00:00"}
    row |= {name: int(line[name]) for name in INTEGERS}
    row |= {name: float(line[name]) for name in DECIMALS}
    return row


def write_csv(target: Path, rows: list[dict[str, Any]]) -> None:
    """Whole or not at all: the monitor may read at any time."""
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.rename(target)


def predict_month(endpoint: str, month: list[dict[str, str]]) -> tuple[str, list[float]]:
    """Send a month's hours, then its ground truth; returns the version that answered and the absolute errors."""
    version, errors = "", []
    for start in range(0, len(month), 100):
        chunk = month[start : start + 100]
        answer = post(f"{endpoint}/models/{MODEL}/predict", {"rows": [row_of(line) for line in chunk]})
        version = answer["model"]
        truth = [
            {"id": key, "value": int(line["cnt"])} for key, line in zip(answer["ids"], chunk, strict=True)
        ]
        post(f"{endpoint}/models/{MODEL}/feedback", {"truth": truth})
        errors += [abs(p - int(line["cnt"])) for p, line in zip(answer["predictions"], chunk, strict=True)]
    return version, errors


def score_all(version: str, lines: list[dict[str, str]], home: list[str]) -> list[float]:
    """The absolute errors of one fixed version on all hours, through `mlops-box score`."""
    with tempfile.TemporaryDirectory() as folder:
        rows, scored = Path(folder) / "rows.csv", Path(folder) / "scored.csv"
        write_csv(rows, lines)  # as published: the project's query is applied to what is scored, too
        box(["score", version, "--in", str(rows), "--out", str(scored)], home)
        with scored.open(newline="", encoding="utf-8") as file:
            predictions = [float(row["prediction"]) for row in csv.DictReader(file)]
    return [abs(p - int(line["cnt"])) for p, line in zip(predictions, lines, strict=True)]


def champion(home: list[str]) -> str:
    return f"{MODEL}@{box(['models', 'aliases', MODEL], home)['champion']}"


def settled_decisions(home: list[str], *, limit_s: float = 180) -> list[dict[str, Any]]:
    """All decisions, oldest first, once none is on its way and no training runs."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        decisions: list[dict[str, Any]] = box(["decisions", "list", "--model", MODEL], home)
        if not any(item["state"] in ("pending", "issued") for item in decisions):
            return decisions[::-1]
        time.sleep(1)
    sys.exit("a retraining did not end; see: mlops-box runs list")


def told(decision: dict[str, Any]) -> str:
    """What became of a decision, in a few words."""
    facts = decision["facts"]
    if decision["state"] != "done":
        return f"{decision['trigger']}: {decision['state']}"
    number = str(facts["version"]).rpartition("@")[2]
    return f"{decision['trigger']}: @{number} {'promoted' if facts['promoted'] else 'rejected by its gates'}"


def mean(errors: list[float]) -> float:
    return sum(errors) / len(errors)


def live(months: int, lines: list[dict[str, str]], history: list[dict[str, str]], options: Any) -> None:
    """The months of 2012, one after another; prints a line for each and the account at the end."""
    home = ["--home", options.home] if options.home else []
    endpoint = box(["status"], home)["endpoint"]
    first, seen = champion(home), {item["id"] for item in settled_decisions(home)}
    lived: list[dict[str, str]] = []
    errors: list[float] = []
    print(f"{'month':8} {'answered by':15} {'live MAE':>8}  {'alerts':15} {'retrainings':50} champion then")
    for month in range(1, months + 1):
        current = [line for line in lines if line["dteday"].startswith(f"2012-{month:02d}")]
        version, missed = predict_month(endpoint, current)
        lived, errors = lived + current, errors + missed
        write_csv(HISTORY, history + lived)
        outcome = box(["monitor", MODEL, *(["--direct"] if options.direct else [])], home)
        new = [item for item in settled_decisions(home) if item["id"] not in seen]
        seen |= {item["id"] for item in new}
        standing = {alert["kind"] for alert in outcome["alerts"] if alert["change"] != "resolved"}
        alerts = ", ".join(sorted(standing)) or "-"
        retrainings = ", ".join(told(item) for item in new) or "-"
        print(
            f"2012-{month:02d}  {version:15} {mean(missed):8.1f}  {alerts:15} {retrainings:50} {champion(home)}",
            flush=True,
        )
    print(
        f"\nmean absolute error over these {len(lived)} hours: {mean(errors):.1f} as lived, "
        f"{mean(score_all(first, lived, home)):.1f} had {first} answered them all"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="the whole hour.csv of the UCI set"
    )
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--home", help="the box's home")
    parser.add_argument(
        "--prepare", action="store_true", help="only write data/hour.csv with the year 2011 and stop"
    )
    parser.add_argument("--direct", action="store_true", help="retrain inside the monitor's process")
    options = parser.parse_args()

    with options.source.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    history = [line for line in lines if line["dteday"] < "2012"]
    write_csv(HISTORY, history)
    if options.prepare:
        print(
            f"data/hour.csv: {len(history)} hours of 2011. Next: mlops-box check, mlops-box train, mlops-box up --detach"
        )
        return
    live(options.months, lines, history, options)


if __name__ == "__main__":
    main()
