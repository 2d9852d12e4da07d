"""Short studies through real drivers and real workers, with something going wrong all the time.

    PYTHONPATH=tests/helpers python -m chaos --seed 0 --faults 600 [--slurm] [--json FILE]

After its faults each study is resumed until it is done and held against an undisturbed run. The
faults are in `local_faults.py` and `slurm_faults.py`, what is asked of the outcome in `verdict.py`,
the tally of the last whole run in docs/chaos.md.
"""
