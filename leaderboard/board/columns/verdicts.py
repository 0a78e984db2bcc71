"""Columns of `check`: the verdict on new records in each cell."""

from leaderboard.board.columns.column import Name, Table, define
from leaderboard.board.wording import p_text, ratio_text

VERDICTS = Table.VERDICTS

define("cell", lambda row: Name(row.cell), {VERDICTS: 1})
define("verdict", lambda row: row.kind, {VERDICTS: 2})
define("steps / reference", lambda row: ratio_text(row.ratio), {VERDICTS: 3})
define("p (Holm)", lambda row: p_text(row.p_holm), {VERDICTS: 4})
define("solved new", lambda row: f"{row.solved_new}/{row.n_new}", {VERDICTS: 5})
define("solved reference", lambda row: f"{row.solved_reference}/{row.n_reference}", {VERDICTS: 6})
define("because", lambda row: Name(row.reason), {VERDICTS: 7})
