"""The hooks of MkDocs: links of the repository become links between pages."""

import pytest

from docs.hooks import PAGES, ROOT, adapted

TEXT = """[a]({}) and [b](https://example.org/x)
```bash
echo "[a]({})"
```
"""


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("index.md", "docs/guide/training.md", "guide/training.md"),
        ("index.md", "leaderboard/LEADERBOARD.md", "leaderboard.md"),
        ("index.md", "docs/guide/training.md#exit-codes", "guide/training.md#exit-codes"),
        ("index.md", "LICENSE", "files/LICENSE"),
        ("leaderboard.md", "leaderboard.csv", "files/leaderboard/leaderboard.csv"),
        ("guide/speed.md", "results.md", "results.md"),
        ("guide/speed.md", "../../benchmark/PERFORMANCE.md", "many-seeds-speed.md"),
        ("how-to/package-your-own.md", "../../leaderboard/SUBMITTING.md", "submit-results.md"),
        ("guide/speed.md", "no_such_file.md", "no_such_file.md"),  # the build warns, and a warning is an error
        ("guide/speed.md", "#measure", "#measure"),
    ],
)
def test_links_lead_to_pages_outside_of_code(page: str, link: str, there: str) -> None:
    assert adapted(TEXT.format(link, link), page) == TEXT.format(there, link)


def test_the_files_that_become_pages_are_there() -> None:
    assert all((ROOT / source).is_file() for source in PAGES)
