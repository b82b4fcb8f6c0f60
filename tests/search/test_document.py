import pytest

from asd_experiments.errors import InputError
from asd_experiments.search.document import Listing, Problems, Scalar, Table, read_document


def read(content: bytes | str):
    problems = Problems("f.yaml")
    document = read_document(content.encode() if isinstance(content, str) else content, problems)
    problems.raise_if_any()
    return document


def test_values_stay_the_text_that_was_written():
    document = read("a: 1e-4\nb: [no, on, 010, 1:30, 2020-01-01, .inf]\n")
    assert document.entries["a"] == Scalar("1e-4", line=1)
    texts = [item.text for item in document.entries["b"].items]
    assert texts == ["no", "on", "010", "1:30", "2020-01-01", ".inf"]


def test_every_value_and_name_knows_its_line():
    document = read("a:\n  b: 1\n\n  c:\n    - 2\n    - 3\n")
    inner = document.entries["a"]
    assert isinstance(inner, Table) and inner.lines == {"b": 2, "c": 4}
    assert isinstance(inner.entries["c"], Listing)
    assert [item.line for item in inner.entries["c"].items] == [5, 6]


@pytest.mark.parametrize("text", ["null", "~", "", "Null"])
def test_nothing_is_told_from_a_text_in_quotes(text):
    document = read(f"a: {text}\nb: '{text}'")
    assert document.entries["a"].is_null and not document.entries["b"].is_null


def test_an_empty_file_holds_nothing():
    assert read("").entries == {} == read("# a comment\n").entries


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert list(read(b"\xef\xbb\xbfname: x").entries) == ["name"]


def test_an_alias_stands_for_what_it_repeats():
    document = read("a: &x [1]\nb: *x")
    assert document.entries["a"] is document.entries["b"]


def test_aliases_of_aliases_cost_nothing():
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert len(read("\n".join(lines)).entries) == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a: stands twice, first in line 1"),
        ("a: {x: 1, x: 2}", "f.yaml:1: x: stands twice"),
        ("a: [1\nb: 2", "f.yaml:2: this is not YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2", "f.yaml:2: this is not YAML: found character '.t'"),
        ("a: 1\n---\nb: 2", "f.yaml:2: this is not YAML: but found another document"),
        ("a: *nowhere", "f.yaml:1: this is not YAML: found undefined alias 'nowhere'"),
        ("a: 1\nb: &x [*x]", r"f.yaml:2: an alias \(\*\) must not stand inside what it repeats"),
        ("a: !!python/object:os.system x", "f.yaml:1: types are not written out here; leave !!pyt"),
        ("- a\n- b", "f.yaml:1: the file must hold names with values, got a list"),
        ("? [a]\n: b", "f.yaml:1: a name must be a word"),
        (b"a: 1\nb: \xff", "f.yaml:2: the file is not UTF-8 text; save it as UTF-8"),
        ("a: 1\nb: \x01", r"f.yaml:2: a character that YAML does not allow \(code 1\)"),
        ("[" * 2000, "f.yaml:1: the file is nested too deeply"),
    ],
)
def test_what_is_no_yaml_is_refused_by_line(content, message):
    with pytest.raises(InputError, match=f"1 problem with the search space:\n  {message}"):
        read(content)


def test_all_problems_are_told_in_the_order_of_their_lines():
    problems = Problems("f.yaml")
    problems.add(9, "last")
    problems.add(2, "second")
    problems.add(2, "second")
    problems.unknown(1, "nam", ["name", "rows"])
    problems.unknown(3, "xyz", ["name", "rows"], what="section", where="it")
    with pytest.raises(InputError) as caught:
        problems.raise_if_any()
    assert str(caught.value).splitlines() == [
        "4 problems with the search space:",
        "  f.yaml:1: nam: no such setting; did you mean 'name'?",
        "  f.yaml:2: second",
        "  f.yaml:3: it: xyz: no such section; choose from: name, rows",
        "  f.yaml:9: last",
    ]
