"""What every benchmark stands on: data, processes and their cost, environments, result files, tables.

Measures nothing by itself and imports nothing from the other folders. `environment.py` says what a result carries,
`data.py` what `--data` finds.
"""
