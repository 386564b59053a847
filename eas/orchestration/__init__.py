"""Orchestration of jobs: dependency graph, expansion, external inputs, orchestrator, drive loop and supervisor."""
