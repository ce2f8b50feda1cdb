"""Compare every number of the tutorial's text. The command `gd-torch reproduce`."""
import sys
sys.path.insert(0, __file__.rsplit("scripts", 1)[0])  # this clone, installed or not
from gd_torch.cli import run_script
run_script("reproduce")
