"""Leaderboards: the tables that the `record.json` files of finished runs make.

`records` reads them, `table` groups and orders them, `text` and `page` write them. None of it imports torch.
"""
