"""Make every figure of the tutorial. The command `gd-torch figures`."""
import sys
sys.path.insert(0, __file__.rsplit("scripts", 1)[0])  # this clone, installed or not
from gd_torch.cli import run_script
run_script("figures")
