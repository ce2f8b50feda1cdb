"""Check partials that were derived by hand. The command `gd-torch check`."""
import sys
sys.path.insert(0, __file__.rsplit("scripts", 1)[0])  # this clone, installed or not
from gd_torch.cli import run_script
run_script("check")
