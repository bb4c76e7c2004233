"""Write data/digits.csv: the 1,797 handwritten digits (8 x 8 pixels) that ship with scikit-learn.

And data/dim.jsonl: the first 300 as rows to predict, from a camera that lost half its light.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, id 80.
"""

import csv
import json
from pathlib import Path

from sklearn.datasets import load_digits


def main() -> None:
    digits = load_digits()
    target = Path(__file__).parent / "data" / "digits.csv"
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"p{pixel:02d}" for pixel in range(64)), "digit"])
        for pixels, digit in zip(digits.data, digits.target, strict=True):
            writer.writerow([*(int(value) for value in pixels), int(digit)])
    dim = [
        {f"p{pixel:02d}": int(value) // 2 for pixel, value in enumerate(image)} for image in digits.data[:300]
    ]
    target.with_name("dim.jsonl").write_text(
        "\n".join(json.dumps(row) for row in dim) + "\n", encoding="utf-8"
    )
    print(f"{target.name}: {len(digits.target)} images")


if __name__ == "__main__":
    main()
