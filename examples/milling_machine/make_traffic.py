"""Write data/worn.jsonl: rows as an application would send them, from a mill whose tools are blunter than in training.

Every 16th row of data/ai4i2020.csv, with a quarter more torque and 80 more minutes of tool wear.
"""

import csv
import json
from pathlib import Path

DATA = Path(__file__).parent / "data"


def worn(line: dict[str, str]) -> dict[str, object]:
    return {
        "Type": line["Type"],
        "Air temperature": float(line["Air temperature"]),
        "Process temperature": float(line["Process temperature"]),
        "Rotational speed": int(line["Rotational speed"]),
        "Torque": min(100.0, float(line["Torque"]) * 1.25),
        "Tool wear": min(300, int(line["Tool wear"]) + 80),
    }


def main() -> None:
    with (DATA / "ai4i2020.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = [worn(line) for line in csv.DictReader(file)][::16]
    (DATA / "worn.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    print(f"worn.jsonl: {len(rows)} rows")


if __name__ == "__main__":
    main()
