"""Columns of `check`: what new records say in each cell."""

from leaderboard.board.columns.column import Column, Name, Table, add
from leaderboard.board.wording import p_text, ratio_text

VERDICTS = Table.VERDICTS

add(Column("cell", lambda row: Name(row.cell), {VERDICTS: 1}))
add(Column("verdict", lambda row: row.kind, {VERDICTS: 2}))
add(Column("steps / reference", lambda row: ratio_text(row.ratio), {VERDICTS: 3}))
add(Column("p (Holm)", lambda row: p_text(row.p_holm), {VERDICTS: 4}))
add(Column("solved new", lambda row: f"{row.solved_new}/{row.n_new}", {VERDICTS: 5}))
add(Column("solved reference", lambda row: f"{row.solved_reference}/{row.n_reference}", {VERDICTS: 6}))
add(Column("because", lambda row: Name(row.reason), {VERDICTS: 7}))
