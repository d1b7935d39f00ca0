"""tests/CLAIMS.md quotes the README word for word, and every test that it names exists."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split(" | ")]
    for line in (HERE / "CLAIMS.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| claim", "| ---"))
]


def flat(text):
    return " ".join(text.split())


def test_claims_are_quotations():
    readme = flat((HERE.parent / "README.md").read_text())
    assert len(ROWS) > 20
    for claim, *_ in ROWS:
        assert flat(claim) in readme, claim


def test_every_claim_has_tests():
    for claim, tests, _ in ROWS:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", tests)
        assert named, claim
        for file, function in named:
            assert f"def {function}(" in (HERE / file).read_text(), (file, function)
