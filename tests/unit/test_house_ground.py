"""Floor 0: errors, clock, ids, units, canonical, home."""

from __future__ import annotations

import hashlib
import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_box import errors
from mlops_box.canonical import canonical_json, digest_of
from mlops_box.clock import FixedClock, SystemClock, isoformat, parse_time
from mlops_box.errors import BoxError, ExitCode, StorageError, UsageError
from mlops_box.home import Home, home_from
from mlops_box.ids import check_name, new_id, parse_ref
from mlops_box.units import format_duration, format_size, parse_duration, parse_share, parse_size


def all_errors() -> list[type[BoxError]]:
    found, todo = [], [BoxError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_documented_exit_code_and_one_json_shape(kind: type[BoxError]) -> None:
    error = kind("what is wrong", hint="what to do", details={"row": 7})
    assert isinstance(error.exit_code, ExitCode)
    assert (kind is BoxError) == (error.exit_code is ExitCode.UNEXPECTED)
    assert error.to_dict()["error"] == {
        "code": kind.code, "message": "what is wrong", "hint": "what to do", "details": {"row": 7},
    }  # fmt: skip
    assert kind.__doc__
    assert errors.__doc__
    drawn = next(line for line in errors.__doc__.splitlines() if kind.__name__ in line)
    if kind is not BoxError:
        assert str(int(kind.exit_code)) in drawn.split()


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in all_errors()]
    assert len(set(codes)) == len(codes)


def test_times_sort_as_text_and_survive_a_round_trip() -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=step * 333) for step in range(50)]
    texts = [isoformat(moment) for moment in moments]
    assert texts == sorted(texts)
    assert [parse_time(text) for text in texts] == moments
    assert parse_time("2026-01-01 12:00:00") == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert parse_time("2026-01-01T12:00:00+02:00") == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert SystemClock().now().tzinfo is UTC


def test_ids_sort_by_time_and_never_repeat() -> None:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    ids = []
    for _ in range(200):
        ids.append(new_id(clock))
        clock.advance(timedelta(milliseconds=1))
    assert ids == sorted(ids)
    assert len({new_id(clock) for _ in range(10_000)}) == 10_000
    assert {len(one) for one in ids} == {22}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "-x",
        ".x",
        "..",
        "a/b",
        "a b",
        "a\n",
        "a" * 65,
        "ä",
        "a;b",
        "a%2e",
        "$(x)",
        "{{7*7}}",
        "../a",
        "a\x00",
    ],
)
def test_a_name_that_could_reach_a_path_or_a_shell_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not allowed"):
        check_name(name)


def test_a_bare_model_name_means_its_champion() -> None:
    assert str(parse_ref("bikes")) == "bikes@champion"
    assert parse_ref("bikes@7").number == 7
    assert parse_ref("bikes@last_good").alias == "last_good"
    for wrong in ("bikes@", "bikes@@7", "bikes@-1", "bikes@Seven", "@7", "bikes@٣"):
        with pytest.raises(UsageError):
            parse_ref(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10ms", 0.01), ("90s", 90), ("1.5m", 90), ("1h", 3600), ("7d", 604800), (" 2 w ", 1209600)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1 hour", "1h30m", "nan", "9" * 20 + "w"])
def test_a_wrong_duration_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="duration|calendar"):
        parse_duration(text)


def test_shares_are_read_as_per_cent_or_number_and_nothing_else() -> None:
    assert parse_share("1%") == parse_share("0.01") == parse_share(0.01) == 0.01
    for wrong in ("1.1", "101%", "-1%", "%", "one", "nan", True, [], None, {}):
        with pytest.raises(ValueError, match="share|outside"):
            parse_share(wrong)


def test_durations_and_sizes_read_well_at_their_borders() -> None:
    assert [format_duration(s) for s in (0.35, 0.9999, 4.2, 59.97, 185, 7800, 442800, -4.2)] == [
        "350ms", "1.0s", "4.2s", "1m00s", "3m05s", "2h10m", "5d03h", "-4.2s",
    ]  # fmt: skip
    assert [parse_size(text) for text in ("532 B", "64MB", "1.5 GB")] == [532, 64_000_000, 1_500_000_000]
    for wrong in ("64", "64 MiB", "-1kB", "many"):
        with pytest.raises(ValueError, match="no size"):
            parse_size(wrong)
    assert [format_size(b) for b in (532, 1400, 999_960, 22e6, 3e12)] == [
        "532 B", "1.4 kB", "1.0 MB", "22.0 MB", "3.0 TB",
    ]  # fmt: skip


def test_one_value_has_one_byte_form() -> None:
    import numpy as np

    assert canonical_json({"b": 1, "a": (1.5, math.nan, -math.inf)}) == '{"a":[1.5,null,null],"b":1}'
    assert canonical_json({3, 1, 2}) == "[1,2,3]"
    assert (
        canonical_json([np.int64(3), np.float32(0.5), np.bool_(True), np.array([1, 2])])
        == "[3,0.5,true,[1,2]]"
    )
    assert canonical_json([Path("a/b"), datetime(2026, 1, 1, tzinfo=UTC), ExitCode.GATE]) == (
        '["a/b","2026-01-01 00:00:00+00:00",4]'
    )
    assert digest_of({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_a_file_name_that_is_no_utf8_can_still_be_hashed_and_read_back() -> None:
    name = os.fsdecode(b"data-\xff.csv")
    assert json.loads(canonical_json({"source": name})) == {"source": name}
    assert len(digest_of(name)) == 64


def test_what_has_no_canonical_form_is_refused_instead_of_hashed_by_its_address() -> None:
    with pytest.raises(TypeError, match="no canonical form"):
        canonical_json({"thing": object()})


def test_the_home_is_the_option_else_the_environment_else_the_users(tmp_path: Path) -> None:
    assert home_from({}, given=tmp_path).root == tmp_path
    assert home_from({"MLOPS_BOX_HOME": str(tmp_path / "x")}).root == tmp_path / "x"
    assert home_from({"MLOPS_BOX_HOME": ""}).root == Path.home() / ".mlops-box"


def test_a_home_is_private_and_making_it_twice_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep/home")
    home.create()
    home.create()
    assert all((folder.stat().st_mode & 0o777) == 0o700 for folder in [home.root, *home.root.iterdir()])


def test_a_file_in_the_way_of_the_home_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be used") as caught:
        Home(tmp_path / "home").create()
    assert "MLOPS_BOX_HOME" in str(caught.value.hint)
