"""Leaderboards: tables made from the `record.json` files of finished runs.

`records` reads the files, `table` groups and sorts the rows, `text` and `page` write them. None of it imports torch.
"""
