//! Metrics, comparisons and reports: predictions in, tables out. Knows no Burn.
