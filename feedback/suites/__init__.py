"""Suites: fixed questions that a candidate is held to beside what people said. kinds, reading, registry."""
