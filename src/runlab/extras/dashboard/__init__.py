"""Sweeps in TensorBoard: their runs, and beside them what is concluded from them.

`comparison.outputs` names `aggregates.write_aggregates`, so each comparison writes them anew.
"""
