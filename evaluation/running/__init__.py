"""Teams x cases -> records, masks and logs: runs containers under limits that are proven.

Read from :mod:`run` (the command) through :mod:`schedule` (the order of cases), :mod:`trial` (one
case of one team) and :mod:`runner` (one container) to :mod:`outcomes` (the word that it earns).
"""
