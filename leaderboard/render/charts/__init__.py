"""The charts: rows of plain values, Vega-Lite specifications, and pictures drawn of them."""
