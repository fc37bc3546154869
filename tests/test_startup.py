"""`deixis segment` imports no more than it needs: what takes a second to import is imported only where it is used."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("transformers", "huggingface_hub.file_download", "accelerate", "rich", "beartype", "scipy", "sklearn"),
    *("torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes", "sympy"),
)


def test_segmenting_a_photo_imports_neither_the_compiler_nor_other_libraries(tmp_path: Path) -> None:
    program = (
        "import sys; from deixis.cli import main\n"
        "assert main(['segment', 'examples/toyland.png', 'the person in green', '--out', sys.argv[1]]) == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"
    assert len(list(tmp_path.iterdir())) == 3  # overlay, mask and record
