"""Live through 2012, a month at a time: the way an application, its ground truth and a scheduler would.

    python replay.py --from hour.csv [--months 12] [--home DIR] [--direct]

Every month: its hours are predicted through the HTTP endpoint, what really happened is sent back as feedback, the
month's rows are appended to data/hour.csv, and the monitor runs. In mode "auto" an alert retrains; the gates decide.
Start `mlops-box up` first. With --direct the monitor trains in its own process instead of through the scheduler.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
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


def write_history(lines: list[dict[str, str]]) -> None:
    """data/hour.csv as it stands today; whole or not at all."""
    target = HERE / "data" / "hour.csv"
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    temporary.rename(target)


def predict_month(endpoint: str, month: list[dict[str, str]]) -> tuple[str, float]:
    """Send a month's hours, then its ground truth; returns the version that answered last and the month's MAE."""
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
    return version, sum(errors) / len(errors)


def champion(home: list[str]) -> str:
    return f"{MODEL}@{box(['models', 'aliases', MODEL], home)['champion']}"


def wait_for_retraining(home: list[str], *, limit_s: float = 180) -> None:
    """Until no decision is on its way and no training runs."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        busy = [item for item in box(["decisions", "list"], home) if item["state"] in ("pending", "issued")]
        if not busy:
            return
        time.sleep(1)
    sys.exit("a retraining did not end; see: mlops-box runs list")


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
    home = ["--home", options.home] if options.home else []

    with options.source.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    history = [line for line in lines if line["dteday"] < "2012"]
    write_history(history)
    if options.prepare:
        print(
            f"data/hour.csv: {len(history)} hours of 2011. Next: mlops-box check, mlops-box train, mlops-box up --detach"
        )
        return

    endpoint = box(["status"], home)["endpoint"]
    print(f"{'month':8} {'answered by':18} {'live MAE':>8}  {'findings':42} champion afterwards")
    for month in range(1, options.months + 1):
        current = [line for line in lines if line["dteday"].startswith(f"2012-{month:02d}")]
        version, mae = predict_month(endpoint, current)
        history += current
        write_history(history)
        outcome = box(["monitor", MODEL, *(["--direct"] if options.direct else [])], home)
        wait_for_retraining(home)
        alerts = box(["alerts", "list", "--state", "open"], home)
        found = ", ".join(sorted({alert["kind"] for alert in alerts})) or "-"
        decided = ", ".join(sorted({item["state"] for item in outcome.get("decisions", [])}))
        print(
            f"2012-{month:02d}  {version:18} {mae:8.1f}  {found + (' → retrain ' + decided if decided else ''):42} {champion(home)}"
        )


if __name__ == "__main__":
    main()
