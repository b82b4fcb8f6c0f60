"""How commands are found on a page, and taken apart."""

import shlex

from tests.docs.commands import fenced, in_text, parameters

PAGE = """# A page

```bash
# a remark
one --a 'b
c'  # and another

two \\
  --more
cat <<END > file
 text
END
```

<!-- not run: needs a GPU -->
```bash
three
```

Text.

1. Item:

   ```python
   import os

   if os:
       print(1)
   ```

```yaml
four: 4
```

Use `mlflow run . -e train
-P folds=3` or `-P epochs=2`, and `something else`.
"""


def test_every_command_has_its_line_and_its_excuse():
    found = {(c.line, c.language, c.text, c.excuse) for c in fenced("page.md", PAGE)}
    assert found == {
        (5, "shell", "one --a 'b\nc'  # and another", None),
        (8, "shell", "two  --more", None),
        (10, "shell", "cat <<END > file\ntext\nEND", None),
        (17, "shell", "three", "needs a GPU"),
        (25, "python", "import os\n\nif os:\n    print(1)", None),
    }


def test_an_excuse_without_a_reason_is_none():
    page = "<!-- not run: -->\n```bash\none\n```\n"
    assert [c.excuse for c in fenced("page.md", page)] == [None]


def test_an_excuse_holds_for_the_next_block_alone():
    page = "<!-- not run: why -->\nText between.\n\n```bash\none\n```\n"
    assert [c.excuse for c in fenced("page.md", page)] == [None]


def test_commands_in_sentences_are_found():
    found = [(c.line, c.text) for c in in_text("page.md", PAGE)]
    assert found == [(35, "mlflow run . -e train -P folds=3"), (36, "-P epochs=2")]


def test_parameters_of_both_ways_to_start_an_entry_point():
    mlflow = "mlflow run . -e train --env-manager local -P folds=3 -P store=a=b"
    assert parameters(shlex.split(mlflow)) == ("train", {"folds": "3", "store": "a=b"})
    python = "python -m asd_experiments train --folds 3 --store a=b"
    assert parameters(shlex.split(python)) == ("train", {"folds": "3", "store": "a=b"})
    assert parameters(shlex.split("mlflow run . -e train --backend ray")) is None
    assert parameters(shlex.split("python -m asd_experiments train --help")) is None
    assert parameters(shlex.split("make train")) is None
