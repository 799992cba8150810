"""Execute the notebooks in batches through papermill: one by one, or as grids on many workers."""
