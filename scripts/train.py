"""Train one two-layer net by gradient descent. The command `gd-torch train`."""
import sys
sys.path.insert(0, __file__.rsplit("scripts", 1)[0])  # this clone, installed or not
from gd_torch.cli import run_script
run_script("train")
