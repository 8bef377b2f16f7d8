"""Thousands of scans on Ray: find them, segment them, measure, report. ``run.run_cohort`` is the entry."""
